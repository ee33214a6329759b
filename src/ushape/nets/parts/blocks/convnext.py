"""ConvNeXt block (Liu et al. 2022, arXiv:2201.03545, figure 4) and MedNeXt block (Roy et al. 2023, arXiv:2303.09975).

ConvNeXt: x + s * W2 GELU(W1 LN(depthwise 7x7 x)): LN over channels, W1 widens by `expansion`, s a learned scale a
channel that starts at `scale`. MedNeXt: x + W2 GELU(W1 GN(depthwise k x k x)): GN over each channel alone, k = 3 or
5, no scale; the paper is three-dimensional, this is its two-dimensional form, without the strided blocks that lie
on our axes `down` and `up`. Normalisation and GELU are the papers' own: the axes norm and activation do not reach
inside. Where the width changes, a 1x1 convolution comes first (MedNeXt's stem is one). No stochastic depth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least, depthwise, odd_kernel, project
from ushape.nets.parts.norms import ChannelNorm, InstanceNorm
from ushape.nets.parts.plain import Style


class ConvNeXt(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            depthwise(channels, 7),
            ChannelNorm(channels, eps=1e-6),
            nn.Conv2d(channels, expansion * channels, 1),
            nn.GELU(),
            nn.Conv2d(expansion * channels, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.scale[:, None, None] * self.residual(x)
        return out


class ConvNeXtBlock(nn.Sequential):
    """`style.depth` ConvNeXt blocks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, expansion: int, scale: float) -> None:
        at_least(1, expansion=expansion)
        if scale <= 0:
            raise SpecError(f"scale={scale:g}: give a number above 0, as 1e-6, or the block never starts to learn")
        super().__init__(project(cin, cout), *(ConvNeXt(cout, expansion, scale) for _ in range(style.depth)))


class MedNeXt(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            depthwise(channels, kernel),
            InstanceNorm(channels),
            nn.Conv2d(channels, expansion * channels, 1),
            nn.GELU(),
            nn.Conv2d(expansion * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.residual(x)
        return out


class MedNeXtBlock(nn.Sequential):
    """`style.depth` MedNeXt blocks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int, expansion: int) -> None:
        odd_kernel(kernel)
        at_least(1, expansion=expansion)
        super().__init__(project(cin, cout), *(MedNeXt(cout, kernel, expansion) for _ in range(style.depth)))
