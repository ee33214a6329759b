"""MultiResUNet (Ibtehaz and Rahman 2020, arXiv:1902.04049, table 2), as the authors' PyTorch code has it.

Our axes have its block and its residual path; here they have the paper's widths, which one spec cannot give (a level
whose plain U would have U channels has about 1.67 U of them in its block, and U in what comes across and what comes
up), and that code's order: sums are normalised, then rectified (the paper and the authors' Keras code: rectified, then
normalised), one norm takes two places on each unit of a path, and the scores are normalised too.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.activations import relu
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style

ALPHA = 1.67
"""W = ALPHA x U."""

_STYLE = Style(BatchNorm, relu, depth=1, bias=True)


def block_widths(plain: int) -> list[int]:
    """W/6, W/3 and W/2, each rounded down, where the plain U has `plain`: 32 -> [8, 17, 26].

    None of them is 0: such are left out, and where all are, one of 1 is left.
    """
    return [width for share in (0.167, 0.333, 0.5) if (width := int(plain * ALPHA * share))] or [1]


def _linear(cin: int, cout: int) -> nn.Sequential:
    """A normalised 1x1 convolution: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(_STYLE.conv(cin, cout, kernel=1), BatchNorm(cout))


class Block(nn.Module):
    """[N, cin, H, W] -> [N, sum of block_widths(plain), H, W]."""

    def __init__(self, cin: int, plain: int) -> None:
        super().__init__()
        widths = block_widths(plain)
        self.units = nn.ModuleList(_STYLE.unit(a, b) for a, b in pairwise([cin, *widths]))
        self.channels = sum(widths)
        self.shortcut = _linear(cin, self.channels)
        self.of_joined, self.of_sum = BatchNorm(self.channels), BatchNorm(self.channels)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for unit in self.units:
            features.append(unit(features[-1]))
        joined = self.of_joined(torch.cat(features[1:], dim=1))
        out: Tensor = self.of_sum(joined + self.shortcut(x)).relu()
        return out


class PathUnit(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.unit, self.shortcut = _STYLE.unit(cin, cout), _linear(cin, cout)
        self.norm = BatchNorm(cout)

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.unit(x)).relu()
        out: Tensor = self.norm(features + self.shortcut(x)).relu()
        return out


class MultiResUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: U of each level, finest first."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.down, self.paths = nn.ModuleList(), nn.ModuleList()
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        cin = in_channels
        for plain in widths:
            block = Block(cin, plain)
            self.down.append(block)
            cin = block.channels  # [N, about 1.67 U, ...]
        for level, plain in enumerate(widths[:-1]):
            wide, below = (sum(block_widths(width)) for width in widths[level : level + 2])
            units = len(widths) - 1 - level  # 4, 3, 2, 1: fewer where encoder and decoder are closer
            self.paths.append(nn.Sequential(*(PathUnit(plain if i else wide, plain) for i in range(units))))
            self.enlarge.append(nn.ConvTranspose2d(below, plain, 2, stride=2))
            self.up.append(Block(2 * plain, plain))
        self.score = _linear(sum(block_widths(widths[0])), classes)

    def forward(self, image: Tensor) -> Tensor:
        across: list[Tensor] = []
        x = image
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)  # [N, about 1.67 U_i, H / 2^i, W / 2^i]
            across.append(x)
        for i in reversed(range(len(self.up))):
            x = torch.cat([self.enlarge[i](x), self.paths[i](across[i])], dim=1)  # [N, 2 U_i, H / 2^i, W / 2^i]
            x = self.up[i](x)
        out: Tensor = self.score(x)
        return out
