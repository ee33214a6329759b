"""U-Lite (Dinh et al. 2023, arXiv:2306.16103; details from public code of it).

Every level filters its channels along the columns and along the rows (depthwise, 7 pixels long, both added to what
comes in) and mixes them by 1x1 convolutions. What crosses the U is filtered and normalised, but not yet mixed. At the
bottom three such filters of 3 pixels, dilated by 1, 2 and 3, work side by side on a quarter of the channels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import DilatedConv

KERNEL = 7
DILATIONS = (1, 2, 3)


class Axial(nn.Module):
    """[N, C, H, W] -> the same shape: x, its filtered columns and its filtered rows."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        far = dilation * (kernel // 2)
        self.columns = DilatedConv(channels, channels, (kernel, 1), 1, (far, 0), dilation, groups=channels)
        self.rows = DilatedConv(channels, channels, (1, kernel), 1, (0, far), dilation, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.columns(x) + self.rows(x)
        return out


class Bottom(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = max(1, channels // (len(DILATIONS) + 1))
        self.narrow = nn.Conv2d(channels, quarter, 1)
        self.branches = nn.ModuleList(Axial(quarter, 3, dilation) for dilation in DILATIONS)
        joined = quarter * (len(DILATIONS) + 1)
        self.widen = nn.Sequential(BatchNorm(joined), nn.Conv2d(joined, channels, 1), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        out: Tensor = self.widen(torch.cat([x, *(branch(x) for branch in self.branches)], dim=1))
        return out


class ULite(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        steps = list(pairwise(widths))
        self.stem = nn.Conv2d(in_channels, widths[0], KERNEL, padding=KERNEL // 2)
        self.filters = nn.ModuleList(nn.Sequential(Axial(fine, KERNEL), BatchNorm(fine)) for fine, _ in steps)
        self.mixes = nn.ModuleList(nn.Conv2d(fine, coarse, 1) for fine, coarse in steps)
        self.bottom = Bottom(widths[-1])
        self.up = nn.ModuleList(self._up(coarse + fine, fine) for fine, coarse in steps)
        self.score = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def _up(cin: int, cout: int) -> nn.Module:
        mix = [nn.Conv2d(cin, cout, 1), BatchNorm(cout)]
        return nn.Sequential(*mix, Axial(cout, KERNEL), nn.Conv2d(cout, cout, 1), nn.GELU())

    def forward(self, image: Tensor) -> Tensor:
        x, skips = self.stem(image), []
        for filtered, mix in zip(self.filters, self.mixes, strict=True):
            skips.append(filtered(x))  # [N, c_i, H / 2^i, W / 2^i]
            x = F.gelu(F.max_pool2d(mix(skips[-1]), 2))
        x = self.bottom(x)
        for stage, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        out: Tensor = self.score(x)
        return out
