"""Tokenised shifted MLP of UNeXt (Valanarasu and Patel 2022, arXiv:2203.04967, section 2 and equations 1-4).

An overlapping 3x3 embedding with layer normalisation makes every pixel a token. A unit is x + MLP(LN(x)): channels
in `shifts` groups are moved by -2 ... 2 pixels along the width (zeros come in), mixed by a 1x1 layer, filtered by a
depthwise 3x3 convolution, GELU, moved along the height, mixed again. A layer normalisation ends the level. The paper
does so at its two coarsest levels, with strided embeddings (our axis `down`); here at every level. Normalisation and
GELU are the paper's: the axes norm and activation do not reach inside.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import depthwise, shares
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.plain import Style


def shift(x: Tensor, groups: int, axis: int) -> Tensor:
    """Group i of the channels moved by i - groups // 2 pixels along `axis` (2: height, 3: width); zeros come in."""
    reach, size = groups // 2, x.shape[axis]
    padded = F.pad(x, (0, 0, reach, reach) if axis == 2 else (reach, reach))
    parts = torch.split(padded, shares(x.shape[1], groups), dim=1)
    return torch.cat([part.narrow(axis, 2 * reach - i, size) for i, part in enumerate(parts)], dim=1)


class ShiftedMLP(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, shifts: int) -> None:
        super().__init__()
        self.shifts = shifts
        self.norm = ChannelNorm(channels)
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 1), depthwise(channels, 3), nn.GELU())
        self.second = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.first(shift(self.norm(x), self.shifts, axis=3))  # [N, C, H, W]
        out: Tensor = x + self.second(shift(mixed, self.shifts, axis=2))
        return out


class ShiftedMLPBlock(nn.Sequential):
    """`style.depth` shifted MLPs on embedded pixels: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, shifts: int) -> None:
        if shifts < 1 or shifts % 2 == 0:
            raise SpecError(f"shifts={shifts}: give an odd number, as 5, so that one group stays in place")
        embed = [nn.Conv2d(cin, cout, 3, padding=1), ChannelNorm(cout)]
        super().__init__(*embed, *(ShiftedMLP(cout, shifts) for _ in range(style.depth)), ChannelNorm(cout))
