"""Swin-Unet (Cao et al. 2021, arXiv:2105.05537, section 3 and figure 1; details from the official code).

Patches of 4x4 pixels; levels of Swin units, patch merging between them; a decoder of the same units, which begins
with patch expanding, joins what went into the encoder's level by a linear map, and ends with expanding by 4. Widths
start at 1/4 of the resolution. Windows of 7 tile sizes that 224 divides; other maps are padded, and padding is masked.

`depths`: units in each level, the decoder's above the bottom alike; the bottom has no decoder of its own. `drop` is the
largest probability of stochastic depth, .2 in the authors' configuration.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.blocks.swin import SwinUnit
from ushape.nets.parts.networks.tokens import STYLE, Expand4, check_depths, depth_rates, small_weights
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.resampling.patch import PatchExpanding, PatchMerging


class SwinLevel(nn.Module):
    """A unit for each probability, every second one shifted: [N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, window: int, head: int, drops: list[float]) -> None:
        super().__init__()
        self.units = nn.Sequential(*(SwinUnit(channels, window, head, i % 2 == 1, p) for i, p in enumerate(drops)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.units(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class SwinUnet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 4 * 2^(levels - 1)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        window: int,
        head: int,
        drop: float,
    ) -> None:
        super().__init__()
        check_depths("depths", depths, len(widths))
        at_least(1, window=window, head=head)
        self.multiple = 4 * 2 ** (len(widths) - 1)
        rates = depth_rates(depths, drop)
        self.embed = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, stride=4), ChannelNorm(widths[0]))
        levels = list(zip(widths, rates, strict=True))
        self.encoder = nn.ModuleList(SwinLevel(c, window, head, p) for c, p in levels)
        self.downs = nn.ModuleList(PatchMerging(fine, coarse, STYLE) for fine, coarse in pairwise(widths))
        self.norm = ChannelNorm(widths[-1])
        self.ups = nn.ModuleList(PatchExpanding(coarse, fine, STYLE) for fine, coarse in pairwise(widths))
        self.joins = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in widths[:-1])
        self.decoder = nn.ModuleList(SwinLevel(c, window, head, p) for c, p in levels[:-1])
        self.last = nn.Sequential(ChannelNorm(widths[0]), Expand4(widths[0], widths[0]))
        self.score = nn.Conv2d(widths[0], classes, 1, bias=False)

    def initialise(self) -> None:
        small_weights(*(child for child in self.children() if child is not self.score))

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image)  # [N, w0, H / 4, W / 4]
        across: list[Tensor] = []
        for level, down in zip(self.encoder, self.downs, strict=False):
            across.append(x)
            x = down(level(x))  # [N, w_i, H / (4 2^i), W / (4 2^i)]
        x = self.norm(self.encoder[-1](x))
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](self.joins[i](torch.cat([self.ups[i](x), across[i]], dim=1)))
        out: Tensor = self.score(self.last(x))
        return out
