"""Inception blocks: filters of several sizes side by side, each after a 1x1 convolution that narrows its input.

`inception` (Szegedy et al. 2015, arXiv:1409.4842, figure 2b): 1x1, 3x3, 5x5 and pooling, concatenated. Shares of
`cout` are those of the paper's module 3a (64, 128, 32, 32 of 256, narrowed to 96 and 16); normalisation is ours.

`multi-inception`: the multi-inception U-Net that the UNET_modifications experiments refer to publishes no details
that we could read. Our assumption: modules in series with the 5x5 factorised into two 3x3 (Szegedy et al. 2016,
arXiv:1512.00567, figure 5), the outputs of all of them joined by a 1x1 convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class Inception(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, factorised: bool = False) -> None:
        super().__init__()
        one, five = cout // 4, cout // 8
        three = cout - one - 2 * five
        self.branches = nn.ModuleList()
        if one:
            self.branches.append(style.unit(cin, one, kernel=1))
        narrow = max(1, 3 * cout // 8)
        self.branches.append(nn.Sequential(style.unit(cin, narrow, kernel=1), style.unit(narrow, three)))
        if five:
            narrow = max(1, cout // 16)
            wide = [style.unit(narrow, five), style.unit(five, five)] if factorised else [style.unit(narrow, five, 5)]
            self.branches.append(nn.Sequential(style.unit(cin, narrow, kernel=1), *wide))
            self.branches.append(nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), style.unit(cin, five, kernel=1)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionBlock(nn.Sequential):
    """`style.depth` modules in series: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(*(Inception(cout if i else cin, cout, style) for i in range(style.depth)))


class MultiInceptionBlock(nn.Module):
    """`style.depth` modules in series, all their outputs joined: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        self.inceptions = nn.ModuleList(Inception(cout if i else cin, cout, style, True) for i in range(style.depth))
        self.join = style.unit(style.depth * cout, cout, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for module in self.inceptions:
            x = module(x)  # [N, cout, H, W]
            outputs.append(x)
        out: Tensor = self.join(torch.cat(outputs, dim=1))
        return out
