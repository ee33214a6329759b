"""VM-UNet (Ruan and Xiang 2024, arXiv:2402.02491, section 3 and figure 2; details from the official code).

Patches of 4x4 pixels; levels of selective-scan units, patch merging between them; a decoder of the same units, patch
expanding between them, to which what went into each level of the encoder is added (not into the finest); expanding
by 4 at the end, to a quarter of the width. Widths start at 1/4 of the resolution.

`depths` and `decoder`: units in each level, both finest first; `state`: the state's size, 16 as in VMamba's first
version; `drop`: the largest probability of stochastic depth, .3 in the authors' configuration for skin lesions. The
scan is exact and runs on any device, without a kernel of its own: it needs far more memory than the paper's.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.blocks.selective_scan import SelectiveScanUnit
from ushape.nets.parts.networks.tokens import STYLE, Expand4, check_depths, depth_rates, set_eps, small_weights
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.resampling.patch import PatchExpanding, PatchMerging


def level(channels: int, state: int, drops: list[float]) -> nn.Sequential:
    """A unit for each probability: [N, C, H, W] -> the same shape."""
    return nn.Sequential(*(SelectiveScanUnit(channels, state, 2, p) for p in drops))


class VMUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 4 * 2^(levels - 1)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        decoder: tuple[int, ...],
        state: int,
        drop: float,
    ) -> None:
        super().__init__()
        check_depths("depths", depths, len(widths))
        check_depths("decoder", decoder, len(widths))
        at_least(1, state=state)
        self.multiple = 4 * 2 ** (len(widths) - 1)
        self.embed = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, stride=4), ChannelNorm(widths[0]))
        self.encoder = nn.ModuleList(level(c, state, p) for c, p in zip(widths, depth_rates(depths, drop), strict=True))
        self.downs = nn.ModuleList(PatchMerging(fine, coarse, STYLE) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(
            level(c, state, p[::-1]) for c, p in zip(widths, depth_rates(decoder, drop), strict=True)
        )
        self.ups = nn.ModuleList(PatchExpanding(coarse, fine, STYLE) for fine, coarse in pairwise(widths))
        last = max(2, widths[0] // 4)
        self.last = Expand4(widths[0], last)
        self.score = nn.Conv2d(last, classes, 1)
        set_eps(self, 1e-5)

    def initialise(self) -> None:
        small_weights(*(child for child in self.children() if child is not self.score))

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image)  # [N, w0, H / 4, W / 4]
        across: list[Tensor] = []
        for units, down in zip(self.encoder, self.downs, strict=False):
            across.append(x)
            x = down(units(x))  # [N, w_i, H / (4 2^i), W / (4 2^i)]
        across.append(x)
        x = self.decoder[-1](self.encoder[-1](x))
        for i in reversed(range(len(self.ups))):
            x = self.decoder[i](self.ups[i](x + across[i + 1]))
        out: Tensor = self.score(self.last(x))
        return out
