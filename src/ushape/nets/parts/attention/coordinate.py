"""Coordinate attention (Hou et al. 2021, arXiv:2103.02907, equations 4-8).

Means along each row and each column, through one shared 1x1 unit, give a scale for each row and one for each column of
every channel. The paper's hard swish is kept whatever the spec's activation is; the inner width is at least 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class CoordinateAttention(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, reduction: int) -> None:
        super().__init__()
        at_least(1, reduction=reduction)
        inner = max(8, channels // reduction)
        self.shared = nn.Sequential(style.conv(channels, inner, kernel=1), style.norm(inner), nn.Hardswish())
        self.of_row, self.of_column = nn.Conv2d(inner, channels, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)  # [N, C, H, 1], [N, C, W, 1]
        both = self.shared(torch.cat([rows, columns], dim=2))  # [N, inner, H + W, 1]
        rows, columns = both.split([height, width], dim=2)
        out: Tensor = x * self.of_row(rows).sigmoid() * self.of_column(columns.transpose(2, 3)).sigmoid()
        return out
