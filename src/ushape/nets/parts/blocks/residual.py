"""Residual block (He et al. 2016, arXiv:1512.03385, figure 2 and equation 1; the order of version 1).

y = activation(F(x) + S(x)): F is `style.depth` 3x3 convolutions, the last without activation; S is the identity
where the number of channels stays, a normalised 1x1 projection where it changes (the paper's option B). The
paper's down-sampling by stride lies on our axis `down` instead.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class ResidualBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(style.depth):
            layers += [style.conv(cin if i == 0 else cout, cout), style.norm(cout)]
            if i + 1 < style.depth:
                layers.append(style.activation())
        self.residual = nn.Sequential(*layers)
        self.shortcut = (
            nn.Identity() if cin == cout else nn.Sequential(style.conv(cin, cout, kernel=1), style.norm(cout))
        )
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out
