"""MISSFormer (Huang et al. 2021, arXiv:2109.07162, section 3; details from the official code).

A U of transformer blocks: attention whose keys and values are shrunk by a strided convolution, then an MLP with a
depthwise 3x3 convolution, a shortcut around that, and a norm. Overlapping patches make levels of 1/4, 1/8, 1/16, 1/32
of the resolution. The bridge lays all levels into one sequence of tokens as wide as the finest level (a pixel of the
coarser levels gives several) and lets all attend to all. The decoder joins what the bridge gives by linear maps and
expands patches. Widths beyond the first are rounded to its multiples, which the bridge needs.

`layers`: blocks in a level; `bridges`: layers of the bridge; `head`: channels of a head. The official code also holds
weights that nothing ever reaches: two norms in each MLP, and at the bottom a decoder level of which only the patch
expanding is called. They are not here.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.networks.mix_transformer import Attention, Block, MixMLP, tokens
from ushape.nets.parts.networks.tokens import STYLE, Expand4
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.resampling.patch import PatchExpanding


class Bridge(nn.Module):
    """Features of all levels, finest first, [N, m_i c, H / 2^i, W / 2^i] -> the same shapes."""

    def __init__(self, channels: int, multiples: tuple[int, ...], head: int) -> None:
        super().__init__()
        self.channels = channels
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.attention = Attention(channels, head)
        shrinks = [2 ** (len(multiples) - 1 - i) for i in range(len(multiples) - 1)]
        self.shrink = nn.ModuleList(
            nn.Conv2d(m * channels, m * channels, s, stride=s) for m, s in zip(multiples, shrinks, strict=False)
        )
        self.mlps = nn.ModuleList(MixMLP(m * channels) for m in multiples)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        sizes = [x.shape[1] // self.channels * x.shape[2] * x.shape[3] for x in features]
        x = torch.cat([tokens(f).reshape(len(f), -1, self.channels) for f in features], dim=1)  # [N, T, c]
        normed = self.norms[0](x)
        *fine, coarse = self._maps(normed, sizes, features)
        # as in the code, a shrunk map's channels are cut apart the other way round than a map's pixels
        shrunk = [
            s(f).reshape(len(f), self.channels, -1).transpose(1, 2) for s, f in zip(self.shrink, fine, strict=True)
        ]
        others = torch.cat([*shrunk, tokens(coarse).reshape(len(coarse), -1, self.channels)], dim=1)  # [N, S, c]
        x = x + self.attention(normed, self.norms[1](others))
        before = self._maps(x, sizes, features)
        after = self._maps(self.norms[2](x), sizes, features)
        return [b + mlp(a) for a, b, mlp in zip(after, before, self.mlps, strict=True)]

    def _maps(self, x: Tensor, sizes: list[int], like: list[Tensor]) -> list[Tensor]:
        """[N, T, c] -> maps of the shapes of `like`."""
        parts = torch.split(x, sizes, dim=1)
        return [
            part.reshape(len(f), -1, f.shape[1]).transpose(1, 2).reshape(f.shape)
            for part, f in zip(parts, like, strict=True)
        ]


class MISSFormer(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 4 * 2^(levels - 1)."""

    def __init__(
        self, in_channels: int, classes: int, widths: tuple[int, ...], layers: int, bridges: int, head: int
    ) -> None:
        super().__init__()
        at_least(1, layers=layers, bridges=bridges, head=head)
        self.multiple = 4 * 2 ** (len(widths) - 1)
        multiples = tuple(max(1, round(w / widths[0])) for w in widths)
        widths = tuple(m * widths[0] for m in multiples)
        shrinks = [2 ** (len(widths) - 1 - i) for i in range(len(widths))]
        self.encoder = nn.ModuleList()
        for i, (cin, cout) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            embed = nn.Conv2d(cin, cout, 3, 2, 1) if i else nn.Conv2d(cin, cout, 7, 4, 3)
            blocks = (Block(cout, head, shrinks[i]) for _ in range(layers))
            self.encoder.append(nn.Sequential(embed, ChannelNorm(cout), *blocks, ChannelNorm(cout)))
        self.bridge = nn.ModuleList(Bridge(widths[0], multiples, head) for _ in range(bridges))
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for i, (fine, coarse) in enumerate(pairwise(widths)):
            half = max(2, coarse // 2)
            self.ups.append(PatchExpanding(coarse, half, STYLE))
            join = nn.Conv2d(half + fine, fine, 1)
            self.decoder.append(nn.Sequential(join, *(Block(fine, head, shrinks[i]) for _ in range(2))))
        self.last = Expand4(widths[0], widths[0])
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features: list[Tensor] = []
        for level in self.encoder:
            features.append(level(features[-1] if features else image))  # [N, w_i, H / (4 2^i), W / (4 2^i)]
        for bridge in self.bridge:
            features = bridge(features)
        x = features.pop()
        for up, level in zip(reversed(self.ups), reversed(self.decoder), strict=True):
            x = level(torch.cat([up(x), features.pop()], dim=1))
        out: Tensor = self.score(self.last(x))
        return out
