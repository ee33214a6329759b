"""Residual multi-scale block of RMS-UNet (Khan et al. 2022, doi 10.1016/j.artmed.2021.102231).

The paper combines residual blocks with 3x3 convolutions dilated by 1, 2 and 4. Its figures, not its layer tables,
were available to us. Our assumption: y = activation(F(x) + S(x)), F = `style.depth` stages, each the sum of one 3x3
convolution a dilation, normalised; S as in the block `residual`. Every branch has the full width, so that a stage
costs as many convolutions as there are dilations.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import check_dilations, shortcut
from ushape.nets.parts.blocks.dilated import dilated_conv
from ushape.nets.parts.plain import Style


class DilatedSum(nn.Module):
    """Convolutions of several dilations, added and normalised: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        check_dilations(dilations)
        self.branches = nn.ModuleList(dilated_conv(style, cin, cout, d) for d in dilations)
        self.norm = style.norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.branches[0](x)  # [N, cout, H, W]
        for branch in self.branches[1:]:
            total = total + branch(x)
        out: Tensor = self.norm(total)
        return out


class RMSBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [DilatedSum(cin, cout, style, dilations)]
        for _ in range(style.depth - 1):
            layers += [style.activation(), DilatedSum(cout, cout, style, dilations)]
        self.residual = nn.Sequential(*layers)
        self.shortcut = shortcut(cin, cout, style)
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out
