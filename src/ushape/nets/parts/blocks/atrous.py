"""Four atrous branches with dense or residual connections, of the UNET_modifications experiments.

The experiments name "atrous-4 + dense" and "atrous-4 + residual" and publish the networks as files of another
program, not their layers. Our assumptions: the dilations are 1, 2, 3, 5, the first four of the five that the
training scripts note (1, 2, 3, 5, 7); branches share out a convolution's channels and are concatenated, so that it
costs what a plain 3x3 convolution costs; the connections are those of our blocks `dense`
(growth cout / depth, then a 1x1 transition) and `residual` (shortcut around `style.depth` of them).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import check_dilations, shares, shortcut
from ushape.nets.parts.blocks.dilated import dilated_conv
from ushape.nets.parts.plain import Style


class AtrousConv(nn.Module):
    """3x3 convolutions of several dilations, concatenated: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        check_dilations(dilations)
        pairs = zip(shares(cout, len(dilations)), dilations, strict=False)
        self.branches = nn.ModuleList(dilated_conv(style, cin, width, d) for width, d in pairs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class AtrousUnit(nn.Sequential):
    """Branches, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__(AtrousConv(cin, cout, style, dilations), style.norm(cout), style.activation())


class AtrousDenseBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        growth = max(1, cout // style.depth)
        self.units = nn.ModuleList(AtrousUnit(cin + i * growth, growth, style, dilations) for i in range(style.depth))
        self.transition = style.unit(cin + style.depth * growth, cout, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = torch.cat([x, unit(x)], dim=1)  # [N, cin + i * growth, H, W]
        out: Tensor = self.transition(x)
        return out


class AtrousResidualBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(style.depth):
            layers += [AtrousConv(cout if i else cin, cout, style, dilations), style.norm(cout)]
            if i + 1 < style.depth:
                layers.append(style.activation())
        self.residual = nn.Sequential(*layers)
        self.shortcut = shortcut(cin, cout, style)
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out
