"""Haar wavelet down-sampling (Xu et al. 2023, Pattern Recognition 143, 109819, section 3.1 and figure 3).

One level of the Haar transform keeps all that 2x2 pixels hold: their mean and three differences, as four times the
channels; a 1x1 unit maps them to the next width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class HaarDown(nn.Module):
    """[N, cin, 2H, 2W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style) -> None:
        super().__init__()
        self.join = style.unit(4 * cin, cout, kernel=1)
        self.channels = cout

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.join(haar(x))
        return out


def haar(x: Tensor) -> Tensor:
    """The orthonormal transform: [N, C, 2H, 2W] -> [N, 4C, H, W]: approximation, then three details."""
    top, bottom = x[:, :, ::2], x[:, :, 1::2]  # [N, C, H, 2W]
    a, b, c, d = top[..., ::2], top[..., 1::2], bottom[..., ::2], bottom[..., 1::2]  # [N, C, H, W]
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 2
