"""SegResNet (Myronenko 2018, arXiv:1810.11654, section 2.2 and table 1), in two dimensions, as MONAI has it.

Pre-activation residual blocks with group normalisation, a number for each stage: encoder from the finest level, then
decoder up to it. Down by a 3x3 convolution of stride 2, up by a 1x1 convolution and bilinear interpolation; skips are
added. The paper is three-dimensional and, in training, also reconstructs the image; this is its segmentation half.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.residual_pre import ResidualPreBlock
from ushape.nets.parts.norms import GroupNorm
from ushape.nets.parts.plain import Style

STYLE = Style(norm=partial(GroupNorm, groups=8), activation=relu, depth=2, bias=False)


class SegResNet(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        coarsest = len(widths) - 1
        if len(blocks) != 2 * coarsest + 1:
            raise SpecError(
                f"blocks: {len(blocks)} numbers for {len(widths)} levels: give {2 * coarsest + 1}, down and up"
            )
        self.multiple = 2**coarsest
        self.stem = STYLE.conv(in_channels, widths[0])
        self.stages, self.downs, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for width, number in zip((*widths, *widths[-2::-1]), blocks, strict=True):
            self.stages.append(nn.Sequential(*(ResidualPreBlock(width, width, STYLE) for _ in range(number))))
        for fine, coarse in pairwise(widths):
            down = STYLE.conv(fine, coarse)
            down.stride = (2, 2)
            self.downs.append(down)
        for coarse, fine in pairwise(widths[::-1]):
            self.ups.append(STYLE.conv(coarse, fine, kernel=1))
        self.score = nn.Sequential(STYLE.norm(widths[0]), relu(), nn.Conv2d(widths[0], classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        across: list[Tensor] = []
        for stage, down in zip(self.stages, self.downs, strict=False):  # the stages of the encoder
            across.append(stage(x))  # [N, w_i, H / 2^i, W / 2^i]
            x = down(across[-1])
        x = self.stages[len(self.downs)](x)
        for up, stage in zip(self.ups, self.stages[len(self.downs) + 1 :], strict=True):
            x = stage(F.interpolate(up(x), scale_factor=2.0, mode="bilinear") + across.pop())
        scores: Tensor = self.score(x)
        return scores
