"""nnU-Net's network with a residual encoder (Isensee et al. 2024, arXiv:2404.09556; dynamic-network-architectures).

A 3x3 unit is the stem; each encoder level has its number of residual blocks, of which the first down-samples by the
stride of its first convolution. Its shortcut is a mean over 2x2 pixels and, where the width changes, a normalised 1x1
convolution ("ResNet-D", He et al. 2019, arXiv:1812.01187). A decoder level is one unit behind a transposed convolution
and the concatenated features. Instance normalisation, leaky rectifiers; each decoder level is supervised.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.activations import leaky
from ushape.nets.parts.heads.deep_supervision import DeepSupervisionHead
from ushape.nets.parts.norms import InstanceNorm
from ushape.nets.parts.plain import Style


class ResidualBlockD(nn.Module):
    """[N, cin, H, W] -> [N, cout, H / stride, W / stride]."""

    def __init__(self, cin: int, cout: int, stride: int, style: Style) -> None:
        super().__init__()
        first = style.conv(cin, cout)
        first.stride = (stride, stride)
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        if cin != cout:
            shortcut += [nn.Conv2d(cin, cout, 1, bias=False), style.norm(cout)]
        self.shortcut = nn.Sequential(*shortcut)
        self.residual = nn.Sequential(
            first, style.norm(cout), style.activation(), style.conv(cout, cout), style.norm(cout)
        )
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.shortcut(x) + self.residual(x))
        return out


class ResidualEncoderUNet(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]; in training those of all decoder levels."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise SpecError(f"blocks: {len(blocks)} numbers for {len(widths)} levels: give one for each level")
        style = Style(norm=InstanceNorm, activation=partial(leaky, 0.01), depth=1, bias=True)
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = style.unit(in_channels, widths[0])
        self.encoder, self.ups, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, (width, number) in enumerate(zip(widths, blocks, strict=True)):
            first = ResidualBlockD(widths[max(0, i - 1)], width, 2 if i else 1, style)
            others = (ResidualBlockD(width, width, 1, style) for _ in range(number - 1))
            self.encoder.append(nn.Sequential(first, *others))
        for coarse, fine in pairwise(widths[::-1]):
            self.ups.append(nn.ConvTranspose2d(coarse, fine, 2, stride=2))
            self.decoder.append(style.unit(2 * fine, fine))
        self.head = DeepSupervisionHead(widths[:-1], classes, style)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        x = self.stem(image)
        across: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            across.append(x)  # [N, w_i, H / 2^i, W / 2^i]
        across.pop()
        decoded: list[Tensor] = []
        for up, unit in zip(self.ups, self.decoder, strict=True):
            x = unit(torch.cat([up(x), across.pop()], dim=1))
            decoded.insert(0, x)
        scores = self.head(decoded)
        return scores if self.training else scores[0]
