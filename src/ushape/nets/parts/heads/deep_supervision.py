"""Deep supervision (Lee et al. 2015, arXiv:1409.5185; in the form of nnU-Net, Isensee et al. 2021).

In training each decoder level has a 1x1 convolution of its own; the loss weighs the level of 1/2^i resolution by
1/2^i. In evaluation only the finest one is computed. Lee et al. supervise hidden layers with SVMs; the weights
and the per-level nearest-neighbour targets are nnU-Net's, which leaves the coarsest of these levels out of the loss;
here it counts. The bottom of the U is not supervised.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class DeepSupervisionHead(nn.Module):
    """Decoder features, finest first -> scores of each level in training, of the finest in evaluation."""

    def __init__(self, widths: tuple[int, ...], classes: int, style: Style) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        pairs = list(zip(self.scores, features, strict=True))
        return [score(x) for score, x in (pairs if self.training else pairs[:1])]
