"""What every part is made of: a style that makes convolutions, normalisations and activations, and dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Style:
    """What all parts of one network share, handed to each of them.

    `norm(channels)` and `activation()` make modules; `depth` is the number of convolution units of a level;
    `bias` is whether a convolution before a normalisation has one (only where there is no normalisation).
    """

    norm: Callable[[int], nn.Module]
    activation: Callable[[], nn.Module]
    depth: int
    bias: bool

    def conv(self, cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
        """A same-padded convolution to be followed by `norm`: [N, cin, H, W] -> [N, cout, H, W]."""
        padding = dilation * (kernel // 2)
        return nn.Conv2d(cin, cout, kernel, padding=padding, dilation=dilation, bias=self.bias)

    def unit(self, cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
        """Convolution, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W]."""
        return nn.Sequential(self.conv(cin, cout, kernel, dilation), self.norm(cout), self.activation())


class Dropout(nn.Module):
    """Whole channels dropped with probability p, from a generator of its own.

    Networks train on several batch shards in parallel threads; torch's one global generator would make their
    masks depend on which thread comes first. The training loop seeds `generator` at each step instead.
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


def identity(channels: int, style: Style) -> nn.Module:
    """A part that changes nothing."""
    return nn.Identity()


class IdentityStem(nn.Identity):
    """No stem: the first level takes the image itself."""

    def __init__(self, cin: int) -> None:
        super().__init__()
        self.channels = cin


def identity_stem(cin: int, cout: int, style: Style) -> nn.Module:
    return IdentityStem(cin)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that uses its running statistics where a batch holds a single value a channel.

    That happens at the bottom of the U for a batch of one small image; torch refuses it.
    """

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> the same
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def batch_norm(channels: int) -> nn.Module:
    return BatchNorm(channels)


def no_norm(channels: int) -> nn.Module:
    return nn.Identity()


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)
