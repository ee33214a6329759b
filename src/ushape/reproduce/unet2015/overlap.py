"""The overlap-tile strategy (Ronneberger et al. 2015, figure 2): any slice, seam-free, through unpadded convolutions.

A network without padding gives exact scores of a tile's middle. Tiles whose middles join cover a slice; what they
need beyond its border is mirrored. As pooling halves sizes, tiles must lie on its grid: then every pixel is computed
from the same neighbours as in one pass over the whole mirrored slice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.nets.unet import Network
from ushape.nets.valid import check_valid, smallest, valid_output

Float = NDArray[Any]
"""float32, or float64 all through."""


def output_size(net: Network, length: int) -> int:
    """The smallest size, at least `length`, of scores that the network can give."""
    first = valid_output(smallest(net.spec.levels, net.spec.depth), net.spec.levels, net.spec.depth)
    assert first is not None
    return first + -(-max(length - first, 0) // net.multiple) * net.multiple


def mirrored(image: Float, net: Network) -> Float:
    """A slice [H, W] with mirrored borders, so large that the network scores all of it in one pass.

    shrink / 2 px are added at the top and left, as many at the bottom and right plus what a valid size needs.
    """
    half = net.shrink // 2
    pads = [(half, half + output_size(net, length) - length) for length in image.shape]
    return np.pad(image, pads, mode="reflect")


def overlap_tile(run: Callable[[Float], Float], net: Network, image: Float, largest: int = 572) -> Float:
    """Scores of a slice [H, W] by tiles of at most `largest` px: [classes, H, W].

    run: what gives scores [classes, h - shrink, w - shrink] of a tile [h, w]. Tiles are of equal size, as small as
    their number allows. The result is, to rounding, what one pass over `mirrored(image)` gives. SpecError where
    `largest` is no size that the network takes.
    """
    check_valid(largest, largest, net.spec.levels, net.spec.depth)
    whole = mirrored(image, net)
    rows, columns = (_starts(net, length, largest - net.shrink) for length in image.shape)
    scores = np.empty((net.classes, *image.shape), image.dtype)
    for y, height in rows:
        for x, width in columns:
            tile = run(whole[y : y + height + net.shrink, x : x + width + net.shrink])
            inside = scores[:, y : y + height, x : x + width]
            inside[:] = tile[:, : inside.shape[1], : inside.shape[2]]
    return scores


def _starts(net: Network, length: int, largest: int) -> list[tuple[int, int]]:
    """Start and size of the scores of each tile along one axis; starts are multiples of the pooling grid.

    The last tiles start where they still lie inside what one pass over the whole slice would score.
    """
    total = output_size(net, length)
    count = 1
    while (size := output_size(net, -(-total // count))) > largest:
        count += 1
    last = total - size  # a multiple of the grid, as both sizes leave the same remainder
    steps = [min(i * (size // net.multiple) * net.multiple, last) for i in range(count)]
    while steps[-1] < last:  # the remainder of each size is lost to the grid: one more tile may be needed
        steps.append(min(steps[-1] + (size // net.multiple) * net.multiple, last))
    return [(start, size) for start in dict.fromkeys(steps)]
