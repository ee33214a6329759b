"""Depthwise-separable convolutions (Howard et al. 2017, MobileNets, arXiv:1704.04861, section 3.1 and figure 3).

Each 3x3 convolution becomes a 3x3 filter for each channel and a 1x1 convolution across channels, both normalised
and activated: 9 cin + cin cout weights instead of 9 cin cout. `style.depth` of them in series.
"""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.blocks.common import depthwise
from ushape.nets.parts.plain import Style


class DepthwiseSeparable(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(
            depthwise(cin, 3, bias=style.bias), style.norm(cin), style.activation(), style.unit(cin, cout, kernel=1)
        )


class DepthwiseSeparableBlock(nn.Sequential):
    """`style.depth` separable convolutions: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(*(DepthwiseSeparable(cout if i else cin, cout, style) for i in range(style.depth)))
