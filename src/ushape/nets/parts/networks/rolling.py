"""Rolling-UNet (Liu et al. 2024, AAAI; details from the official code).

Three levels of convolutions, two of Lo2 blocks (long and local): channel c of the features is rolled round by c pixels
along one axis, mixed by a linear layer, rolled along the other and mixed again, so that each output pixel sees a
diagonal of its input; a second pair of layers does so along the other diagonal. What both give is fused, and joined to
a depthwise separable convolution. The decoder adds its skips.

S, M and L of the paper are widths that double from 16, 32 and 64, with `drop` of .1, .2 and .3: the probability of
dropout behind each linear layer of the bottom, here of whole channels, there of single values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import depthwise
from ushape.nets.parts.norms import BatchNorm, ChannelNorm
from ushape.nets.parts.plain import Dropout


def rolled(x: Tensor, axis: int, sign: int = 1) -> Tensor:
    """Channel c moved by sign * c pixels along `axis` (2: height, 3: width); what leaves comes in on the other side.

    [N, C, H, W] -> the same shape.
    """
    size = x.shape[axis]
    steps = torch.arange(x.shape[1], device=x.device)[:, None]
    source = (torch.arange(size, device=x.device) - sign * steps) % size  # [C, size]
    index = source[None, :, :, None] if axis == 2 else source[None, :, None, :]
    return x.gather(axis, index.expand(x.shape))


class DiagonalMLP(nn.Module):
    """[N, C, H, W] -> the same shape: rolled and mixed along one axis, then along the other."""

    def __init__(self, channels: int, first: tuple[int, int], second: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.first, self.second = first, second  # (axis, sign)
        self.before = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU(), Dropout(dropout))
        self.after = nn.Sequential(nn.Conv2d(channels, channels, 1), Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.after(rolled(self.before(rolled(x, *self.first)), *self.second))
        return out


class LongLocal(nn.Module):
    """[N, C, H, W] -> the same shape, normalised."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.one = DiagonalMLP(channels, (2, 1), (3, 1), dropout)
        self.other = DiagonalMLP(channels, (3, -1), (2, 1), dropout)
        self.fuse = nn.Sequential(ChannelNorm(2 * channels), nn.Conv2d(2 * channels, channels, 1), Dropout(dropout))
        self.local = nn.Sequential(
            depthwise(channels, 3), nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True), BatchNorm(channels)
        )
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), Dropout(dropout))
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.one(x) + x, self.other(x) + x], dim=1)  # [N, 2C, H, W]
        long = self.fuse(both) + x
        out: Tensor = self.norm(self.join(torch.cat([long, self.local(x)], dim=1)))
        return out


def embed(cin: int, cout: int) -> nn.Sequential:
    """3x3 convolution, GELU, norm of each pixel: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.GELU(), ChannelNorm(cout))


def convolutions(cin: int, inner: int, cout: int) -> nn.Sequential:
    """Two 3x3 units: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(*_unit(cin, inner), *_unit(inner, cout))


def _unit(cin: int, cout: int) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, 3, padding=1), BatchNorm(cout), nn.ReLU(inplace=True)]


def doubled(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W]."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")


class RollingUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], drop: float) -> None:
        super().__init__()
        if len(widths) < 3:
            raise SpecError(
                f"rolling-unet has two levels of its blocks and others above: give 3 widths, not {len(widths)}"
            )
        if not 0 <= drop < 1:
            raise SpecError(f"drop={drop:g}: give a probability from 0 to below 1, as 0.2")
        *fine, coarse, bottom = widths
        self.multiple = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(convolutions(a, b, b) for a, b in zip((in_channels, *fine), fine, strict=False))
        self.coarse = nn.Sequential(embed(fine[-1], coarse), LongLocal(coarse, 0.0))
        self.bottom = nn.Sequential(embed(coarse, bottom), LongLocal(bottom, drop), embed(bottom, coarse))
        self.back = nn.Sequential(LongLocal(coarse, 0.0), *_unit(coarse, fine[-1]))
        last = max(1, fine[0] // 2)
        self.up = nn.ModuleList(convolutions(a, a, b) for a, b in zip(fine, (last, *fine), strict=False))
        self.score = nn.Conv2d(last, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for stage in self.down:
            skips.append(stage(x))  # [N, c_i, H / 2^i, W / 2^i]
            x = F.max_pool2d(skips[-1], 2)
        coarse = self.coarse(x)
        x = self.back(doubled(self.bottom(F.max_pool2d(coarse, 2))) + coarse)
        for stage, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = stage(doubled(x) + skip)
        out: Tensor = self.score(x)
        return out
