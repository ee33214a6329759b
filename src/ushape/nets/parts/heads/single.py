"""The head of U-Net: a 1x1 convolution from features to class scores (Ronneberger et al. 2015, figure 1)."""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class SingleHead(nn.Module):
    """Decoder features, finest first ([N, w0, H, W], [N, w1, H/2, W/2], ...) -> [scores [N, classes, H, W]]."""

    def __init__(self, widths: tuple[int, ...], classes: int, style: Style) -> None:
        super().__init__()
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self.score(features[0])]
