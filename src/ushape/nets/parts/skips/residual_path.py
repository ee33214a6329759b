"""Residual paths across the U: MultiResUNet's (Ibtehaz and Rahman 2020, arXiv:1902.04049, section 3.3), and dilated.

ResidualPath: `units[i]` residual units (3x3 convolution beside a 1x1 convolution, added) at level i, finest first; the
last number serves all coarser levels. As in figure 4 of the paper the sum is activated, and then normalised.

SemanticGap: the UNET_modifications experiments name a residual path against the "semantic gap" between encoder and
decoder, beside atrous blocks, and publish no details. Our assumption: the same units, one for each of `dilations`, at
every level.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class _Unit(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, dilation: int = 1) -> None:
        super().__init__()
        self.residual = style.unit(channels, channels, dilation=dilation)
        self.shortcut = nn.Sequential(style.conv(channels, channels, kernel=1), style.norm(channels))
        self.activation = style.activation()
        self.norm = style.norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.activation(self.residual(x) + self.shortcut(x)))
        return out


class ResidualPath(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int, units: tuple[int, ...]) -> None:
        super().__init__()
        at_least(1, **{f"units of level {level}": units[min(level, len(units) - 1)]})
        self.path = nn.Sequential(*(_Unit(cskip, style) for _ in range(units[min(level, len(units) - 1)])))
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        return torch.cat([self.path(skip), up], dim=1)


class SemanticGap(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.path = nn.Sequential(*(_Unit(cskip, style, dilation) for dilation in dilations))
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        return torch.cat([self.path(skip), up], dim=1)
