"""Dilated 3x3 convolutions that survive training in bfloat16 on a CPU.

oneDNN (as of PyTorch 2.14, AVX-512 bf16) reads beyond its buffers, and mostly crashes the process, in the weight
gradient of a dilated channels_last bfloat16 convolution whose input channels are more than 16 and no multiple of 16.
Zero channels up to a multiple of 16 avoid that and change no number. Nothing is padded in any other case.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.plain import Style


class DilatedConv(nn.Conv2d):
    """nn.Conv2d, with its parameters and results: [N, cin, H, W] -> [N, cout, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        missing = -self.in_channels % 16 if self.in_channels > 16 else 0
        narrow = x.dtype == torch.bfloat16 or torch.is_autocast_enabled(x.device.type)
        if not (missing and narrow and max(self.dilation) > 1 and x.device.type == "cpu" and torch.is_grad_enabled()):
            return super().forward(x)
        zeros = (0, 0, 0, 0, 0, missing)
        return self._conv_forward(F.pad(x, zeros), F.pad(self.weight, zeros), self.bias)


def dilated_conv(style: Style, cin: int, cout: int, dilation: int) -> DilatedConv:
    """A same-padded 3x3 convolution to be followed by `style.norm`."""
    return DilatedConv(cin, cout, 3, padding=dilation, dilation=dilation, bias=style.bias)


def dilated_unit(style: Style, cin: int, cout: int, dilation: int) -> nn.Sequential:
    """Dilated convolution, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(dilated_conv(style, cin, cout, dilation), style.norm(cout), style.activation())
