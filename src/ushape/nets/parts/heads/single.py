"""The head of U-Net: a 1x1 convolution from features to class scores (Ronneberger et al. 2015, figure 1).

Some published variants have a 3x3 convolution there: kernel=3.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.plain import Style


class SingleHead(nn.Module):
    """Decoder features, finest first ([N, w0, H, W], [N, w1, H/2, W/2], ...) -> [scores [N, classes, H, W]]."""

    def __init__(self, widths: tuple[int, ...], classes: int, style: Style, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise SpecError(f"kernel={kernel}: give an odd number")
        self.score = nn.Conv2d(widths[0], classes, kernel, padding=kernel // 2)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self.score(features[0])]
