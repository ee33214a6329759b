"""Dense block (Huang et al. 2017, arXiv:1608.06993, equation 2): every unit sees all features before it.

Unit i maps [x0, ..., xi] to `growth` new channels with one 3x3 convolution; a 1x1 unit then brings input and
growth to the level's width (the paper's transition layer, without its pooling, which is our axis `down`).
growth = cout / depth, so that the last concatenation is cin + cout wide. Convolution comes before normalisation,
as in the rest of this U, not after it as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class DenseBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        growth = max(1, cout // style.depth)
        self.units = nn.ModuleList(style.unit(cin + i * growth, growth) for i in range(style.depth))
        self.transition = style.unit(cin + style.depth * growth, cout, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = torch.cat([x, unit(x)], dim=1)  # [N, cin + i * growth, H, W]
        out: Tensor = self.transition(x)
        return out
