"""ResUNet++ (Jha et al. 2019, arXiv:1911.07067, figure 1): ResUNet with excitation, attention and atrous pooling.

Squeeze and excitation stands in front of each unit that goes down, atrous pooling in place of the bridge and before
the head; on the way up the encoder's features weigh the coarser decoder's before these are enlarged. Layers are those
of the public PyTorch code that the pinned count comes from: shortcuts are normalised 3x3 convolutions, branches of the
atrous pooling are rectified, then normalised, and concatenated, and the attention gives one map. (The authors' Keras
code has 1x1 shortcuts, a fourth undilated branch, a sum instead of a concatenation, and a map for each channel.)
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.networks.resunet import ResidualUnit, pre_activated
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import DilatedConv


def _unit(cin: int, cout: int, stride: int = 1) -> ResidualUnit:
    shortcut = nn.Sequential(nn.Conv2d(cin, cout, 3, stride=stride, padding=1), BatchNorm(cout))
    return ResidualUnit(cin, cout, stride, shortcut)


class Excite(nn.Module):
    """Squeeze and excitation without biases (Hu et al. 2018, arXiv:1709.01507): [N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.narrow = nn.Conv2d(channels, inner, 1, bias=False)
        self.widen = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.widen(self.narrow(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return out


class AtrousPooling(nn.Module):
    """3x3 convolutions of several dilations, concatenated and joined: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(DilatedConv(cin, cout, 3, padding=d, dilation=d), nn.ReLU(), BatchNorm(cout))
            for d in dilations
        )
        self.join = nn.Conv2d(len(dilations) * cout, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.join(torch.cat([branch(x) for branch in self.branches], dim=1))
        return out


class Attention(nn.Module):
    """Encoder [N, fine, 2H, 2W] and decoder [N, coarse, H, W] -> [N, coarse, H, W], weighted pixel by pixel."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.of_fine = nn.Sequential(pre_activated(fine, coarse), nn.MaxPool2d(2))
        self.of_coarse = pre_activated(coarse, coarse)
        self.map = nn.Sequential(BatchNorm(coarse), nn.ReLU(), nn.Conv2d(coarse, 1, 1))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        out: Tensor = coarse * self.map(self.of_fine(fine) + self.of_coarse(coarse))  # a map that is not squashed
        return out


class ResUNetPlusPlus(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W].

    widths: of each level, finest first, and last of the atrous pooling at the bottom, which has the resolution of the
    level before it.
    """

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], dilations: tuple[int, ...]) -> None:
        super().__init__()
        *levels, bottom = widths
        self.multiple = 2 ** (len(levels) - 1)
        self.first = nn.Sequential(nn.Conv2d(in_channels, levels[0], 3, padding=1), pre_activated(levels[0], levels[0]))
        self.first_shortcut = nn.Conv2d(in_channels, levels[0], 3, padding=1)
        self.excite = nn.ModuleList(Excite(width) for width in levels[:-1])
        self.down = nn.ModuleList(_unit(a, b, 2) for a, b in pairwise(levels))
        self.bottom = AtrousPooling(levels[-1], bottom, dilations)
        below = [*levels[2:], bottom]  # what comes up to each level but the coarsest
        self.attend = nn.ModuleList(Attention(a, b) for a, b in zip(levels, below, strict=False))
        self.up = nn.ModuleList(_unit(a + b, c) for a, b, c in zip(levels, below, levels[1:], strict=False))
        self.last = AtrousPooling(levels[1] if len(levels) > 1 else bottom, levels[0], dilations)
        self.score = nn.Conv2d(levels[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.first(image) + self.first_shortcut(image)]  # [N, w_0, H, W]
        for excite, unit in zip(self.excite, self.down, strict=True):
            features.append(unit(excite(features[-1])))  # [N, w_i, H / 2^i, W / 2^i]
        x = self.bottom(features.pop())
        for i in reversed(range(len(self.up))):
            x = F.interpolate(self.attend[i](features[i], x), scale_factor=2.0, mode="bilinear")
            x = self.up[i](torch.cat([x, features[i]], dim=1))  # [N, w_(i+1), H / 2^i, W / 2^i]
        out: Tensor = self.score(self.last(x))
        return out
