"""What every part is made of: a style that makes convolutions, a kit that makes the other parts, and dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError


class DilatedConv(nn.Conv2d):
    """nn.Conv2d that survives training in bfloat16 on a CPU: [N, cin, H, W] -> [N, cout, H, W].

    oneDNN (as of PyTorch 2.14, AVX-512 bf16) reads beyond its buffers, and mostly crashes the process, in the weight
    gradient of a dilated channels_last bfloat16 convolution whose input channels are more than 16 and no multiple of
    16. Zero channels up to a multiple of 16 avoid that and change no number. With groups (depthwise) of any width it
    does so, or silently gives a wrong gradient, on features of more than 32 px: those are computed in the plain
    memory layout, where the gradient is right. Nothing is changed in any other case.
    """

    def forward(self, x: Tensor) -> Tensor:
        if max(self.dilation) == 1 or x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        if x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        if self.groups > 1:  # a clone: [C, 1, k, k] counts as contiguous in either layout
            weight = self.weight.clone(memory_format=torch.contiguous_format)
            return self._conv_forward(x.contiguous(), weight, self.bias)
        missing = -self.in_channels % 16 if self.in_channels > 16 else 0
        if not missing:
            return super().forward(x)
        zeros = (0, 0, 0, 0, 0, missing)
        return self._conv_forward(F.pad(x, zeros), F.pad(self.weight, zeros), self.bias)


@dataclass(frozen=True)
class Style:
    """What all parts of one network share, handed to each of them.

    `norm(channels)` and `activation()` make modules; `depth` is the number of convolution units of a level;
    `bias` is whether a convolution before a normalisation has one (the axis `bias`); `valid` is whether
    convolutions are unpadded (the axis `padding`; true only in what a block is handed).
    """

    norm: Callable[[int], nn.Module]
    activation: Callable[[], nn.Module]
    depth: int
    bias: bool
    valid: bool = False

    def conv(self, cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
        """A convolution to be followed by `norm`: [N, cin, H, W] -> [N, cout, H, W], smaller only where `valid`."""
        if kernel % 2 == 0:
            raise SpecError(f"kernel={kernel} would shift features by half a pixel: give an odd number")
        padding = 0 if self.valid else dilation * (kernel // 2)
        made = DilatedConv if dilation > 1 else nn.Conv2d
        return made(cin, cout, kernel, padding=padding, dilation=dilation, bias=self.bias)

    def unit(self, cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
        """Convolution, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W], smaller only where `valid`."""
        return nn.Sequential(self.conv(cin, cout, kernel, dilation), self.norm(cout), self.activation())


@dataclass(frozen=True)
class Kit:
    """What a topology builds its decoder from: the spec's other axes as functions that make modules.

    widths: of the spec, finest first. channels: what the encoder gives at each level, finest first, 0 where it
    gives nothing; the last are those of the bottom of the U.
    """

    widths: tuple[int, ...]
    channels: tuple[int, ...]
    style: Style
    level: Callable[[int, int], nn.Module]
    """(cin, cout) -> block and attention"""
    attention: Callable[[int], nn.Module]
    up: Callable[[int, int], nn.Module]
    """(cin, cout) -> a module with .channels"""
    skip: Callable[[int, int, int], nn.Module]
    """(cskip, cup, level) -> a module with .channels, forward(skip, up); cskip = 0: nothing comes across"""
    bridge: Callable[[int], nn.Module]
    encoder: Callable[[], nn.Module]
    """() -> another encoder of the network's own levels"""


def channels_of(module: nn.Module) -> int:
    """The channels that a stem, down, up or skip module says it gives."""
    channels = getattr(module, "channels", None)
    if not isinstance(channels, int):
        raise SpecError(f"{type(module).__name__}: a stem, down, up or skip says in .channels how many it gives")
    return channels


def divisor(channels: int, most: int) -> int:
    """The largest divisor of `channels` that is not above `most`: how many groups or heads a width can have."""
    return next(d for d in range(max(1, min(most, channels)), 0, -1) if channels % d == 0)


def centre_crop(x: Tensor, like: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, h, w], the size of `like`, from the middle (Ronneberger et al. 2015, section 2)."""
    top, left = (x.shape[2] - like.shape[2]) // 2, (x.shape[3] - like.shape[3]) // 2
    return x[:, :, top : top + like.shape[2], left : left + like.shape[3]]


class Dropout(nn.Module):
    """Whole channels dropped with probability p, by its network's own generator.

    Networks train on several batch shards in parallel threads; torch's one global generator would make their
    masks depend on which thread comes first. `seed_dropout` gives a replica its generator at each step instead.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator = torch.Generator()

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> the same
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[:2], generator=self.generator) >= self.p  # [N, C], always made on the CPU
        return x * (keep.to(x.device, x.dtype) / (1 - self.p))[:, :, None, None]


def seed_dropout(net: nn.Module, seed: int) -> None:
    """Have all Dropouts of a network draw from this seed on, one after the other: no two masks are the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, Dropout):
            module.generator = generator


class StochasticDepth(Dropout):
    """A residual's branch, left out for a whole image with probability p (Huang et al. 2016, arXiv:1603.09382)."""

    def forward(self, x: Tensor) -> Tensor:  # [N, ...] -> the same
        if not self.training or self.p == 0:
            return x
        return super().forward(x.reshape(len(x), 1, -1, 1)).reshape(x.shape)


def identity(channels: int, style: Style) -> nn.Module:
    """A bridge or an attention that changes nothing."""
    return nn.Identity()


class IdentityStem(nn.Identity):
    """No stem: the first level takes the image itself."""

    def __init__(self, cin: int) -> None:
        super().__init__()
        self.channels = cin


def identity_stem(cin: int, cout: int, style: Style) -> nn.Module:
    return IdentityStem(cin)


def yes() -> bool:
    """A switch (axes `padding` and `bias`) that is on."""
    return True


def no() -> bool:
    return False
