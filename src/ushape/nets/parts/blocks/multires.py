"""MultiRes block (Ibtehaz and Rahman 2020, arXiv:1902.04049, section 5.1 and figure 3).

Three 3x3 convolutions in series stand for 3x3, 5x5 and 7x7 filters; all three outputs are concatenated and a 1x1
shortcut is added. Their widths are W/6, W/3 and W/2, W = 1.67 U: the paper's levels of U = 32 ... 512 give
51, 105, 212, 426 and 853 channels. Here a level's width is given, so the block cuts `cout` into 1/6 (rounded
down), 1/3 (rounded) and the rest, which are the paper's numbers at the paper's widths
(`unet[widths=51-105-212-426-853,depth=1]+multires`). `style.depth` blocks follow each other (the paper: 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


def multires_widths(cout: int) -> list[int]:
    """Channels of the three convolutions, none of them 0: 51 -> [8, 17, 26]."""
    sixth, third = cout // 6, round(cout / 3)
    return [width for width in (sixth, third, cout - sixth - third) if width]


class MultiRes(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        widths = multires_widths(cout)
        self.units = nn.ModuleList(style.unit(a, b) for a, b in zip([cin, *widths], widths, strict=False))
        self.shortcut = nn.Sequential(style.conv(cin, cout, kernel=1), style.norm(cout))
        self.norms = nn.ModuleList([style.norm(cout), style.norm(cout)])
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for unit in self.units:
            features.append(unit(features[-1]))
        joined = self.norms[0](torch.cat(features[1:], dim=1))  # [N, cout, H, W]
        out: Tensor = self.norms[1](self.activation(joined + self.shortcut(x)))
        return out


class MultiResBlock(nn.Sequential):
    """`style.depth` MultiRes blocks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__(*(MultiRes(cout if i else cin, cout, style) for i in range(style.depth)))
