"""EGE-UNet: efficient group enhanced (Ruan et al. 2023, arXiv:2307.08473; details from the official code).

The frame is that of `light.py`. A coarse stage cuts its channels into four: three quarters are multiplied by learned
maps (over pixels, over rows, over columns), each refined by two small convolutions; the last one passes a depthwise
convolution. Across the U each skip is cut into four as well, joined to the same quarter of what came across one level
below and to the scores of its own level, and filtered with a dilation of its own.

Scores of every level are therefore computed in evaluation too; in training they are supervised (the paper weighs them
.5 to .1, here the loss does, as for all networks). With several classes all their maps go into each group; the paper
has one. Not as in its code: the weights start as everywhere here (He's), and a width that four groups do not divide
has uneven groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import depthwise, shares
from ushape.nets.parts.networks.light import LightU, doubled, resized
from ushape.nets.parts.networks.malunet import dilated_depthwise
from ushape.nets.parts.norms import ChannelNorm

DILATIONS = (1, 2, 5, 7)
AXES = ((8, 8), (8, 1), (1, 8))
"""Learned maps as they are kept: over pixels, over rows, over columns."""


class LearnedMap(nn.Module):
    """[N, C, H, W] times a map of size x size, refined and stretched to H x W -> the same shape."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.ones(1, channels, *size))
        reach = [int(side > 1) for side in size]
        kernel, padding = (2 * reach[0] + 1, 2 * reach[1] + 1), (reach[0], reach[1])
        filters = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels)
        self.refine = nn.Sequential(filters, nn.GELU(), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        height, width = (full if side > 1 else 1 for full, side in zip(x.shape[2:], self.map.shape[2:], strict=True))
        out: Tensor = x * self.refine(resized(self.map, height, width))  # [1, C, H or 1, W or 1]
        return out


class HadamardAttention(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W] (the paper's GHPA)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.shares = shares(cin, 4)
        self.branches = nn.ModuleList(map(LearnedMap, self.shares, AXES))
        if len(self.shares) == 4:
            last = self.shares[3]
            self.branches.append(nn.Sequential(nn.Conv2d(last, last, 1), nn.GELU(), depthwise(last, 3)))
        self.before, self.after = ChannelNorm(cin, eps=1e-6), ChannelNorm(cin, eps=1e-6)
        self.mix = nn.Sequential(depthwise(cin, 3), nn.GELU(), nn.Conv2d(cin, cout, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.branches, torch.split(self.before(x), self.shares, dim=1), strict=True)
        x = torch.cat([branch(part) for branch, part in parts], dim=1)  # [N, cin, H, W]
        out: Tensor = self.mix(self.after(x))
        return out


class GroupBridge(nn.Module):
    """low [N, cl, h, w] (from below), skip [N, c, H, W], scores [N, k, H, W] -> [N, c, H, W] (the paper's GAB)."""

    def __init__(self, clow: int, channels: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(clow, channels, 1)
        self.shares = shares(channels, 4)
        joined = [2 * share + classes for share in self.shares]
        self.groups = nn.ModuleList(
            nn.Sequential(ChannelNorm(width, eps=1e-6), dilated_depthwise(width, dilation))
            for width, dilation in zip(joined, DILATIONS, strict=False)
        )
        self.mix = nn.Sequential(ChannelNorm(sum(joined), eps=1e-6), nn.Conv2d(sum(joined), channels, 1))

    def forward(self, low: Tensor, skip: Tensor, scores: Tensor) -> Tensor:
        low = resized(self.project(low), *skip.shape[2:])  # [N, c, H, W]
        lows, skips = (torch.split(x, self.shares, dim=1) for x in (low, skip))
        parts = zip(self.groups, lows, skips, strict=True)
        out: Tensor = self.mix(torch.cat([group(torch.cat([a, b, scores], dim=1)) for group, a, b in parts], dim=1))
        return out


class EGEUNet(LightU):
    """[N, in_channels, H, W] -> [N, classes, H, W]; in training a list, the i-th at 1/2^i."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__(in_channels, classes, widths, HadamardAttention, HadamardAttention)
        finer, coarser = widths[:-1], widths[1:]
        self.bridges = nn.ModuleList(GroupBridge(low, c, classes) for low, c in zip(coarser, finer, strict=True))
        self.sides = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in finer)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        skips, x = self.encode(image)
        across, sides = x, []
        for level in reversed(range(len(skips))):
            x = self.decode(level, x)  # [N, c_i, H / 2^(i+1), W / 2^(i+1)]
            sides.append(self.sides[level](x))
            across = self.bridges[level](across, skips[level], sides[-1])
            x = x + across
        scores = doubled(self.score(x))
        return [scores, *reversed(sides)] if self.training else scores
