"""Resampling to other voxel sizes, slice by slice, so that no more than a few slices are ever in memory.

Along each axis a new voxel is a weighted mean of old ones under a triangle: linear interpolation where voxels become
smaller, and a triangle as wide as the new voxel where they become larger, lest noise and thin structures alias. Old
and new grid span the same space; the new sides are the nearest to those wanted that fit. The paper names no kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Shape = tuple[int, int, int]


def new_shape(shape: Shape, spacing: tuple[float, float, float], wanted: tuple[float, float, float]) -> Shape:
    """Voxels (z, y, x) of about `wanted` mm that span what `shape` voxels of `spacing` mm do; at least 1 each."""
    z, y, x = (max(1, round(n * s / w)) for n, s, w in zip(shape, spacing, wanted, strict=True))
    return z, y, x


def axis_weights(old: int, new: int) -> Float:
    """Weights float32 [new, old] of the old voxels along one axis; each row sums to 1."""
    ratio = old / new
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    width = max(ratio, 1.0)
    made = np.clip(1 - np.abs(np.arange(old) - np.clip(centres, 0, old - 1)[:, None]) / width, 0, None)
    return (made / made.sum(1, keepdims=True)).astype(np.float32)


def resampled(read: Callable[[int], Float], old: Shape, new: Shape) -> Iterator[Float]:
    """The slices float32 [y, x] of the new grid, from `read(z)`, which gives the old ones.

    Each old slice is read once, in order; those that the next new slice needs are kept.
    """
    rows, columns = axis_weights(old[1], new[1]), axis_weights(old[2], new[2]).T
    same = old[1:] == new[1:]
    kept: dict[int, Float] = {}
    for weights in axis_weights(old[0], new[0]):
        needed = [int(z) for z in np.flatnonzero(weights)]
        for z in [z for z in kept if z < needed[0]]:
            del kept[z]
        made = np.zeros(new[1:], np.float32)
        for z in needed:
            if z not in kept:
                slice_ = read(z).astype(np.float32)
                kept[z] = slice_ if same else (rows @ slice_ @ columns).astype(np.float32)
            made += weights[z] * kept[z]
        yield made


def span(first: int, last: int, old: int, new: int) -> tuple[int, int]:
    """Voxels first..last-1 of an axis of `old` -> the voxels of the same axis cut into `new` that they touch."""
    ratio = new / old
    return max(0, int(np.floor(first * ratio))), min(new, int(np.ceil(last * ratio)))
