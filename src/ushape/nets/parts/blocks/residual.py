"""Residual block (He et al. 2016, arXiv:1512.03385, figure 2 and equation 1; the order of version 1).

y = activation(F(x) + S(x)): F is `style.depth` 3x3 convolutions, the last without activation; S is the identity
where the number of channels stays, a normalised 1x1 projection where it changes (the paper's option B). The
paper's down-sampling by stride lies on our axis `down` instead. With `every` a deep level is a chain of such blocks of
so many convolutions, as the paper's networks are (two); 0 makes one block of the whole level.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import shortcut
from ushape.nets.parts.plain import Style


class ResidualBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, every: int = 0) -> None:
        super().__init__()
        if every < 0:
            raise SpecError(f"residual[every={every}]: give convolutions for each shortcut, or 0 for all of a level")
        first = min(every or style.depth, style.depth)
        layers: list[nn.Module] = []
        for i in range(first):
            layers += [style.conv(cin if i == 0 else cout, cout), style.norm(cout)]
            if i + 1 < first:
                layers.append(style.activation())
        self.residual = nn.Sequential(*layers)
        self.shortcut = shortcut(cin, cout, style)
        self.activation = style.activation()
        left = style.depth - first
        self.rest = ResidualBlock(cout, cout, replace(style, depth=left), every) if left else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out if self.rest is None else self.rest(out)
