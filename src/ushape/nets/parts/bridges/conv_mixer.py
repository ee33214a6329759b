"""ConvMixer at the bottom, as in CMU-Net (Tang et al. 2022, arXiv:2210.13012; details from the official code).

`layers` times: a large depthwise convolution with a shortcut, then a 1x1 convolution, each followed by GELU and
normalisation (Trockman and Kolter 2022, arXiv:2201.09792). GELU is the paper's: the axis activation does not reach
inside.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least, depthwise, odd_kernel
from ushape.nets.parts.plain import Style


class MixerLayer(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, kernel: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(depthwise(channels, kernel), nn.GELU(), style.norm(channels))
        self.mix = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU(), style.norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mix(x + self.spatial(x))
        return out


class ConvMixer(nn.Sequential):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, layers: int, kernel: int) -> None:
        at_least(1, layers=layers)
        odd_kernel(kernel)
        super().__init__(*(MixerLayer(channels, style, kernel) for _ in range(layers)))
