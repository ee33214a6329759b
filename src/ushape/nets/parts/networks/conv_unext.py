"""ConvUNeXt (Han et al. 2022, doi 10.1016/j.knosys.2022.109512; details from the authors' code).

A narrow U of ConvNeXt blocks with batch norms: one a level, three in the one before the last. Skips are gated: a
linear map of the decoder's features gives three gates g1, g2, g3, and
    s' = sigmoid(W1 (g1 + s)) * s + sigmoid(g2) * tanh(g3)
passes on from the encoder's features s, through a linear map. 7x7 convolutions repeat the image as in a mirror at its
border; maps too small for that (3 pixels or fewer) are extended by their last pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.norms import BatchNorm


class Mirrored(DepthwiseConv):
    """A 7x7 convolution with mirrored borders: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, groups: int = 1) -> None:
        super().__init__(cin, cout, 7, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        mode = "reflect" if min(x.shape[2:]) > 3 else "replicate"
        return super().forward(F.pad(x, (3, 3, 3, 3), mode=mode))


class Block(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            Mirrored(channels, channels, groups=channels),
            BatchNorm(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
            BatchNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.residual(x))


class Gated(nn.Module):
    """A decoder level: below [N, c, H / 2, W / 2], across [N, c, H, W] -> [N, cout, H, W]."""

    def __init__(self, channels: int, cout: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.gates = nn.Conv2d(channels, 3 * channels, 1)
        self.mix, self.out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.join = nn.Sequential(nn.Conv2d(2 * channels, cout, 1), Block(cout))

    def forward(self, below: Tensor, across: Tensor) -> Tensor:
        up = F.interpolate(self.norm(below), scale_factor=2.0, mode="bilinear", align_corners=True)
        keep, new, value = self.gates(up).chunk(3, dim=1)  # each [N, c, H, W]
        across = self.mix(keep + across).sigmoid() * across + new.sigmoid() * value.tanh()
        out: Tensor = self.join(torch.cat([self.out(across), up], dim=1))
        return out


class ConvUNeXt(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 2^levels.

    widths: of the levels that pass something across; the bottom is as wide as the last of them.
    """

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise SpecError(f"conv-unext has two levels or more above its bottom: {len(widths)}, give 2 widths")
        self.multiple = 2 ** len(widths)
        first, last = widths[0], len(widths) - 1
        self.first = nn.Sequential(Mirrored(in_channels, first), BatchNorm(first), nn.GELU(), Block(first))
        coarser = (*widths[1:], widths[-1])
        self.downs = nn.ModuleList(
            nn.Sequential(
                BatchNorm(a), nn.Conv2d(a, b, 2, stride=2), *(Block(b) for _ in range(3 if i == last - 1 else 1))
            )
            for i, (a, b) in enumerate(zip(widths, coarser, strict=True))
        )
        outs = (first, *widths[:-1])
        self.decoder = nn.ModuleList(Gated(c, out) for c, out in zip(widths, outs, strict=True))
        self.score = nn.Conv2d(first, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        across: list[Tensor] = []
        for down in self.downs:
            across.append(x)  # [N, w_i, H / 2^i, W / 2^i]
            x = down(x)
        for level in reversed(self.decoder):
            x = level(x, across.pop())
        out: Tensor = self.score(x)
        return out
