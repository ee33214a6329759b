"""DDANet (Tomar et al. 2020, arXiv:2012.15245): two decoders, one of which says where the other looks.

One encoder of excited residual blocks, two decoders that take its skips. The second decoder's features give a map at
each level, by which the first one's are multiplied. The authors train the second to paint the image in grey; here
nothing asks for that picture, so that its last 1x1 convolution is left out and the second decoder learns by its maps
alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.networks.colonsegnet import ExcitedResidual, double


def _two(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(ExcitedResidual(cin, cout), ExcitedResidual(cout, cout))


class Decoder(nn.Module):
    """Coarser [N, cin, H / 2, W / 2] and skip [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.up, self.blocks = double(cin, cout), _two(cin + cout, cout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.blocks(torch.cat([self.up(x), skip], dim=1))
        return out


class DDANet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: of each encoder level, finest first."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        outputs = [max(1, widths[0] // 2), *widths[:-1]]  # of the decoders, finest first
        self.down = nn.ModuleList(_two(a, b) for a, b in pairwise([in_channels, *widths]))
        self.segment = nn.ModuleList(Decoder(a, b) for a, b in zip(widths, outputs, strict=True))
        self.paint = nn.ModuleList(Decoder(a, b) for a, b in zip(widths, outputs, strict=True))
        self.maps = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in outputs)
        self.score = nn.Conv2d(outputs[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        across: list[Tensor] = []
        x = image
        for blocks in self.down:
            x = blocks(x)  # [N, w_i, H / 2^i, W / 2^i]
            across.append(x)
            x = F.max_pool2d(x, 2)
        seen = painted = x
        for i in reversed(range(len(across))):
            painted = self.paint[i](painted, across[i])  # [N, w_(i-1), H / 2^i, W / 2^i]
            seen = self.segment[i](seen, across[i]) * self.maps[i](painted).sigmoid()
        out: Tensor = self.score(seen)
        return out
