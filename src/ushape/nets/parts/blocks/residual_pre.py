"""Pre-activation residual block (He et al. 2016b, arXiv:1603.05027, figure 1b and equation 3; "version 2").

y = F(x) + S(x), F = `style.depth` times normalisation, activation, 3x3 convolution: nothing stands on the path of
the identity, not even an activation after the sum. S is the identity where the width stays, else a 1x1 projection
of the raw input, so that an image reaches the first level unrectified. The paper's last normalisation, before its
classifier, is left out: as in ResUNet (Zhang et al. 2018, arXiv:1711.10684) the 1x1 head follows the last sum.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import fresh, project
from ushape.nets.parts.plain import Style


class ResidualPreBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(style.depth):
            width = cin if i == 0 else cout
            activation = style.activation() if i else fresh(style.activation())  # the first one's input is used twice
            layers += [style.norm(width), activation, style.conv(width, cout)]
        self.residual = nn.Sequential(*layers)
        self.shortcut = project(cin, cout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out
