"""CE-Net (Gu et al. 2019, arXiv:1903.02740): a context extractor between ResNet-34 and a decoder.

The extractor: dense atrous convolution, four cascades of shared dilated convolutions added to their input; then
residual multi-kernel pooling, maxima of four sizes as one channel each beside the features. Decoder blocks narrow,
enlarge and widen; skips are added. Layers are those of the authors' code. ResNet-34 starts from scratch; a pooling
window larger than the bottom of the U is cut to it (the authors' code needs images of 192 pixels).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import DilatedConv

BLOCKS = (3, 4, 6, 3)
"""ResNet-34's blocks in each level; levels beyond have the last."""


class BasicBlock(nn.Module):
    """ResNet's (He et al. 2016, arXiv:1512.03385, figure 5 left): [N, cin, H, W] -> [N, cout, H / s, W / s]."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([BatchNorm(cout), BatchNorm(cout)])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride=stride, bias=False), BatchNorm(cout))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        out: Tensor = (branch + self.shortcut(x)).relu()
        return out


class DenseAtrous(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.three, self.five = (DilatedConv(channels, channels, 3, padding=d, dilation=d) for d in (1, 3, 5))
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        both = self.three(one)
        cascades = (one, self.point(self.three(x)), self.point(both), self.point(self.five(both)))
        out = x
        for cascade in cascades:
            out = out + cascade.relu()
        return out


class MultiKernelPooling(nn.Module):
    """[N, C, H, W] -> [N, C + 4, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        maps = []
        for side in (2, 3, 5, 6):
            pooled = F.max_pool2d(x, (min(side, height), min(side, width)))
            maps.append(F.interpolate(self.point(pooled), size=(height, width), mode="bilinear"))  # [N, 1, H, W]
        return torch.cat([*maps, x], dim=1)


def _up(cin: int, cout: int) -> nn.Sequential:
    """[N, cin, H, W] -> [N, cout, 2H, 2W]."""
    inner = max(1, cin // 4)
    enlarge = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
    layers: list[nn.Module] = []
    for conv, width in ((nn.Conv2d(cin, inner, 1), inner), (enlarge, inner), (nn.Conv2d(inner, cout, 1), cout)):
        layers += [conv, BatchNorm(width), nn.ReLU()]
    return nn.Sequential(*layers)


class CENet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: of ResNet's levels, the finest at a quarter of the size."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) + 1)
        finest, narrow = widths[0], max(1, widths[0] // 2)
        self.first = nn.Sequential(
            nn.Conv2d(in_channels, finest, 7, stride=2, padding=3, bias=False), BatchNorm(finest), nn.ReLU()
        )
        self.levels = nn.ModuleList()
        for i, (cin, cout) in enumerate(pairwise([finest, *widths])):
            blocks = [BasicBlock(cin, cout, 2 if i else 1)]
            blocks += [BasicBlock(cout, cout, 1) for _ in range(BLOCKS[min(i, len(BLOCKS) - 1)] - 1)]
            self.levels.append(nn.Sequential(*blocks))
        self.context = nn.Sequential(DenseAtrous(widths[-1]), MultiKernelPooling(widths[-1]))
        below = [*widths[1:-1], widths[-1] + 4]
        self.ups = nn.ModuleList(_up(a, b) for a, b in zip(below, widths, strict=False))
        self.last = nn.Sequential(
            _up(finest, finest),
            nn.ConvTranspose2d(finest, narrow, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(narrow, classes, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(self.first(image), 3, stride=2, padding=1)  # [N, w_0, H / 4, W / 4]
        across: list[Tensor] = []
        for level in self.levels:
            x = level(x)  # [N, w_i, H / 2^(i + 2), W / 2^(i + 2)]
            across.append(x)
        x = self.context(across.pop())
        for up, skip in zip(reversed(self.ups), reversed(across), strict=True):
            x = up(x) + skip
        out: Tensor = self.last(x)
        return out
