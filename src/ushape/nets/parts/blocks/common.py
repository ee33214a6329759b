"""What several blocks share: shortcuts, fair shares of channels, checks of parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ushape.errors import SpecError
from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.plain import Style


def project(cin: int, cout: int) -> nn.Module:
    """[N, cin, H, W] -> [N, cout, H, W]: nothing where the width stays, else a 1x1 convolution with a bias."""
    return nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)


def shortcut(cin: int, cout: int, style: Style) -> nn.Module:
    """A residual's shortcut: the identity where the width stays, else a normalised 1x1 convolution."""
    return nn.Identity() if cin == cout else nn.Sequential(style.conv(cin, cout, kernel=1), style.norm(cout))


def depthwise(channels: int, kernel: int, bias: bool = True) -> nn.Conv2d:
    """One filter a channel: [N, C, H, W] -> the same shape."""
    return DepthwiseConv(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)


def fresh(activation: nn.Module) -> nn.Module:
    """The activation made to write a new tensor: needed where its input is used again."""
    for module in activation.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  (mypy: modules have no such field)
    return activation


def recompute(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), whose inner tensors are computed again in the backward pass rather than kept; never random."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    out: Tensor = checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
    return out


def shares(channels: int, parts: int) -> list[int]:
    """`channels` cut into at most `parts` whole numbers, as equal as can be, none of them 0: 8 in 3 -> [3, 3, 2]."""
    share, left = divmod(channels, parts)
    return [share + (i < left) for i in range(parts) if share + (i < left)]


def at_least(least: int, **given: int) -> None:
    """SpecError where one of the given parameters is less than `least`."""
    for name, value in given.items():
        if value < least:
            raise SpecError(f"{name}={value}: give {least} or more")


def odd_kernel(kernel: int) -> None:
    """SpecError where a kernel is even: it would change the size of the features."""
    if kernel < 1 or kernel % 2 == 0:
        raise SpecError(f"kernel={kernel}: give an odd number, as 3, 5 or 7")


def check_dilations(dilations: tuple[int, ...]) -> None:
    """SpecError where a dilation is less than 1, or there is none."""
    if not dilations or min(dilations) < 1:
        raise SpecError(f"dilations={'-'.join(map(str, dilations))}: give numbers of 1 or more, as 1-2-4")
