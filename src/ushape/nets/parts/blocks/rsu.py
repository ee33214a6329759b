"""Residual U-block of U2-Net (Qin et al. 2020, arXiv:2005.09007, section 3.1 and figure 2): a small U in each level.

An entry unit gives x; a U of `height` stages inside the level, narrow within, gives U(x); y = x + U(x). Pooling is
2x2, rounded up, and what comes back is resized to what it left; a stage whose map would shrink to one pixel is not
pooled, so that a batch of one can train. `flat=1` dilates by 1, 2, 4, ... instead of pooling (RSU-4F). The paper
lowers the height from 7 at its finest level to 4, then RSU-4F; here all levels have one height. Inner width:
cout / 2, as in most of the paper's levels. `style.depth` blocks follow each other (the paper: 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.blocks.dilated import dilated_unit
from ushape.nets.parts.plain import Style


class RSU(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]; `inner` channels within, `height` stages (L of the paper's RSU-L)."""

    def __init__(self, cin: int, inner: int, cout: int, style: Style, height: int, flat: bool = False) -> None:
        super().__init__()
        rates = [2**i if flat else 1 for i in range(height - 1)]
        self.flat = flat
        self.entry = style.unit(cin, cout)
        self.encoder = nn.ModuleList(
            dilated_unit(style, inner if i else cout, inner, rate) for i, rate in enumerate(rates)
        )
        self.bottom = dilated_unit(style, inner, inner, 2 ** (height - 1) if flat else 2)
        self.decoder = nn.ModuleList(  # coarsest first
            dilated_unit(style, 2 * inner, inner if i else cout, rates[i]) for i in reversed(range(height - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)  # [N, cout, H, W]
        inside, across = x, []
        for i, encode in enumerate(self.encoder):
            if i and not self.flat and max(inside.shape[2:]) > 2:
                inside = F.max_pool2d(inside, 2, stride=2, ceil_mode=True)
            inside = encode(inside)  # [N, inner, ceil(H / 2^i), ceil(W / 2^i)]
            across.append(inside)
        inside = self.bottom(inside)
        for decode in self.decoder:
            skip = across.pop()
            if inside.shape[2:] != skip.shape[2:]:
                inside = F.interpolate(inside, size=skip.shape[2:], mode="bilinear", align_corners=False)
            inside = decode(torch.cat([inside, skip], dim=1))
        return x + inside


class RSUBlock(nn.Sequential):
    """`style.depth` residual U-blocks: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, height: int, flat: int) -> None:
        at_least(2, height=height)
        at_least(0, flat=flat)
        inner = max(1, cout // 2)
        units = (RSU(cout if i else cin, inner, cout, style, height, flat > 0) for i in range(style.depth))
        super().__init__(*units)
