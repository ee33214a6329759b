"""Convolutional block attention module (Woo et al. 2018, arXiv:1807.06521, equations 1-3).

Channels are scaled by sigmoid(MLP(mean) + MLP(max)), one MLP for both; then pixels by sigmoid of a 7x7 convolution
over [mean, max] of the channels. The MLP keeps at least 4 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class CBAM(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, reduction: int, kernel: int) -> None:
        super().__init__()
        at_least(1, reduction=reduction)
        if kernel % 2 == 0:
            raise SpecError(f"kernel={kernel}: give an odd number")
        inner = max(4, channels // reduction)
        self.mlp = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1))
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)  # [N, C, 1, 1]
        x = x * (self.mlp(mean) + self.mlp(peak)).sigmoid()
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # [N, 2, H, W]
        out: Tensor = x * self.spatial(maps).sigmoid()
        return out
