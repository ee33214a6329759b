"""The contracting half of the U from the spec's own stem, blocks and down-sampling (Ronneberger et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from ushape.nets.parts.plain import Dropout, channels_of

Make = Callable[[int, int], nn.Module]
"""(cin, cout) -> a module."""
Level = Callable[[int, int, int], nn.Module]
"""(cin, cout, units of the level that its down-sampling has computed: `.units`, if it says so) -> a module."""


class OwnEncoder(nn.Module):
    """image [N, cin, H, W] -> features, finest first: [N, w_i, H / 2^i, W / 2^i].

    Dropout stands at the end of each of the two coarsest levels.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], stem: Make, down: Make, level: Level, dropout: float
    ) -> None:
        super().__init__()
        self.stem = stem(in_channels, widths[0])
        self.levels = nn.ModuleList([level(channels_of(self.stem), widths[0], 0)])
        self.downs = nn.ModuleList()
        for fine, coarse in pairwise(widths):
            self.downs.append(down(fine, coarse))
            self.levels.append(level(channels_of(self.downs[-1]), coarse, getattr(self.downs[-1], "units", 0)))
        self.dropout = Dropout(dropout)
        self.channels = widths

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        features: list[Tensor] = []
        for i, level in enumerate(self.levels):
            x = level(x if i == 0 else self.downs[i - 1](x))
            if i >= len(self.levels) - 2:
                x = self.dropout(x)
            features.append(x)
        return features
