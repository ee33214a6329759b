"""Tokenised KAN block of U-KAN (Li et al. 2024, arXiv:2406.02918, section 3.2 and equations 5-8).

A KAN layer (Liu et al. 2024, arXiv:2404.19756, equations 2.10-2.12) learns a function on each edge from an input to
an output channel: a weight times SiLU(x), plus a spline, a weighted sum of grid + order B-splines on equal intervals
of [-1, 1] (cubic: order 3). A unit is x + KAN^3(LN(x)), each of the three layers followed by a depthwise 3x3
convolution, normalisation and activation. As in the paper's code an overlapping 3x3 embedding and a layer
normalisation come first, a layer normalisation last, and each edge's spline has a scale of its own. The paper does
so at its two coarsest levels; here every level does, which is dear at fine ones. The spline part is computed again
in the backward pass rather than kept: it is grid + order times as large as its input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least, depthwise, recompute
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.plain import Style


def bspline_basis(x: Tensor, grid: int, order: int) -> Tensor:
    """The grid + order B-splines on `grid` equal intervals of [-1, 1]: [...] -> [..., grid + order].

    They sum to 1 on [-1, 1] and all vanish beyond `order` further intervals. The splines of equal intervals are one
    function, shifted; by its truncated-power form, with u the distance from its centre in intervals and n = order,
    B(u) = sum over j < (n + 1) / 2 of (-1)^j binomial(n + 1, j) max(0, (n + 1) / 2 - j - |u|)^n / n!
    """
    half = (order + 1) / 2
    centres = torch.arange(grid + order, device=x.device, dtype=x.dtype) - (grid + order - 1) / 2
    distance = (x[..., None] * (grid / 2) - centres).abs()  # [..., grid + order]
    out = torch.zeros_like(distance)
    for j in range(math.ceil(half)):
        weight = (-1) ** j * math.comb(order + 1, j) / math.factorial(order)
        out = out + weight * F.relu(half - j - distance) ** order
    return out


class KANLinear(nn.Module):
    """[..., cin] -> [..., cout]; cin * cout * (grid + order + 2) parameters."""

    def __init__(self, cin: int, cout: int, grid: int, order: int) -> None:
        super().__init__()
        self.grid, self.order = grid, order
        self.base = nn.Parameter(torch.empty(cout, cin))
        self.spline = nn.Parameter(torch.randn(cout, cin, grid + order) * 0.1 / grid)
        self.scale = nn.Parameter(torch.empty(cout, cin))
        nn.init.kaiming_uniform_(self.base, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.scale, a=math.sqrt(5))

    def splines(self, x: Tensor) -> Tensor:
        basis = bspline_basis(x.float(), self.grid, self.order).flatten(-2)  # [..., cin * (grid + order)]
        return F.linear(basis, (self.spline * self.scale[..., None]).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.silu(x), self.base) + recompute(self.splines, x)


class KANUnit(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, grid: int, order: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.layers = nn.ModuleList(KANLinear(channels, channels, grid, order) for _ in range(3))
        self.filters = nn.ModuleList(
            nn.Sequential(depthwise(channels, 3, bias=style.bias), style.norm(channels), style.activation())
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(x)
        for layer, filtered in zip(self.layers, self.filters, strict=True):
            tokens = layer(out.permute(0, 2, 3, 1))  # [N, H, W, C]
            out = filtered(tokens.permute(0, 3, 1, 2))  # [N, C, H, W]
        return x + out


class KANBlock(nn.Sequential):
    """`style.depth` KAN units on embedded pixels: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, grid: int, order: int) -> None:
        at_least(1, grid=grid, order=order)
        embed = [nn.Conv2d(cin, cout, 3, padding=1), ChannelNorm(cout)]
        super().__init__(*embed, *(KANUnit(cout, style, grid, order) for _ in range(style.depth)), ChannelNorm(cout))
