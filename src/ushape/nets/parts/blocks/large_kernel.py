"""Large-kernel block of CMUNeXt (Tang et al. 2023, arXiv:2308.01239, equations 1-3 and figures 2-3).

A unit is a depthwise k x k convolution with a shortcut, then 1x1 to four times the width and 1x1 back, each followed
by GELU and normalisation. `style.depth` units run at the width that comes in; a 3x3 unit then changes it to the
level's. Where features narrow (in a decoder: encoder features and upsampled ones) the block is the paper's
skip-fusion instead: a 3x3 convolution in two groups, one for each of the two, 1x1 to 4 cout, 1x1 to cout; depth does
not multiply it. An image (4 channels at most) is widened by a 3x3 unit first: the paper's stem. GELU is the paper's:
the axis activation reaches the 3x3 units alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import depthwise, odd_kernel
from ushape.nets.parts.plain import Style

IMAGE = 4
"""The most channels that are taken for an image."""


def _after(conv: nn.Conv2d, style: Style) -> list[nn.Module]:
    return [conv, nn.GELU(), style.norm(conv.out_channels)]


class LargeKernelUnit(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, kernel: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(*_after(depthwise(channels, kernel), style))
        self.mix = nn.Sequential(
            *_after(nn.Conv2d(channels, 4 * channels, 1), style), *_after(nn.Conv2d(4 * channels, channels, 1), style)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mix(x + self.spatial(x))
        return out


class SkipFusion(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, H, W]; an odd cin, which no two groups can share, has one group."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(
            *_after(nn.Conv2d(cin, cin, 3, padding=1, groups=1 + (cin % 2 == 0)), style),
            *_after(nn.Conv2d(cin, 4 * cout, 1), style),
            *_after(nn.Conv2d(4 * cout, cout, 1), style),
        )


class LargeKernelBlock(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int) -> None:
        odd_kernel(kernel)
        if cin > cout:
            super().__init__(SkipFusion(cin, cout, style))
            return
        stem = [style.unit(cin, cout)] if cin <= IMAGE else []
        width = cout if stem else cin
        units = (LargeKernelUnit(width, style, kernel) for _ in range(style.depth))
        super().__init__(*stem, *units, style.unit(width, cout))
