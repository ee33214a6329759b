"""UTNet's attention to few places (Gao et al. 2021, arXiv:2107.00781, equations 3-5): linear in the number of pixels.

Keys and values are interpolated to `reduce` x `reduce` places, whatever the map's size. A learned bias for each
relative position in that grid is added before scaling, as in the code; a pixel takes the bias of the place of the grid
that it falls into, which for maps that `reduce` divides is what the code does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import depthwise
from ushape.nets.parts.plain import divisor


def separable(cin: int, cout: int) -> nn.Sequential:
    """A 3x3 filter a channel, then 1x1 across channels: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(depthwise(cin, 3, bias=False), nn.Conv2d(cin, cout, 1, bias=False))


class Attention(nn.Module):
    """Queries [N, C, H, W] attend to keys and values [N, C, h, w] -> [N, C, H, W]."""

    def __init__(self, channels: int, heads: int, reduce: int) -> None:
        super().__init__()
        self.heads, self.reduce = divisor(channels, heads), reduce
        self.bias = nn.Parameter(torch.randn(self.heads * (2 * reduce - 1) ** 2) * 0.02)  # flat: no weight decay
        self.out = separable(channels, channels)

    def offsets(self, size: int, device: torch.device) -> Tensor:
        """Relative places of an axis' pixels and the shrunk axis, from 0: [size, reduce]."""
        place = torch.arange(size, device=device) * self.reduce // size
        return place[:, None] - torch.arange(self.reduce, device=device) + self.reduce - 1

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, channels, height, width = q.shape
        k, v = (F.interpolate(x, (self.reduce,) * 2, mode="bilinear", align_corners=True) for x in (k, v))
        q, k, v = (x.reshape(n, channels // self.heads, self.heads, -1).permute(0, 2, 3, 1) for x in (q, k, v))
        rows, columns = self.offsets(height, q.device), self.offsets(width, q.device)
        index = (2 * self.reduce - 1) * rows[:, None, :, None] + columns[None, :, None, :]  # [H, W, r, r]
        bias = self.bias.view(self.heads, -1)[:, index.reshape(height * width, -1)]  # [heads, H W, r r]
        similar = q @ k.transpose(2, 3) + bias  # [N, heads, H W, r r]
        mixed = (similar * (channels // self.heads) ** -0.5).softmax(-1) @ v.to(similar.dtype)  # [N, heads, H W, c]
        out: Tensor = self.out(mixed.permute(0, 3, 1, 2).reshape(n, channels, height, width))
        return out
