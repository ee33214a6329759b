"""What networks of tokens share: rates of stochastic depth, expanding by 4, initial weights."""

from __future__ import annotations

from torch import nn

from ushape.errors import SpecError
from ushape.nets.parts.norms import ChannelNorm, no_norm
from ushape.nets.parts.plain import Style

STYLE = Style(no_norm, nn.GELU, 1, True)
"""For parts that ask for a style and use nothing of it: patch merging and expanding."""


class Expand4(nn.Sequential):
    """A linear map to the 4x4 pixels of each pixel, normalised: [N, cin, H, W] -> [N, cout, 4H, 4W]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(nn.Conv2d(cin, 16 * cout, 1, bias=False), nn.PixelShuffle(4), ChannelNorm(cout))


def depth_rates(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Probabilities of stochastic depth, from 0 to `last` in equal steps over all layers, for each level."""
    if not 0 <= last < 1:
        raise SpecError(f"drop={last:g}: give a probability from 0 up to, not including, 1")
    steps = max(1, sum(depths) - 1)
    rates = iter([last * i / steps for i in range(sum(depths))])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def check_depths(name: str, depths: tuple[int, ...], levels: int) -> None:
    """SpecError where there is not one number of layers for each level."""
    if len(depths) != levels:
        raise SpecError(f"{name}={'-'.join(map(str, depths))}: give one number for each of the {levels} widths")


def set_eps(module: nn.Module, eps: float) -> None:
    """What the layer norms in `module` add to the variance."""
    for each in module.modules():
        if isinstance(each, nn.LayerNorm):
            each.eps = eps


def small_weights(*modules: nn.Module) -> None:
    """Weights of linear layers and of 1x1 convolutions: normal with deviation .02, cut at 2; biases zero."""
    for each in (m for module in modules for m in module.modules()):
        if isinstance(each, nn.Linear) or (isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)):
            nn.init.trunc_normal_(each.weight, std=0.02)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
