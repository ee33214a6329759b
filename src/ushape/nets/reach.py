"""How far into a tile its edge is felt: where a network gives there what it gives on the whole image."""

from __future__ import annotations

import torch
from torch import Tensor

from ushape.nets.field import WIDE, thin_network
from ushape.nets.spec import Spec
from ushape.nets.unet import Network

LIMIT = 4096
"""An edge that is felt in the middle of so many px is felt everywhere."""

APART = 11
"""The tile that is compared begins so many multiples of the network's `multiple` into the image: a number that divides
by no side of a window or pool, so that what lies on a coarser grid than the network's shows."""

SAME = 1e-6
"""Scores, against the largest, that differ by no more than this are the same."""


def reach(spec: Spec) -> int | None:
    """Distance in px from a tile's edge at which nothing beyond it changes a score; None where there is none.

    The distance is exact, for tiles whose corners lie on multiples of the network's `multiple` (2^(levels-1)), and is
    itself rounded up to one. None for networks with global context (pooling over the image, attention to all of it,
    norms of the image's own statistics) and for those whose geometry depends on the size of the image.

    NaN beyond the edges makes NaN of all that feels them. The network is narrow and its weights are random: the
    reach does not depend on them (see `field.receptive_field`). What is left is compared with the scores of the tile
    alone.
    """
    if spec.network.name in WIDE:
        return None
    net = thin_network(spec, norm=True)
    try:  # double: fast convolutions of single precision (Winograd's) let NaN leak to where nothing depends on it
        return _both(net.double())
    except RuntimeError:  # a part that makes single-precision values of its own
        return _both(net.float())


def _both(net: Network) -> int | None:
    columns = _felt(net, rows=False)
    rows = None if columns is None else _felt(net, rows=True)
    return None if columns is None or rows is None else max(columns, rows)


@torch.no_grad()
def _felt(net: Network, rows: bool) -> int | None:
    """The reach of a tile's left and right (or upper and lower) edges."""
    unit = net.multiple
    length = max(256, 8 * unit)
    while length <= LIMIT:
        beyond = unit * APART
        image = _image(net, length + 2 * beyond)
        framed = image.clone()
        framed[..., :beyond] = framed[..., -beyond:] = torch.nan
        clear = ~_scores(net, framed, rows)[..., beyond:-beyond].isnan().flatten(0, -2).any(0)  # [length]
        if clear.any():
            inside = clear.nonzero()[:, 0]
            margin = max(int(inside[0]), length - 1 - int(inside[-1]))
            margin = -(-margin // unit) * unit
            whole = _scores(net, image, rows)[..., beyond:-beyond]
            tile = _scores(net, image[..., beyond:-beyond].contiguous(), rows)
            middle = slice(margin, length - margin)
            far = (whole - tile)[..., middle].abs()
            if far.numel() == 0 or not bool(clear[middle].all()):
                return None
            eps = SAME if whole.dtype == torch.float64 else 1e-4
            return margin if bool(far.max() <= eps * whole.abs().max().clamp(min=1)) else None
        length *= 2
    return None


def _image(net: Network, length: int) -> Tensor:
    """Noise, as many rows as need no padding."""
    rows = 2 * net.multiple
    noise = torch.randn(1, 1, rows, length, generator=torch.Generator().manual_seed(0))
    return noise.to(next(net.parameters()).dtype)


def _scores(net: Network, image: Tensor, rows: bool) -> Tensor:
    """Scores of the image, or of the one with rows and columns exchanged, exchanged back."""
    scores = net(image.transpose(2, 3).contiguous() if rows else image)
    assert isinstance(scores, Tensor)  # a network in evaluation gives the finest level alone
    return scores.transpose(2, 3) if rows else scores
