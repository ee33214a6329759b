"""UTNet (Gao et al. 2021, arXiv:2107.00781, figures 1 and 2; details from the official code).

A U of pre-activated residual blocks; its coarser levels also attend, to keys and values that are shrunk to a grid of
`reduce` x `reduce` places, whatever the image's size (`reduced_attention`). In the decoder the finer features (queries)
attend to the coarser (keys and values).

`blocks`: attention units in each of the coarsest levels, the last at the bottom; `heads`: heads there. Levels above
have two residual blocks, and so has the decoder beside them. No dropout (the paper: .1).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.networks.reduced_attention import Attention, separable
from ushape.nets.parts.norms import BatchNorm


def activated(cin: int, cout: int, kernel: int) -> nn.Sequential:
    """Norm, rectifier, convolution: [N, cin, H, W] -> [N, cout, H, W]."""
    conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(BatchNorm(cin), nn.ReLU(inplace=True), conv)


def doubled(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W]."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class Residual(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(activated(cin, cout, 3), activated(cout, cout, 3))
        self.shortcut = nn.Identity() if cin == cout else activated(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.residual(x)
        return out


class SelfUnit(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, heads: int, reduce: int) -> None:
        super().__init__()
        self.qkv = nn.Sequential(BatchNorm(channels), separable(channels, 3 * channels))
        self.attention = Attention(channels, heads, reduce)
        self.mlp = activated(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        x = x + self.attention(q, k, v)
        out: Tensor = x + self.mlp(x)
        return out


class PlainUp(nn.Module):
    """below [N, c, H / 2, W / 2], across [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, cbelow: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cbelow, channels, 1)
        self.blocks = nn.Sequential(Residual(2 * channels, channels), Residual(channels, channels))

    def forward(self, below: Tensor, across: Tensor) -> Tensor:
        out: Tensor = self.blocks(torch.cat([across, self.project(doubled(below))], dim=1))
        return out


class AttentiveUp(nn.Module):
    """below [N, c, H / 2, W / 2], across [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, cbelow: int, channels: int, heads: int, reduce: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cbelow, channels, 1)
        self.keys = nn.Sequential(BatchNorm(cbelow), separable(cbelow, 2 * channels))
        self.queries = nn.Sequential(BatchNorm(channels), separable(channels, channels))
        self.attention = Attention(channels, heads, reduce)
        self.mlp = activated(channels, channels, 1)
        self.block = Residual(2 * channels, channels)

    def forward(self, below: Tensor, across: Tensor) -> Tensor:
        k, v = self.keys(below).chunk(2, dim=1)
        x = doubled(self.project(below)) + self.attention(self.queries(across), k, v)
        out: Tensor = self.block(torch.cat([x + self.mlp(x), across], dim=1))
        return out


class UTNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 2^(levels - 1).

    Weights start as torch makes them, as in the code: sums of residuals feed attention with no norm at their end, and
    He's weights, larger by a factor of 2.4, would saturate it.
    """

    own_initialisation = True

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        heads: tuple[int, ...],
        reduce: int,
    ) -> None:
        super().__init__()
        if len(blocks) != len(heads) or len(blocks) >= len(widths):
            raise SpecError(
                f"blocks={'-'.join(map(str, blocks))}, heads={'-'.join(map(str, heads))}: give as many of both, and "
                f"at most {len(widths) - 1} for {len(widths)} levels"
            )
        at_least(1, reduce=reduce)
        self.multiple = 2 ** (len(widths) - 1)
        plain = len(widths) - len(blocks)  # levels that do not attend
        self.levels, self.ups = nn.ModuleList(), nn.ModuleList()
        for i, (cin, cout) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            second: list[nn.Module] = [Residual(cout, cout)]
            if i >= plain:
                second = [SelfUnit(cout, heads[i - plain], reduce) for _ in range(blocks[i - plain])]
            self.levels.append(nn.Sequential(Residual(cin, cout), *second))
        for i, (channels, cbelow) in enumerate(pairwise(widths)):
            attentive = i >= plain
            up = AttentiveUp(cbelow, channels, heads[i + 1 - plain], reduce) if attentive else PlainUp(cbelow, channels)
            self.ups.append(up)
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.levels[0](image)]  # [N, w_i, H / 2^i, W / 2^i]
        for level in self.levels[1:]:
            features.append(level(F.max_pool2d(features[-1], 2)))
        x = features.pop()
        for up in reversed(self.ups):
            x = up(x, features.pop())
        out: Tensor = self.score(x)
        return out
