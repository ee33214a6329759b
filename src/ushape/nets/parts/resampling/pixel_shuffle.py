"""Sub-pixel convolution (Shi et al. 2016, arXiv:1609.05158, section 3.2, equation 4).

A convolution gives each pixel's 2x2 finer pixels as channels, which are then laid out in space. The four start equal
(Aitken et al. 2017, arXiv:1707.02937), so that no checkerboard is there to be unlearned. No activation follows, as
behind a transposed convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import Style


class PixelShuffle(nn.Module):
    """[N, cin, H, W] -> [N, cout, 2H, 2W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise SpecError(f"kernel={kernel}: give an odd number")
        self.conv = nn.Conv2d(cin, 4 * cout, kernel, padding=kernel // 2)
        self.channels = cout

    @torch.no_grad()
    def initialise(self) -> None:
        """Each group of four output channels takes the weights of its first."""
        self.conv.weight.copy_(self.conv.weight[::4].repeat_interleave(4, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)  # channels 4c ... 4c + 3 are the 2x2 pixels of channel c
