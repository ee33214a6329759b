"""What networks of tokens share: a table of positions, stochastic depth, small initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import Dropout


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


class StochasticDepth(Dropout):
    """A branch of a residual, left out for a whole image with probability p (Huang et al. 2016, arXiv:1603.09382)."""

    def forward(self, x: Tensor) -> Tensor:  # [N, ...] -> the same
        if not self.training or self.p == 0:
            return x
        return super().forward(x.reshape(len(x), 1, -1, 1)).reshape(x.shape)


def depth_rates(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Probabilities of stochastic depth, from 0 to `last` in equal steps over all layers, for each stage."""
    if not 0 <= last < 1:
        raise SpecError(f"drop={last:g}: give a probability from 0 up to, not including, 1")
    steps = max(1, sum(depths) - 1)
    rates = iter([last * i / steps for i in range(sum(depths))])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def check_depths(name: str, depths: tuple[int, ...], levels: int) -> None:
    """SpecError where there is not one number of layers for each level."""
    if len(depths) != levels:
        raise SpecError(f"{name}={'-'.join(map(str, depths))}: give one number for each of the {levels} widths")


@torch.no_grad()
def small_weights(module: nn.Module) -> None:
    """Linear layers (1x1 convolutions with no kernel of their own too) of transformers: normal, deviation .02."""
    for each in module.modules():
        if isinstance(each, nn.Linear) or (isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)):
            nn.init.trunc_normal_(each.weight, std=0.02)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
