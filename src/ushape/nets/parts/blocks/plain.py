"""The level of U-Net (Ronneberger et al. 2015, figure 1): 3x3 convolutions in series.

Ours are padded (`same`) and normalised, as in nearly every later use; the paper's are neither.
"""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.blocks.common import project
from ushape.nets.parts.plain import Style


class PlainBlock(nn.Sequential):
    """`style.depth` units of 3x3 convolution, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(*(style.unit(cin if i == 0 else cout, cout) for i in range(style.depth)))


class NoBlock(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, H, W]: nothing, or a 1x1 convolution where the width changes."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(project(cin, cout))
