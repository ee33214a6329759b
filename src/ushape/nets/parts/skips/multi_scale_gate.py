"""Multi-scale attention gate of CMU-Net (Tang et al. 2022, arXiv:2210.13012; official code).

Encoder features x pass a 1x1, a 3x3 and a dilated 3x3 convolution side by side; a 1x1 convolution of all three votes
on each value: x + x sigmoid(vote) is concatenated with the decoder's features, which have no say in it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class MultiScaleGate(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int, dilation: int) -> None:
        super().__init__()
        at_least(1, dilation=dilation)
        self.branches = nn.ModuleList(
            nn.Sequential(style.conv(cskip, cskip, kernel, rate), style.norm(cskip))
            for kernel, rate in ((1, 1), (3, 1), (3, dilation))
        )
        self.activation = style.activation()
        self.vote = nn.Sequential(style.conv(3 * cskip, cskip, kernel=1), style.norm(cskip), nn.Sigmoid())
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        scales = torch.cat([branch(skip) for branch in self.branches], dim=1)  # [N, 3 cs, H, W]
        return torch.cat([skip + skip * self.vote(self.activation(scales)), up], dim=1)
