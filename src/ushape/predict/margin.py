"""How much of a tile's edge must be thrown away, so that what is left is what the whole image would have given."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ushape.data.phantom import phantom_roi
from ushape.nets.reach import reach
from ushape.nets.unet import Network
from ushape.nets.weights import as_input

NEAR = 128
"""A reach up to so many px is taken as it is; what measuring could spare would be little."""

FELT = 1e-5
"""A change of a probability that counts when measured: a tenth of what a prediction may differ by."""

TILE, BEYOND = 512, 128
"""Sides in px of the tile that is measured, and of what lies around it in the whole image."""


def effective_margin(net: Network) -> int | None:
    """Margin in px at which what lies beyond a tile's edge changes no probability by more than 1e-4.

    A multiple of `net.multiple`; corners of tiles must be such multiples as well. At most `reach`, beyond which nothing
    changes at all; where that is large, the effect of the edge is measured on invented tissue, since that of distant
    pixels fades long before. None where there is no such margin: networks with global context.
    """
    exact = reach(net.spec)
    if exact is None or exact <= NEAR or net.in_channels != 3:
        return exact
    measured = _measured(net)
    return exact if measured is None else min(exact, measured)


@torch.inference_mode()
def _measured(net: Network) -> int | None:
    """The margin at which probabilities of a tile are those of the whole image; None if none in the tile is."""
    unit = net.multiple
    beyond, side = (-(-length // unit) * unit for length in (BEYOND, TILE))
    light = as_input(torch.from_numpy(_tissue(side + 2 * beyond))[None].float() / 255)
    device = next(net.parameters()).device
    inner = (..., slice(beyond, -beyond), slice(beyond, -beyond))
    whole = _probabilities(net, light.to(device))[inner]
    tile = _probabilities(net, light[inner].contiguous().to(device))
    change = (whole - tile).abs().amax((0, 1)).cpu()  # [side, side]
    depth = torch.minimum(torch.arange(side), torch.arange(side).flip(0))
    felt = torch.minimum(depth[:, None], depth[None])[change > FELT]  # distances from the edge, in px
    margin = (int(felt.max()) // unit + 1) * unit if len(felt) else 0
    return margin if margin < side // 2 - unit else None


def _probabilities(net: Network, image: Tensor) -> Tensor:
    scores = net.eval()(image)
    assert isinstance(scores, Tensor)  # a network in evaluation gives the finest level alone
    return scores.float().softmax(1)


@lru_cache(maxsize=1)
def _tissue(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """RGB uint8 [side, side, 3] of invented tissue, mirrored again and again."""
    patch, _ = phantom_roi(0, 0, 256)
    times = -(-side // 512)
    both = np.concatenate([patch, patch[::-1]])
    return np.tile(np.concatenate([both, both[:, ::-1]], 1), (times, times, 1))[:side, :side]
