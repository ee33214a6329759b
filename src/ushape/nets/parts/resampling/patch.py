"""Patch merging (Swin, Liu et al. 2021, arXiv:2103.14030, section 3.1) and expanding (Swin-Unet, arXiv:2105.05537).

Merging gathers each 2x2 pixels as channels, normalises them and maps them linearly to the next width; expanding does
the reverse, and normalises last. The papers' widths double; ours are the spec's.
"""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.norms import layer_norm
from ushape.nets.parts.plain import Style


class PatchMerging(nn.Sequential):
    """[N, cin, 2H, 2W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(nn.PixelUnshuffle(2), layer_norm(4 * cin), nn.Conv2d(4 * cin, cout, 1, bias=False))
        self.channels = cout


class PatchExpanding(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, 2H, 2W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(nn.Conv2d(cin, 4 * cout, 1, bias=False), nn.PixelShuffle(2), layer_norm(cout))
        self.channels = cout
