"""Efficient channel attention (Wang et al. 2020, arXiv:1910.03151, equations 5, 9 and 12).

Channels are scaled by the sigmoid of a one-dimensional convolution along the vector of channel means; its kernel is
the odd number nearest to log2(C) / 2 + 1 / 2.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class EfficientChannelAttention(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        size = int(abs(math.log2(channels) / 2 + 0.5))
        size += size % 2 == 0
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))[:, None]  # [N, 1, C]
        weight = self.conv(means).sigmoid()[:, 0, :, None, None]  # [N, C, 1, 1]
        out: Tensor = x * weight
        return out
