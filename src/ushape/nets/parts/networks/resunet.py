"""Deep residual U-Net (Zhang et al. 2018, arXiv:1711.10684, figures 1b and 2, table I).

Seven residual units of two 3x3 convolutions, normalised and activated before each: three go down, one bridges, three
come up. The first convolution of a unit halves the size where it goes down; nothing is pooled. Features come up by
repeating pixels (nothing learned) and are concatenated with the encoder's. The first unit begins with a convolution
of the raw image, whose result is its identity path; the others change their width, so that a 1x1 convolution must
bring the identity along (the paper's equation 1 leaves h(x) open).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm


def pre_activated(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    """Normalisation, rectifier, 3x3 convolution: [N, cin, H, W] -> [N, cout, H / stride, W / stride]."""
    return nn.Sequential(BatchNorm(cin), nn.ReLU(), nn.Conv2d(cin, cout, 3, stride=stride, padding=1))


class ResidualUnit(nn.Module):
    """[N, cin, H, W] -> [N, cout, H / stride, W / stride]; `shortcut` maps between the same shapes."""

    def __init__(self, cin: int, cout: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(pre_activated(cin, cout, stride), pre_activated(cout, cout))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


def _unit(cin: int, cout: int, stride: int = 1) -> ResidualUnit:
    return ResidualUnit(cin, cout, stride, nn.Conv2d(cin, cout, 1, stride=stride))


class ResUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: of each level, finest first."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.first = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.second = pre_activated(widths[0], widths[0])
        self.down = nn.ModuleList(_unit(a, b, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_unit(a + b, a) for a, b in pairwise(widths))
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)  # [N, w_0, H, W]
        x = x + self.second(x)
        across = [x]
        for unit in self.down:
            across.append(unit(across[-1]))  # [N, w_i, H / 2^i, W / 2^i]
        x = across.pop()
        for unit in reversed(self.up):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = unit(torch.cat([x, across.pop()], dim=1))
        out: Tensor = self.score(x)
        return out
