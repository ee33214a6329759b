"""TransUNet (Chen et al. 2021, arXiv:2102.04306, section 3 and figure 1; R50-ViT-B/16, details from the official code).

A ResNet-50 without its last stage (group norms, standardised convolutions) makes features of 1/2, 1/4, 1/8 and 1/16;
each place of the last is a token of a ViT of 12 layers; a decoder goes up by linear interpolation and two
convolutions a level, and takes the finer three across. Widths: the ResNet's at 1/2, 1/4, 1/8, 1/16, then the tokens';
the decoder's follow from them. The code's max-pooling is unpadded, so that features of 1/4 are one short at the right
and bottom: what goes across is filled up with zeros there, as in the code. No dropout (the code: .1 in the ViT).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.bridges.transformer import TransformerLayer
from ushape.nets.parts.networks.tokens import set_eps
from ushape.nets.parts.norms import BatchNorm, GroupNorm
from ushape.nets.parts.positions import Positions

UNITS = (3, 4, 9)
"""Bottlenecks in the stages at 1/4, 1/8 and 1/16: the code's; ResNet-50 itself has (3, 4, 6)."""


class StandardConv(nn.Conv2d):
    """A convolution, without bias, whose filters have mean 0 and variance 1 (Qiao et al. 2019, arXiv:1903.10520)."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1) -> None:
        super().__init__(cin, cout, kernel, stride, kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # [N, cin, H, W] -> [N, cout, H / stride, W / stride]
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        return self._conv_forward(x, (self.weight - mean) * (variance + 1e-5).rsqrt(), None)


def group_norm(channels: int) -> GroupNorm:
    """32 groups, or the most below that divide the channels."""
    made = GroupNorm(channels, 32)
    made.eps = 1e-6
    return made


class Bottleneck(nn.Module):
    """[N, cin, H, W] -> [N, cout, H / stride, W / stride]."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        inner = max(1, cout // 4)
        self.residual = nn.Sequential(
            StandardConv(cin, inner, 1), group_norm(inner), nn.ReLU(inplace=True),
            StandardConv(inner, inner, 3, stride), group_norm(inner), nn.ReLU(inplace=True),
            StandardConv(inner, cout, 1), group_norm(cout),
        )  # fmt: skip
        same = stride == 1 and cin == cout
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(StandardConv(cin, cout, 1, stride), GroupNorm(cout, cout))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))


class DecoderLevel(nn.Sequential):
    """Two 3x3 units: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(*_unit(cin, cout), *_unit(cout, cout))


def _unit(cin: int, cout: int) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), BatchNorm(cout), nn.ReLU(inplace=True)]


class TransUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 16."""

    multiple = 16

    def __init__(
        self, in_channels: int, classes: int, widths: tuple[int, ...], layers: int, heads: int, grid: int
    ) -> None:
        super().__init__()
        if len(widths) != 5:
            raise SpecError(f"transunet has four widths of its ResNet and one of its tokens: {len(widths)}, give 5")
        at_least(1, layers=layers, heads=heads)
        root, *stages, hidden = widths
        self.root = nn.Sequential(StandardConv(in_channels, root, 7, 2), group_norm(root), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        for i, (cin, cout) in enumerate(zip(widths, stages, strict=False)):
            first = Bottleneck(cin, cout, stride=1 if i == 0 else 2)
            self.stages.append(nn.Sequential(first, *(Bottleneck(cout, cout, 1) for _ in range(UNITS[i] - 1))))
        self.embed = nn.Conv2d(stages[2], hidden, 1)
        self.positions = Positions(hidden, grid)
        self.layers = nn.Sequential(*(TransformerLayer(hidden, heads) for _ in range(layers)), nn.LayerNorm(hidden))
        set_eps(self.layers, 1e-6)
        self.more = nn.Sequential(*_unit(hidden, stages[1]))
        across = (stages[1], stages[0], root, 0)
        outs = (stages[0], max(1, stages[0] // 2), root, max(1, root // 4))
        coarser = (stages[1], *outs)
        self.decoder = nn.ModuleList(DecoderLevel(a + b, c) for a, b, c in zip(coarser, across, outs, strict=False))
        self.score = nn.Conv2d(outs[-1], classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        across = [self.root(image)]  # [N, w0, H / 2, W / 2]
        x = F.max_pool2d(across[0], 3, 2)  # [N, w0, H / 4 - 1, W / 4 - 1]
        for stage in self.stages[:2]:
            x = stage(x)
            across.append(x)
        across[1] = F.pad(across[1], (0, 1, 0, 1))  # [N, w1, H / 4, W / 4]
        x = self.positions(self.embed(self.stages[2](x)))  # [N, hidden, H / 16, W / 16]
        tokens = self.layers(x.flatten(2).transpose(1, 2))  # [N, H W / 256, hidden]
        x = self.more(tokens.transpose(1, 2).reshape(x.shape))  # [N, w2, H / 16, W / 16]
        for level in self.decoder:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
            x = level(torch.cat([x, across.pop()], dim=1) if across else x)
        out: Tensor = self.score(x)
        return out
