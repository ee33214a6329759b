"""Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv:1803.02579, sections 2.1-2.3).

Features scaled by channel (as squeeze and excitation, reduced to half) and features scaled by pixel (a 1x1 convolution
to one map) are added. The paper takes the larger of the two in a later version; this is the first one.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.attention.se import SqueezeExcitation
from ushape.nets.parts.plain import Style


class SpatialChannelSE(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, reduction: int) -> None:
        super().__init__()
        self.channel = SqueezeExcitation(channels, style, reduction)
        self.pixel = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.channel(x) + x * self.pixel(x)  # x * [N, 1, H, W]
        return out
