"""UCTransNet's skips (Wang et al. 2022, arXiv:2109.04335): a channel-wise transformer over all levels, then gates.

ChannelFusion (section 3.1, equations 1-5): each level is cut into patches, one for each pixel at the bottom of the U;
the channels of each level (queries) attend to the channels of all levels together (keys, values); the result is
enlarged and added to what went in. ChannelGate (section 3.2, equations 6-7): global means of encoder and decoder
features say which of the channels pass. Each head is as wide as the input and heads are averaged, as in the paper's
code. `grid` is the side of a learned table of positions, as many as the bottom of the U has in training (14 for images
of 224², as in the paper), resampled where it has more or fewer; 0, the default: none. No dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style
from ushape.nets.parts.positions import Positions


class _Layer(nn.Module):
    """Channel attention and an MLP: tokens [N, T, c_i] of each level -> the same."""

    def __init__(self, channels: tuple[int, ...], heads: int) -> None:
        super().__init__()
        total, self.heads = sum(channels), heads
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in channels)
        self.norm_all = nn.LayerNorm(total)
        self.queries = nn.ModuleList(nn.Linear(c, heads * c, bias=False) for c in channels)
        self.keys = nn.Linear(total, heads * total, bias=False)
        self.values = nn.Linear(total, heads * total, bias=False)
        self.outs = nn.ModuleList(nn.Linear(c, c, bias=False) for c in channels)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c)) for c in channels
        )

    def forward(self, tokens: list[Tensor]) -> list[Tensor]:
        everything = self.norm_all(torch.cat(tokens, dim=2))  # [N, T, S], S = sum of c_i
        keys = self._by_head(self.keys(everything))  # [N, heads, S, T]
        values = self._by_head(self.values(everything))  # [N, heads, S, T]
        result = []
        for x, norm, query, out, mlp in zip(tokens, self.norms, self.queries, self.outs, self.mlps, strict=True):
            q = self._by_head(query(norm(x)))  # [N, heads, c, T]
            similar = q @ keys.transpose(2, 3) / keys.shape[2] ** 0.5  # [N, heads, c, S]
            n, heads, c, s = similar.shape
            similar = F.layer_norm(similar.reshape(n, heads, c * s), (c * s,))  # instance norm of each matrix
            mixed = similar.reshape(n, heads, c, s).softmax(dim=3) @ values  # [N, heads, c, T]
            x = x + out(mixed.mean(1).transpose(1, 2))  # [N, T, c]
            result.append(x + mlp(x))
        return result

    def _by_head(self, x: Tensor) -> Tensor:
        """[N, T, heads * c] -> [N, heads, c, T]."""
        return x.reshape(*x.shape[:2], self.heads, -1).permute(0, 2, 3, 1)


class ChannelFusion(nn.Module):
    """Encoder features of all levels, finest first, [N, c_i, H / 2^i, W / 2^i] -> the same shapes."""

    def __init__(self, channels: tuple[int, ...], style: Style, layers: int, heads: int, grid: int = 0) -> None:
        super().__init__()
        at_least(1, layers=layers, heads=heads)
        self.patches = [2 ** (len(channels) - i) for i in range(len(channels))]
        self.cut = nn.ModuleList(nn.Conv2d(c, c, p, stride=p) for c, p in zip(channels, self.patches, strict=True))
        self.positions = nn.ModuleList(Positions(c, grid) if grid else nn.Identity() for c in channels)
        self.layers = nn.ModuleList(_Layer(channels, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in channels)
        self.restore = nn.ModuleList(style.unit(c, c, kernel=1) for c in channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        maps = [cut(x) for cut, x in zip(self.cut, features, strict=True)]  # [N, c_i, h, w], h x w of the bottom
        maps = [add(x) for add, x in zip(self.positions, maps, strict=True)]
        tokens = [x.flatten(2).transpose(1, 2) for x in maps]  # [N, h w, c_i]
        for layer in self.layers:
            tokens = layer(tokens)
        out = []
        for i, x in enumerate(features):
            fused = self.norms[i](tokens[i]).transpose(1, 2).reshape(maps[i].shape)  # [N, c_i, h, w]
            out.append(x + self.restore[i](F.interpolate(fused, scale_factor=float(self.patches[i]), mode="nearest")))
        return out


class ChannelGate(nn.Module):
    """skip [N, cs, H, W], up [N, cu, H, W] -> [N, cs + cu, H, W]."""

    across = ChannelFusion

    def __init__(self, cskip: int, cup: int, style: Style, level: int, layers: int, heads: int, grid: int = 0) -> None:
        super().__init__()
        self.of_skip, self.of_up = nn.Linear(cskip, cskip), nn.Linear(cup, cskip)
        self.activation = style.activation()
        self.channels = cskip + cup

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        weight = ((self.of_skip(skip.mean((2, 3))) + self.of_up(up.mean((2, 3)))) / 2).sigmoid()  # [N, cs]
        return torch.cat([self.activation(skip * weight[:, :, None, None]), up], dim=1)
