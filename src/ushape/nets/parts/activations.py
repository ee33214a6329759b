"""Activations. None has a state but PReLU, which has one slope a layer."""

from __future__ import annotations

from torch import nn

from ushape.errors import SpecError


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def leaky(slope: float) -> nn.Module:
    """Maas et al. 2013; its default slope of 0.01 is also nnU-Net's. SpecError where it is negative."""
    if slope < 0:
        raise SpecError(f"slope={slope:g}: give 0 or more")
    return nn.LeakyReLU(slope, inplace=True)


def prelu() -> nn.Module:
    """He et al. 2015, arXiv:1502.01852, equation 1, in its channel-shared form; the slope starts at 0.25."""
    return nn.PReLU()


def gelu() -> nn.Module:
    """Hendrycks and Gimpel 2016, arXiv:1606.08415."""
    return nn.GELU()


def silu() -> nn.Module:
    """Elfwing et al. 2018, arXiv:1702.03118; Swish with beta = 1."""
    return nn.SiLU()
