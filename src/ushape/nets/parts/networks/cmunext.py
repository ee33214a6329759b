"""CMUNeXt (Tang et al. 2023, arXiv:2308.01239, figure 2): large depthwise kernels, units and kernels by level.

A 3x3 unit, then five levels of large-kernel units, each closed by a 3x3 unit to the level's width; max-pooling between
them. On the way back bilinear upsampling with a 3x3 unit, and the paper's skip-fusion (`parts/blocks/large_kernel.py`).
The modification `large-kernel` is the same with one kernel and one depth for all levels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.common import odd_kernel
from ushape.nets.parts.blocks.large_kernel import LargeKernelUnit, SkipFusion
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style
from ushape.nets.parts.resampling.interpolate import Bilinear


class CMUNeXt(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        kernels: tuple[int, ...],
    ) -> None:
        super().__init__()
        for name, given in (("blocks", blocks), ("kernels", kernels)):
            if len(given) != len(widths):
                raise SpecError(f"{name}: {len(given)} numbers for {len(widths)} levels: give one for each level")
        style = Style(norm=BatchNorm, activation=relu, depth=1, bias=True)
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = style.unit(in_channels, widths[0])
        self.encoder, self.ups, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        cin = widths[0]
        for width, number, kernel in zip(widths, blocks, kernels, strict=True):
            odd_kernel(kernel)
            units = (LargeKernelUnit(cin, style, kernel) for _ in range(number))
            self.encoder.append(nn.Sequential(*units, style.unit(cin, width)))
            cin = width
        for coarse, fine in pairwise(widths[::-1]):
            self.ups.append(Bilinear(coarse, fine, style, kernel=3))
            self.decoder.append(SkipFusion(2 * fine, fine, style))
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        across: list[Tensor] = []
        for level in self.encoder:
            x = level(F.max_pool2d(x, 2) if across else x)
            across.append(x)  # [N, w_i, H / 2^i, W / 2^i]
        across.pop()
        for up, fusion in zip(self.ups, self.decoder, strict=True):
            x = fusion(torch.cat([across.pop(), up(x)], dim=1))
        scores: Tensor = self.score(x)
        return scores
