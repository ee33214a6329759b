"""Bottleneck residual block (He et al. 2016, arXiv:1512.03385, figure 5 right): narrow, convolve, widen.

y = activation(F(x) + S(x)), F = 1x1 to cout / reduction, 3x3, 1x1 to cout, each normalised, the last without
activation; `style.depth` of them in series. The paper's reduction is 4; S is as in the block `residual`.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least, shortcut
from ushape.nets.parts.plain import Style


class Bottleneck(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, reduction: int) -> None:
        super().__init__()
        inner = max(1, cout // reduction)
        self.residual = nn.Sequential(
            style.unit(cin, inner, kernel=1),
            style.unit(inner, inner),
            style.conv(inner, cout, kernel=1),
            style.norm(cout),
        )
        self.shortcut = shortcut(cin, cout, style)
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


class BottleneckBlock(nn.Sequential):
    """`style.depth` bottlenecks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, reduction: int) -> None:
        at_least(1, reduction=reduction)
        super().__init__(*(Bottleneck(cout if i else cin, cout, style, reduction) for i in range(style.depth)))
