"""MedNeXt (Roy et al. 2023, arXiv:2303.09975, sections 2.1-2.2 and table 1), in two dimensions.

A U of MedNeXt blocks whose ways down and up are such blocks too: the depthwise convolution has stride 2 (transposed on
the way up), and a strided 1x1 convolution is the shortcut. Skips are added. Each stage has its number of blocks and
its expansion: encoder from the finest level, bottom, decoder up to the finest level.

The paper is three-dimensional; this is the two-dimensional form that its code and MONAI's offer. The way up to
a level expands like that level; the way down, as in MONAI, like the level that it leaves (the paper's code: like the
one that it reaches), which matters where levels differ. The paper's deep supervision and its upsampled kernels are
left out.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import odd_kernel
from ushape.nets.parts.blocks.convnext import MedNeXt as Block
from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.norms import InstanceNorm


class Resample(nn.Module):
    """[N, cin, H, W] -> [N, cout, H / 2, W / 2], or [N, cout, 2H, 2W].

    On the way up transposed convolutions reach 2H - 1 rows: zeros are put in front, as in the paper's code.
    """

    def __init__(self, cin: int, cout: int, kernel: int, expansion: int, up: bool) -> None:
        super().__init__()
        conv = nn.ConvTranspose2d if up else DepthwiseConv
        self.residual = nn.Sequential(
            conv(cin, cin, kernel, stride=2, padding=kernel // 2, groups=cin),
            InstanceNorm(cin),
            nn.Conv2d(cin, expansion * cin, 1),
            nn.GELU(),
            nn.Conv2d(expansion * cin, cout, 1),
        )
        self.shortcut = conv(cin, cout, 1, stride=2)
        self.missing = (1, 0, 1, 0) if up else (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.residual(x) + self.shortcut(x), self.missing)


class MedNeXt(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        kernel: int,
        blocks: tuple[int, ...],
        expansion: tuple[int, ...],
    ) -> None:
        super().__init__()
        odd_kernel(kernel)
        coarsest = len(widths) - 1
        stages = 2 * coarsest + 1
        for name, given in (("blocks", blocks), ("expansion", expansion)):
            if len(given) != stages:
                raise SpecError(f"{name}: {len(given)} numbers for {len(widths)} levels: give {stages}, down and up")
        self.multiple = 2**coarsest
        self.stem = nn.Conv2d(in_channels, widths[0], 1)
        self.stages, self.downs, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for width, number, factor in zip((*widths, *widths[-2::-1]), blocks, expansion, strict=True):
            self.stages.append(nn.Sequential(*(Block(width, kernel, factor) for _ in range(number))))
        for i, (fine, coarse) in enumerate(pairwise(widths)):
            self.downs.append(Resample(fine, coarse, kernel, expansion[i], up=False))
        for i, (coarse, fine) in enumerate(pairwise(widths[::-1])):
            self.ups.append(Resample(coarse, fine, kernel, expansion[coarsest + 1 + i], up=True))
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        across: list[Tensor] = []
        for stage, down in zip(self.stages, self.downs, strict=False):  # the stages of the encoder
            across.append(stage(x))  # [N, w_i, H / 2^i, W / 2^i]
            x = down(across[-1])
        x = self.stages[len(self.downs)](x)
        for up, stage in zip(self.ups, self.stages[len(self.downs) + 1 :], strict=True):
            x = stage(up(x) + across.pop())
        scores: Tensor = self.score(x)
        return scores
