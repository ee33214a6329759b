"""DCSAU-Net: deeper and more compact split attention (Xu et al. 2022, arXiv:2202.00972; details: official code).

The image passes a 7x7 convolution, a depthwise 7x7 convolution with a shortcut, and a 1x1 convolution (PFC).
Each level is then two bottlenecks of ResNeSt (Zhang et al. 2020, arXiv:2004.08955), in which the second of two groups
of channels also sees what the first one gives, and both are weighed against each other by their means (CSA).

As in the code a decoder level gives the width of the next finer one, and the first bottleneck of all but the finest
levels smooths by a 3x3 mean. A quarter of a width that 2 does not divide has one group instead of two.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import depthwise
from ushape.nets.parts.networks.light import doubled
from ushape.nets.parts.norms import BatchNorm


def _conv(cin: int, cout: int, kernel: int, groups: int = 1) -> nn.Sequential:
    """Convolution and norm: [N, cin, H, W] -> [N, cout, H, W]."""
    conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, BatchNorm(cout))


class SplitAttention(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = 2 if channels % 2 == 0 else 1
        inner = max(channels // 2, 32)
        self.both = _conv(channels, 2 * channels, 3, groups)
        self.second = _conv(channels, channels, 3, groups)
        squeeze = nn.Conv2d(channels, inner, 1)
        self.weigh = nn.Sequential(squeeze, BatchNorm(inner), nn.ReLU(), nn.Conv2d(inner, 2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.relu(self.both(x)).chunk(2, dim=1)  # [N, C, H, W] each
        second = F.relu(self.second(first + second))
        means = (first + second).mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        weights = self.weigh(means).unflatten(1, (2, -1)).softmax(dim=1)  # [N, 2, C, 1, 1]
        out: Tensor = weights[:, 0] * first + weights[:, 1] * second
        return out


class Bottleneck(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, smooth: bool) -> None:
        super().__init__()
        inner = max(1, cout // 4)
        mean = nn.AvgPool2d(3, stride=1, padding=1) if smooth else nn.Identity()
        self.residual = nn.Sequential(
            _conv(cin, inner, 1), nn.ReLU(inplace=True), SplitAttention(inner), mean, _conv(inner, cout, 1)
        )
        self.shortcut = nn.Identity() if cin == cout else _conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


def level(cin: int, cout: int, smooth: bool) -> nn.Sequential:
    """[N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(Bottleneck(cin, cout, smooth), Bottleneck(cout, cout, smooth=False))


class Stem(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]; rectified before it is normalised."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        convs = (nn.Conv2d(cin, cout, 7, padding=3), depthwise(cout, 7), nn.Conv2d(cout, cout, 1))
        self.first, self.filters, self.mix = (nn.Sequential(conv, nn.ReLU(True), BatchNorm(cout)) for conv in convs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.mix(x + self.filters(x))
        return out


class DCSAUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = Stem(in_channels, widths[0])
        self.down = nn.ModuleList(level(a, b, smooth=i > 0) for i, (a, b) in enumerate(pairwise(widths)))
        fine = widths[:-1]
        given, below = (widths[0], *fine[:-1]), (*fine[:-1], widths[-1])  # by each decoder level, from below it
        sides = zip(fine, below, given, strict=True)
        self.up = nn.ModuleList(level(a + b, c, smooth=i > 0) for i, (a, b, c) in enumerate(sides))
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, skips = self.stem(image), []
        for stage in self.down:
            skips.append(x)  # [N, c_i, H / 2^i, W / 2^i]
            x = stage(F.max_pool2d(x, 2))
        for stage, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = stage(torch.cat([skip, doubled(x)], dim=1))
        out: Tensor = self.score(x)
        return out
