"""Down and up as U-Net does it (Ronneberger et al. 2015, figure 1), and the mean in place of the maximum."""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.plain import Style


class MaxPool(nn.MaxPool2d):
    """[N, cin, 2H, 2W] -> [N, cin, H, W]; the next level's block changes the width."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(2)
        self.channels = cin


class AvgPool(nn.AvgPool2d):
    """[N, cin, 2H, 2W] -> [N, cin, H, W]; the next level's block changes the width."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(2)
        self.channels = cin


class Transposed(nn.ConvTranspose2d):
    """2x2 up-convolution: [N, cin, H, W] -> [N, cout, 2H, 2W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(cin, cout, 2, stride=2)
        self.channels = cout
