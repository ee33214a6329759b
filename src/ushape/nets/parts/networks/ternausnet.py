"""TernausNet (Iglovikov and Shvets 2018, arXiv:1801.05746, figure 1): a U whose encoder is VGG-11.

3x3 convolutions with bias, no normalisation, 1, 1, 2, 2, 2 of them a level, then max-pooling; on the way back one
convolution a level and a 3x3 transposed convolution to half the next level's width. The paper starts from VGG-11's
ImageNet weights; here the encoder is ours, with random ones (`unet[encoder=timm:vgg11]` can be given trained ones).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.plain import PlainBlock
from ushape.nets.parts.norms import no_norm
from ushape.nets.parts.plain import Style

CONVOLUTIONS = (1, 1, 2, 2, 2)


class TernausNet(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]."""

    multiple = 32

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(widths) != len(CONVOLUTIONS):
            raise SpecError(f"TernausNet has the {len(CONVOLUTIONS)} levels of VGG-11: give as many widths")
        before = (in_channels, *widths[:-1])
        self.encoder, self.ups, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for cin, cout, depth in zip(before, widths, CONVOLUTIONS, strict=True):
            self.encoder.append(PlainBlock(cin, cout, _style(depth)))
        self.centre = PlainBlock(widths[-1], widths[-1], _style(1))
        below = widths[-1]
        for i in reversed(range(len(widths))):
            half = max(1, widths[i] // 2)
            up = nn.ConvTranspose2d(below, half, 3, stride=2, padding=1, output_padding=1)
            self.ups.append(nn.Sequential(up, relu()))
            below = widths[i] if i else half
            self.decoder.append(PlainBlock(widths[i] + half, below, _style(1)))
        self.score = nn.Conv2d(below, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        across: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            across.append(x)  # [N, w_i, H / 2^i, W / 2^i]
            x = F.max_pool2d(x, 2)
        x = self.centre(x)  # [N, w_4, H / 32, W / 32]
        for up, level in zip(self.ups, self.decoder, strict=True):
            x = level(torch.cat([up(x), across.pop()], dim=1))
        scores: Tensor = self.score(x)
        return scores


def _style(depth: int) -> Style:
    return Style(norm=no_norm, activation=relu, depth=depth, bias=True)
