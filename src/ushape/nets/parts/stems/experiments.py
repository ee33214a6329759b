"""Stems of the UNET_modifications experiments: one of their units between the image and the first level.

`residual`: the residual block; `dilated-series`: dilated convolutions one after another; `atrous-4`: four of them
side by side. Each gives the width of the first level; assumptions stand with the blocks that they are made of.
(`dilated-parallel-3` and `-5` stand beside their blocks.)
"""

from __future__ import annotations

from ushape.nets.parts.blocks.atrous import AtrousUnit
from ushape.nets.parts.blocks.dilated_series import DilatedSeries
from ushape.nets.parts.blocks.residual import ResidualBlock
from ushape.nets.parts.plain import Style


class ResidualStem(ResidualBlock):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(cin, cout, style)
        self.channels = cout


class DilatedSeriesStem(DilatedSeries):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__(cin, cout, style, dilations)
        self.channels = cout


class AtrousStem(AtrousUnit):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__(cin, cout, style, dilations)
        self.channels = cout
