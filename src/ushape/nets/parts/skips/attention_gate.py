"""Additive attention gate (Oktay et al. 2018, arXiv:1804.03999, equations 1-2 and figure 2).

a = sigmoid(psi(activation(Wx x + Wg g))) scales the encoder's features x before they are concatenated. The paper
gates with the coarser level's features and resamples a; we gate with the features already brought up to this
level, as the networks of 34.9M parameters in use do, so that nothing needs resampling. Inner width: cskip / 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class AttentionGate(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int) -> None:
        super().__init__()
        inner = max(1, cskip // 2)
        self.of_skip = nn.Sequential(style.conv(cskip, inner, kernel=1), style.norm(inner))
        self.of_up = nn.Sequential(style.conv(cup, inner, kernel=1), style.norm(inner))
        self.activation = style.activation()
        self.psi = nn.Sequential(style.conv(inner, 1, kernel=1), style.norm(1), nn.Sigmoid())
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        weight = self.psi(self.activation(self.of_skip(skip) + self.of_up(up)))  # [N, 1, H, W]
        return torch.cat([skip * weight, up], dim=1)
