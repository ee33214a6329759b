"""Pyramid pooling (PSPNet, Zhao et al. 2017, arXiv:1612.01105, section 3.2 and figure 3).

Means over grids of 1, 2, 3 and 6 cells a side, a 1x1 unit each, are enlarged and join the features. The paper's
prediction layers after that are, at the bottom of a U, one 3x3 unit back to the level's width. The grid of one cell
has no normalisation, so that a batch of one can train.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.plain import Style


class PyramidPooling(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, bins: tuple[int, ...]) -> None:
        super().__init__()
        inner = max(1, channels // len(bins))
        self.bins = bins
        self.units = nn.ModuleList(
            style.unit(channels, inner, kernel=1)
            if side > 1
            else nn.Sequential(nn.Conv2d(channels, inner, 1), style.activation())
            for side in bins
        )
        self.join = style.unit(channels + inner * len(bins), channels)

    def forward(self, x: Tensor) -> Tensor:
        grids = [
            F.interpolate(unit(_means(x, side)), size=x.shape[2:], mode="bilinear")  # [N, inner, H, W]
            for side, unit in zip(self.bins, self.units, strict=True)
        ]
        out: Tensor = self.join(torch.cat([x, *grids], dim=1))
        return out


def _means(x: Tensor, side: int) -> Tensor:
    """Adaptive mean pooling, [N, C, H, W] -> [N, C, side, side], as two products: ONNX has it for no other sizes."""
    rows, columns = (_weights(size, side, x) for size in x.shape[2:])
    return rows @ x @ columns.transpose(0, 1)


def _weights(size: int, side: int, like: Tensor) -> Tensor:
    """[side, size]: cell k takes the mean of pixels floor(k size / side) up to ceil((k + 1) size / side)."""
    pixel = torch.arange(size, device=like.device)
    cell = torch.arange(side, device=like.device)[:, None]
    inside = (pixel >= cell * size // side) & (pixel < ((cell + 1) * size + side - 1) // side)  # [side, size]
    weight = inside.to(like.dtype)
    return weight / weight.sum(1, keepdim=True)
