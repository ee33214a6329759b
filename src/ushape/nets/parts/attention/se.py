"""Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507, equations 2-4).

Channels are scaled by sigmoid(W2 relu(W1 mean(x))). The paper puts it inside a residual branch; on our axis
`attention` it follows each block, whatever the block is. W1 keeps at least 4 channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class SqueezeExcitation(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, reduction: int) -> None:
        super().__init__()
        at_least(1, reduction=reduction)
        inner = max(4, channels // reduction)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.scale(x)  # [N, C, H, W] * [N, C, 1, 1]
        return out
