"""Dilations in series, of the UNET_modifications experiments ("atrous in series").

The experiments put the series at the input or in each level; the training scripts head other experiments "D=1,2,3,5,7".
Our assumptions: the dilations are the first three of those, and every convolution of the series is normalised and
activated. In a level the series stands for the first convolution unit; style.depth - 1 plain units follow, as in
`dilated-parallel-3`.
"""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.blocks.common import check_dilations
from ushape.nets.parts.blocks.dilated import dilated_unit
from ushape.nets.parts.plain import Style


class DilatedSeries(nn.Sequential):
    """A unit for each dilation: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        check_dilations(dilations)
        super().__init__(*(dilated_unit(style, cout if i else cin, cout, d) for i, d in enumerate(dilations)))


class DilatedSeriesBlock(nn.Sequential):
    """The series, then depth - 1 plain units: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        plain = (style.unit(cout, cout) for _ in range(style.depth - 1))
        super().__init__(DilatedSeries(cin, cout, style, dilations), *plain)
