"""A learned table of positions, for any size of image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError


class Positions(nn.Module):
    """A learned vector for each place of a grid, added: [N, C, H, W] -> the same shape.

    The table has grid x grid places, as many as the published input size gives; for another H x W it is resampled
    linearly (Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.2). It starts at zero.
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        if grid < 1:
            raise SpecError(f"grid={grid}: give the side of the table of positions, 1 or more")
        self.grid = grid
        self.table = nn.Parameter(torch.zeros(channels * grid * grid))  # flat: free of weight decay

    def forward(self, x: Tensor) -> Tensor:
        table = self.table.view(1, -1, self.grid, self.grid)
        if x.shape[2:] != table.shape[2:]:
            table = F.interpolate(table, size=x.shape[2:], mode="bilinear")
        return x + table
