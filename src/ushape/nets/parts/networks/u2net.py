"""U2-Net (Qin et al. 2020, arXiv:2005.09007, figure 5 and table 1): a U whose levels are Us themselves.

Six encoder levels, residual U-blocks of heights 7, 6, 5, 4 and twice a dilated one (`parts/blocks/rsu.py`), 2x2
max-pooling between them, bilinear resizing on the way back, five decoder levels of the encoder's heights. A 3x3
convolution scores each decoder level and the bottom; a 1x1 convolution joins their six maps at full size.

widths: what each encoder level gives; a decoder level gives what the next finer encoder level does. inner: what the
channels that a block gives are divided by for its inner ones; encoder from the finest level, then decoder up to it.
The paper's loss sees the joined map and all six, at full size; here the joined one and those of the coarser levels, at
their own sizes, as our deep supervision does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.rsu import RSU
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style

HEIGHTS = (7, 6, 5, 4, 4, 4)
DILATED = (False, False, False, False, True, True)


class U2Net(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]; in training also those of five coarser levels."""

    multiple = 32

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], inner: tuple[int, ...]) -> None:
        super().__init__()
        levels = len(HEIGHTS)
        if len(widths) != levels or len(inner) != 2 * levels - 1:
            raise SpecError(f"U2-Net has {levels} levels: give {levels} widths, and {2 * levels - 1} numbers for inner")
        style = Style(norm=BatchNorm, activation=relu, depth=1, bias=True)

        def block(cin: int, cout: int, level: int, divisor: int) -> nn.Module:
            return RSU(cin, max(1, cout // divisor), cout, style, HEIGHTS[level], DILATED[level])

        before = (in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(block(before[i], widths[i], i, inner[i]) for i in range(levels))
        gives = (widths[0], *widths[: levels - 2], widths[-1])  # finest first; the last is the bottom
        self.decoder = nn.ModuleList(
            block(gives[i + 1] + widths[i], gives[i], i, inner[-1 - i]) for i in range(levels - 1)
        )
        self.sides = nn.ModuleList(nn.Conv2d(width, classes, 3, padding=1) for width in gives)
        self.join = nn.Conv2d(levels * classes, classes, 1)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        x = image
        features: list[Tensor] = []
        for level in self.encoder:
            x = level(F.max_pool2d(x, 2) if features else x)
            features.append(x)  # [N, w_i, H / 2^i, W / 2^i]
        for i in reversed(range(len(self.decoder))):
            up = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = features[i] = self.decoder[i](torch.cat([up, features[i]], dim=1))
        maps = [side(x) for side, x in zip(self.sides, features, strict=True)]  # [N, classes, H / 2^i, W / 2^i]
        large = [F.interpolate(m, size=image.shape[2:], mode="bilinear") if i else m for i, m in enumerate(maps)]
        joined: Tensor = self.join(torch.cat(large, dim=1))
        return [joined, *maps[1:]] if self.training else joined
