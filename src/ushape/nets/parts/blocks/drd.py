"""Dilation, residual and dense block of DRD-UNet (Ortega-Ruiz et al. 2024, doi 10.1109/ACCESS.2024.3377428).

The block joins dilated convolutions, a residual connection and dense layers; how, was not available to us. Our
assumption: dilated 3x3 units (rates 1, 2, 4), each seeing the input and all units before it (dense); a normalised
1x1 convolution of all of them; the shortcut of `residual` around the whole. A unit's growth is cout / number of
dilations; `style.depth` blocks follow each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import check_dilations, shortcut
from ushape.nets.parts.blocks.dilated import dilated_unit
from ushape.nets.parts.plain import Style


class DRD(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        check_dilations(dilations)
        growth = max(1, cout // len(dilations))
        self.units = nn.ModuleList(dilated_unit(style, cin + i * growth, growth, d) for i, d in enumerate(dilations))
        self.transition = nn.Sequential(style.conv(cin + len(dilations) * growth, cout, kernel=1), style.norm(cout))
        self.shortcut = shortcut(cin, cout, style)
        self.activation = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for unit in self.units:
            dense = torch.cat([dense, unit(dense)], dim=1)  # [N, cin + i * growth, H, W]
        out: Tensor = self.activation(self.transition(dense) + self.shortcut(x))
        return out


class DRDBlock(nn.Sequential):
    """`style.depth` DRD blocks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__(*(DRD(cout if i else cin, cout, style, dilations) for i in range(style.depth)))
