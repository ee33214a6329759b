"""Transformer layers at the bottom of the U (TransUNet, Chen et al. 2021, arXiv:2102.04306, equations 2-3).

Each pixel at the bottom is a token; layers are those of ViT: multi-head attention and an MLP, each behind a layer
norm and with a residual. The paper has 12 layers of 768 channels, pretrained; ours have the level's width, 4 layers
and no dropout. A depthwise 3x3 convolution (Chu et al. 2021, arXiv:2102.10882) tells positions in place of the paper's
learned table, so that any image size works. `heads` is lowered until it divides the width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style, divisor


class TransformerLayer(nn.Module):
    """Tokens [N, T, C] -> the same shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = divisor(channels, heads)
        self.norm, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).reshape(*x.shape[:2], 3, self.heads, -1)  # [N, T, 3, heads, c]
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, T, c]
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class Transformer(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, layers: int, heads: int) -> None:
        super().__init__()
        at_least(1, layers=layers, heads=heads)
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.layers = nn.Sequential(*(TransformerLayer(channels, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x + self.position(x)).flatten(2).transpose(1, 2)  # [N, H W, C]
        out: Tensor = self.norm(self.layers(tokens)).transpose(1, 2).reshape(x.shape)
        return out
