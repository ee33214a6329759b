"""Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587, section 3.3 and figure 5).

A 1x1 convolution, 3x3 convolutions at several dilations and the image's mean, side by side, joined by a 1x1
convolution. We put it at the bottom of the U, with branches of a quarter of the width (the paper: 256 channels);
the image-mean branch has no normalisation, so that a batch of one can train.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class ASPP(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, rates: tuple[int, ...]) -> None:
        super().__init__()
        inner = max(1, channels // 4)
        dilated = (style.unit(channels, inner, dilation=rate) for rate in rates)
        self.branches = nn.ModuleList([style.unit(channels, inner, kernel=1), *dilated])
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), style.activation())
        self.join = style.unit(inner * (len(rates) + 2), channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.image(x).expand(-1, -1, *x.shape[2:])  # [N, C / 4, H, W]
        out: Tensor = self.join(torch.cat([*(branch(x) for branch in self.branches), mean], dim=1))
        return out
