"""Swin transformer block (Liu et al. 2021, arXiv:2103.14030, section 3.2, equations 3-4 and figure 4).

x + attention(LN(x)), then x + MLP(LN(x)): attention among the pixels of a window, with a learned bias for each
relative position; every second unit's windows are shifted by half a window. `style.depth` units (2: one plain, one
shifted); a 1x1 convolution first where the width changes. Windows are 8 pixels wide, not 7, so that they fit the
powers of two of a U. Maps that windows do not tile are padded, and padding is masked from attention; an axis of at
most one window is not shifted. Channels that `head` does not divide give heads a little wider than channels / heads.
Normalisation and GELU are the paper's. No stochastic depth, but in networks that hand a unit `drop`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least, project
from ushape.nets.parts.plain import StochasticDepth, Style

Pair = tuple[int, int]


def partition(x: Tensor, window: int) -> Tensor:
    """[N, H, W, C] -> windows [N, H / w * W / w, w * w, C]."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(n, -1, window * window, channels)


def reverse(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Windows [N, H / w * W / w, w * w, C] -> [N, H, W, C]."""
    n, _, _, channels = windows.shape
    x = windows.reshape(n, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(n, height, width, channels)


def regions(size: int, padded: int, shift: int, device: torch.device) -> Tensor:
    """A number for each place of a padded, rolled axis; pixels see each other only where their numbers agree."""
    place = torch.arange(padded, device=device)
    wrapped = place >= padded - shift  # came in from the other end
    outside = (place + shift) % padded >= size  # padding
    return 2 * wrapped.long() + outside.long()


class WindowAttention(nn.Module):
    """[N, H, W, C] -> the same shape."""

    index: Tensor

    def __init__(self, channels: int, window: int, head: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.heads = max(1, channels // head)
        self.width = math.ceil(channels / self.heads)
        self.qkv = nn.Linear(channels, 3 * self.heads * self.width)
        self.join = nn.Linear(self.heads * self.width, channels)
        side = 2 * window - 1
        self.bias = nn.Parameter(torch.randn(self.heads * side * side) * 0.02)  # flat: free of weight decay
        place = torch.arange(window)
        offset = place[:, None] - place[None, :] + window - 1  # [w, w]
        index = offset[:, None, :, None] * side + offset[None, :, None, :]  # [w, w, w, w]: row, column of two pixels
        self.register_buffer("index", index.reshape(window**2, window**2), persistent=False)

    def mask(self, size: Pair, padded: Pair, shift: Pair, device: torch.device) -> Tensor:
        """Who may see whom: [windows, 1, w * w, w * w]."""
        rows, columns = (regions(*each, device) for each in zip(size, padded, shift, strict=True))
        places = 4 * rows[:, None] + columns  # [H, W]
        numbers = partition(places[None, :, :, None], self.window)[0, :, :, 0]  # [windows, w * w]
        return (numbers[:, :, None] == numbers[:, None, :])[:, None]

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        down, right = -height % self.window, -width % self.window
        padded = height + down, width + right
        shift = self.shift if height > self.window else 0, self.shift if width > self.window else 0
        x = F.pad(x, (0, 0, 0, right, 0, down)).roll((-shift[0], -shift[1]), (1, 2))
        windows = partition(x, self.window)  # [N, windows, w * w, C]
        qkv = self.qkv(windows).unflatten(-1, (3, self.heads, self.width))  # [N, windows, w * w, 3, heads, width]
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each [N, windows, heads, w * w, width]
        bias = self.bias.view(self.heads, -1)[:, self.index]  # [heads, w * w, w * w]
        if down or right or any(shift):
            seen = self.mask((height, width), padded, shift, x.device)
            bias = bias.masked_fill(~seen, -torch.inf)  # [windows, heads, w * w, w * w]
        weights = (q @ k.transpose(-1, -2) * self.width**-0.5 + bias).softmax(-1)  # [N, windows, heads, w * w, w * w]
        out = weights @ v.to(weights.dtype)  # [N, windows, heads, w * w, width]
        out = self.join(out.transpose(2, 3).flatten(3))  # [N, windows, w * w, C]
        out = reverse(out, self.window, *padded).roll(shift, (1, 2))
        return out[:, :height, :width]


class SwinUnit(nn.Module):
    """[N, H, W, C] -> the same shape."""

    def __init__(self, channels: int, window: int, head: int, shifted: bool, drop: float = 0.0) -> None:
        super().__init__()
        self.drop = StochasticDepth(drop)
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.attention = WindowAttention(channels, window, head, shifted)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.norms[0](x)))
        out: Tensor = x + self.drop(self.mlp(self.norms[1](x)))
        return out


class SwinBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, window: int, head: int) -> None:
        super().__init__()
        at_least(1, window=window, head=head)
        self.project = project(cin, cout)
        self.units = nn.Sequential(*(SwinUnit(cout, window, head, i % 2 == 1) for i in range(style.depth)))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.project(x).permute(0, 2, 3, 1)  # [N, H, W, cout]
        out: Tensor = self.units(pixels).permute(0, 3, 1, 2)
        return out
