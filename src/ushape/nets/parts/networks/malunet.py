"""MALUNet: multi-attention, light-weight (Ruan et al. 2022, arXiv:2211.01784; details from the official code).

The frame is that of `light.py`. A coarse stage is a dilated gated attention (four dilations, each on a quarter of the
channels, then a product of two depthwise branches) and an external attention (pixels attend to 4C learned vectors, by
two matrices, in place of each other); the encoder has the second one first. All skips pass a bridge that weighs
their pixels with one shared convolution, and their channels from the means of all levels.

As in the paper's code the two matrices of the external attention start as each other's transpose. Not as there: the
weights start as everywhere here (He's), and a width that four groups do not divide has uneven groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import depthwise, shares
from ushape.nets.parts.networks.light import LightU, doubled
from ushape.nets.parts.norms import GroupNorm
from ushape.nets.parts.plain import DilatedConv

DILATIONS = (7, 5, 2, 1)


def dilated_depthwise(channels: int, dilation: int) -> nn.Conv2d:
    """A dilated 3x3 filter a channel: [N, C, H, W] -> the same shape."""
    return DilatedConv(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)


def separable(cin: int, cout: int, kernel: int) -> nn.Sequential:
    """Depthwise convolution, norm, 1x1: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(depthwise(cin, kernel), GroupNorm(cin, 4), nn.Conv2d(cin, cout, 1))


class DilatedGatedAttention(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W] (DGA)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.shares = shares(cin, len(DILATIONS))
        self.branches = nn.ModuleList(map(dilated_depthwise, self.shares, DILATIONS))
        self.mix = nn.Sequential(GroupNorm(cin, 4), nn.Conv2d(cin, cin, 1), nn.GELU())
        self.gate = nn.Sequential(separable(cin, cin, 3), nn.Sigmoid())
        self.value = nn.Sequential(separable(cin, cin, 5), nn.GELU())
        self.out = nn.Sequential(separable(cin, cout, 3), nn.GELU())
        self.shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.branches, torch.split(x, self.shares, dim=1), strict=True)
        x = self.mix(torch.cat([branch(part) for branch, part in parts], dim=1))  # [N, cin, H, W]
        out: Tensor = self.out(self.gate(x) * self.value(x)) + self.shortcut(x)
        return out


class ExternalAttention(nn.Module):
    """[N, C, H, W] -> the same shape (IEA; after Guo et al. 2021, arXiv:2105.02358)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.keys = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.values = nn.Conv2d(4 * channels, channels, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), GroupNorm(channels, 4))

    def initialise(self) -> None:
        with torch.no_grad():
            self.values.weight.copy_(self.keys.weight.transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        affinity = self.keys(self.query(x)).flatten(2).softmax(dim=2)  # [N, 4C, HW]: over pixels
        affinity = affinity / (1e-9 + affinity.sum(dim=1, keepdim=True))  # and then over the learned vectors
        attended = self.values(affinity.unflatten(2, x.shape[2:]))  # [N, C, H, W]
        return F.gelu(self.out(attended) + x)


class Bridge(nn.Module):
    """All skips -> all skips of the same shapes (SAB, then CAB)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.pixels = DilatedConv(2, 1, 7, padding=9, dilation=3)
        self.neighbours = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.channels = nn.ModuleList(nn.Linear(sum(widths), width) for width in widths)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        weighted = [x * self.map_of(x) for x in skips]
        joined = [x + w for x, w in zip(skips, weighted, strict=True)]
        means = torch.cat([x.mean((2, 3)) for x in joined], dim=1)[:, None]  # [N, 1, all channels]
        means = self.neighbours(means)[:, 0]  # [N, all channels]
        scales = [layer(means).sigmoid()[:, :, None, None] for layer in self.channels]  # [N, c_i, 1, 1]
        return [x * s + w for x, s, w in zip(joined, scales, weighted, strict=True)]

    def map_of(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> weights of its pixels [N, 1, H, W]."""
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # [N, 2, H, W]
        out: Tensor = self.pixels(seen).sigmoid()
        return out


class MALUNet(LightU):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        def left(cin: int, cout: int) -> nn.Module:
            return nn.Sequential(ExternalAttention(cin), DilatedGatedAttention(cin, cout))

        def right(cin: int, cout: int) -> nn.Module:
            return nn.Sequential(DilatedGatedAttention(cin, cout), ExternalAttention(cout))

        super().__init__(in_channels, classes, widths, left, right)
        self.bridge = Bridge(widths[:-1])

    def forward(self, image: Tensor) -> Tensor:
        skips, x = self.encode(image)
        skips = self.bridge(skips)
        for level in reversed(range(len(skips))):
            x = self.decode(level, x) + skips[level]  # [N, c_i, H / 2^(i+1), W / 2^(i+1)]
        return doubled(self.score(x))
