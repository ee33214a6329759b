"""ResUNet-a d6 (Diakogiannis et al. 2020, arXiv:1904.00592), for one task.

Each level adds residual branches of several dilations, side by side, to its input; strided convolutions go down;
maxima over grids of several sizes (pyramid pooling) join the features at the bottom and before the head. Dilations and
layers are those of the authors' code. That predicts boundaries, distances and colours beside the classes; ours is the
paper's single-task form, where a 1x1 convolution follows the last pyramid. Pyramid cells are convolved before they are
laid out again, not after: the same numbers from fewer pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import DilatedConv

_MOST, _SOME, _FEW = (1, 3, 15, 31), (1, 3, 15), (1, 3, 5)
GOING_DOWN = (_MOST, _MOST, _SOME, _FEW, (1,), (1,))
"""Dilations of each level, finest first; levels beyond have the last."""
COMING_UP = (_MOST, _MOST, _MOST, _SOME, _FEW)


def _linear(cin: int, cout: int) -> nn.Sequential:
    """A normalised 1x1 convolution: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), BatchNorm(cout))


class ResBlockA(nn.Module):
    """x plus a pre-activated branch of two convolutions for each dilation: [N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(self._branch(channels, dilation) for dilation in dilations)

    def _branch(self, channels: int, dilation: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for bias in (False, True):
            conv = DilatedConv(channels, channels, 3, padding=dilation, dilation=dilation, bias=bias)
            layers += [BatchNorm(channels), nn.ReLU(), conv]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        total = x
        for branch in self.branches:
            total = total + branch(x)
        return total


class PyramidPooling(nn.Module):
    """Maxima over grids of 1, 2, 4 and 8 cells a side join the features: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        share = max(1, cout // 4)
        self.sides = (1, 2, 4, 8)
        self.units = nn.ModuleList(_linear(cin, share) for _ in self.sides)
        self.join = _linear(cin + share * len(self.sides), cout)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for side, unit in zip(self.sides, self.units, strict=True):
            cells = unit(maxima(maxima(x, side, 2), side, 3))  # [N, share, side, side]
            parts.append(F.interpolate(cells, size=x.shape[2:], mode="nearest"))
        out: Tensor = self.join(torch.cat(parts, dim=1))
        return out


def maxima(x: Tensor, side: int, dim: int) -> Tensor:
    """Adaptive maximum along `dim`, which then has size `side`; in slices, as ONNX has it for no odd sizes."""
    size = x.shape[dim]
    slices = (x.narrow(dim, k * size // side, -(-(k + 1) * size // side) - k * size // side) for k in range(side))
    return torch.cat([part.amax(dim, keepdim=True) for part in slices], dim=dim)


class Combine(nn.Module):
    """Coarser [N, below, H / 2, W / 2] and the encoder's [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, below: int, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.narrow, self.join = _linear(below, half), _linear(half + channels, channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = self.narrow(F.interpolate(coarse, scale_factor=2.0, mode="nearest")).relu()
        out: Tensor = self.join(torch.cat([up, fine], dim=1))
        return out


class ResUNetA(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: of each level, finest first."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.first = _linear(in_channels, widths[0])
        self.levels = nn.ModuleList(
            ResBlockA(width, GOING_DOWN[min(i, len(GOING_DOWN) - 1)]) for i, width in enumerate(widths)
        )
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths))
        self.bottom = PyramidPooling(widths[-1], widths[-1])
        self.joins = nn.ModuleList(Combine(b, a) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(
            ResBlockA(width, COMING_UP[min(i, len(COMING_UP) - 1)]) for i, width in enumerate(widths[:-1])
        )
        self.last = PyramidPooling(2 * widths[0], widths[0])
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image).relu()  # [N, w_0, H, W]
        across: list[Tensor] = []
        x = first
        for i, level in enumerate(self.levels):
            x = level(self.downs[i - 1](x) if i else x)  # [N, w_i, H / 2^i, W / 2^i]
            across.append(x)
        x = self.bottom(across.pop()).relu()
        for i in reversed(range(len(self.ups))):
            x = self.ups[i](self.joins[i](x, across[i]))
        x = self.last(torch.cat([first, x], dim=1)).relu()
        out: Tensor = self.score(x)
        return out
