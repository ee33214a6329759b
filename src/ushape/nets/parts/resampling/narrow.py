"""LinkNet's way up (Chaurasia and Culurciello 2017, arXiv:1707.03718, figure 2): narrow while the resolution changes.

A 1x1 unit to cin / `reduction` channels, a transposed convolution of stride 2 at that width, a 1x1 unit to cout. The
paper's transposed convolution is 3x3 (kernel=3), that of segmentation_models.pytorch 4x4.
"""

from __future__ import annotations

from torch import nn

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class NarrowTransposed(nn.Sequential):
    """[N, cin, H, W] -> [N, cout, 2H, 2W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int, reduction: int) -> None:
        at_least(1, reduction=reduction)
        if kernel < 2:
            raise SpecError(f"kernel={kernel}: give 2 or more, or some pixels get nothing")
        inner = max(1, cin // reduction)
        up = nn.ConvTranspose2d(
            inner, inner, kernel, stride=2, padding=(kernel - 1) // 2, output_padding=kernel % 2
        )  # doubles the size whatever the kernel
        super().__init__(
            style.unit(cin, inner, kernel=1),
            up,
            style.norm(inner),
            style.activation(),
            style.unit(inner, cout, kernel=1),
        )
        self.channels = cout
