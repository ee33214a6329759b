"""Dilated 3x3 convolutions, as several blocks use them."""

from __future__ import annotations

from torch import nn

from ushape.nets.parts.plain import DilatedConv, Style


def dilated_conv(style: Style, cin: int, cout: int, dilation: int) -> DilatedConv:
    """A same-padded 3x3 convolution to be followed by `style.norm`."""
    return DilatedConv(cin, cout, 3, padding=dilation, dilation=dilation, bias=style.bias)


def dilated_unit(style: Style, cin: int, cout: int, dilation: int) -> nn.Sequential:
    """Dilated convolution, normalisation, activation: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(dilated_conv(style, cin, cout, dilation), style.norm(cout), style.activation())
