"""TinyU-Net (Chen et al. 2024, MICCAI, pages 626-635; details from the official code).

Every level is one cascade of multiple receptive fields: a 1x1 unit to few channels, of which the odd ones go through a
chain of seven depthwise convolutions; the even ones (plus the odd) and what each link gives are joined and widened by
a 1x1 unit, with a shortcut where the width stays. Nothing is computed at the bottom: the pooled features of the
coarsest level come back up, by bicubic interpolation.

As in the code a link has no activation, and batch normalisation an epsilon of .001 and a momentum of .03. A width that
16 does not divide gets links of width // 16 channels, at least 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm

LINKS = 7


def unit(cin: int, cout: int) -> nn.Sequential:
    """1x1 convolution, norm, GELU: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), _norm(cout), nn.GELU())


def link(channels: int) -> nn.Sequential:
    """[N, C, H, W] -> the same shape."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(conv, _norm(channels))


def _norm(channels: int) -> nn.Module:
    return BatchNorm(channels, eps=1e-3, momentum=0.03)


class Cascade(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W] (the paper's CMRF)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        narrow = max(1, cout // (2 * (LINKS + 1)))
        self.residual = cin == cout
        self.narrow = unit(cin, 2 * narrow)
        self.chain = nn.ModuleList(link(narrow) for _ in range(LINKS))
        self.widen = unit((LINKS + 1) * narrow, cout)

    def forward(self, x: Tensor) -> Tensor:
        few = self.narrow(x)
        even, latest = few[:, 0::2], few[:, 1::2]  # [N, narrow, H, W] each
        parts = [even + latest]
        for each in self.chain:
            latest = each(latest)
            parts.append(latest)
        out: Tensor = self.widen(torch.cat(parts, dim=1))
        return x + out if self.residual else out


class TinyUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.down = nn.ModuleList(map(Cascade, (in_channels, *widths), widths))
        below = (*widths[1:], widths[-1])  # what comes up to each level
        self.up = nn.ModuleList(Cascade(low + width, width) for low, width in zip(below, widths, strict=True))
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for stage in self.down:
            skips.append(stage(x))  # [N, c_i, H / 2^i, W / 2^i]
            x = F.max_pool2d(skips[-1], 2)
        for stage, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bicubic")
            x = stage(torch.cat([x, skip], dim=1))
        out: Tensor = self.score(x)
        return out
