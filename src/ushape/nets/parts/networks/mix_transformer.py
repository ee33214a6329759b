"""Transformer blocks of MISSFormer (Huang et al. 2021, arXiv:2109.07162, section 3.2), after SegFormer's (2105.15203).

Attention whose keys and values come from a strided convolution of the map; an MLP with a depthwise 3x3 convolution in
its middle, a shortcut around that, and a norm behind it (SegFormer's has neither).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import depthwise
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.plain import divisor


class Attention(nn.Module):
    """Tokens [N, T, C] attend to tokens [N, S, C] -> [N, T, C]."""

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.heads = divisor(channels, max(1, channels // head))
        self.q, self.kv = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        q = self.q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [N, heads, T, c]
        k, v = self.kv(others).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [N, heads, S, c]
        out: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class MixMLP(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.widen, self.mix = nn.Conv2d(channels, inner, 1), depthwise(inner, 3)
        self.narrow = nn.Sequential(ChannelNorm(inner), nn.GELU(), nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x)
        out: Tensor = self.narrow(x + self.mix(x))
        return out


class Block(nn.Module):
    """[N, C, H, W] -> the same shape; keys and values lie on a grid `shrink` times coarser."""

    def __init__(self, channels: int, head: int, shrink: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ChannelNorm(channels), ChannelNorm(channels)])
        self.attention = Attention(channels, head)
        self.shrink = (
            nn.Sequential(nn.Conv2d(channels, channels, shrink, stride=shrink), ChannelNorm(channels))
            if shrink > 1
            else nn.Identity()
        )
        self.mlp = MixMLP(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norms[0](x)
        mixed = self.attention(tokens(normed), tokens(self.shrink(normed)))  # [N, H W, C]
        x = x + mixed.transpose(1, 2).reshape(x.shape)
        out: Tensor = x + self.mlp(self.norms[1](x))
        return out


def tokens(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H W, C]."""
    return x.flatten(2).transpose(1, 2)
