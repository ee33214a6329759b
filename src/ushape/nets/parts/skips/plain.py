"""The skip of U-Net: concatenation (Ronneberger et al. 2015, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class Concatenate(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style) -> None:
        super().__init__()
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        return torch.cat([skip, up], dim=1)
