"""Skips without a machinery: concatenation (Ronneberger et al. 2015, section 2), addition, none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class Concatenate(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int) -> None:
        super().__init__()
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        return torch.cat([skip, up], dim=1)


class Add(nn.Module):
    """LinkNet's skip (Chaurasia and Culurciello 2017, arXiv:1707.03718, figure 1): [N, cu, H, W], the sum of both.

    A 1x1 convolution brings the encoder's features to the decoder's width where they differ.
    """

    def __init__(self, cskip: int, cup: int, style: Style, level: int) -> None:
        super().__init__()
        self.project = nn.Identity() if cskip == cup else nn.Conv2d(cskip, cup, 1)
        self.channels = cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        out: Tensor = self.project(skip) + up
        return out


class NoSkip(nn.Module):
    """up [N, cu, H, W] -> itself: an encoder and a decoder, no U."""

    def __init__(self, cskip: int, cup: int, style: Style, level: int) -> None:
        super().__init__()
        self.channels = cup

    def forward(self, skip: Tensor | None, up: Tensor) -> Tensor:
        return up
