"""Resampling of parts so that they fit: a pixel's value does not depend on the part that it was asked for with.

Means and weights are those of Pillow's BOX and BILINEAR filters for the whole image, to within one grey level. Pillow
itself, given a part and a fractional box, rounds the box to float32, and where a pixel's centre lies nearly on the
border of two windows it decides otherwise than for the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Whole = NDArray[Any]
"""unsigned integers of any width"""
Index = NDArray[np.intp]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    """The pixels [first, last) of an axis that make each pixel of the resampled axis: intp [n] each.

    weight: for a finer axis, of the second of two pixels, float32 [n]; None for a coarser one, which takes the mean.
    """

    first: Index
    last: Index
    weight: Float | None

    def span(self, start: int, count: int) -> tuple[int, int]:
        """The pixels [from, to) that the pixels start..start+count of the resampled axis need."""
        return int(self.first[start]), int(self.last[start + count - 1])


@lru_cache(maxsize=64)
def windows(size: int, to: int) -> Windows:
    """Windows that bring an axis of `size` px to `to` px."""
    scale = size / to
    centre = (np.arange(to) + 0.5) * scale
    if scale < 1:  # finer: a straight line between the centres of two pixels
        below = np.floor(centre - 0.5)
        weight = (centre - 0.5 - below).astype(np.float32)
        first, last = (np.clip(below + k, 0, size - 1).astype(np.intp) for k in (0, 1))
        return Windows(first, last + 1, weight)
    half, step = scale / 2, 1 / scale  # in Pillow's order of operations, so that ties fall as there
    first = np.maximum((centre - half + 0.5).astype(np.intp), 0)
    last = np.minimum((centre + half + 0.5).astype(np.intp), size)
    first += (first - centre + 0.5) * step <= -0.5
    last -= (last - 1 - centre + 0.5) * step > 0.5
    return Windows(first, last, None)


def resample(rows: Windows, columns: Windows, top: int, left: int, height: int, width: int, read: Read) -> Bytes:
    """RGB uint8 [height, width, 3] at (top, left) of the resampled image; `read` gives the pixels that it needs."""
    y0, y1 = rows.span(top, height)
    x0, x1 = columns.span(left, width)
    pixels = read(y0, x0, y1 - y0, x1 - x0)  # [h, w, 3]
    down, across = slice(top, top + height), slice(left, left + width)
    first, last = rows.first[down] - y0, rows.last[down] - y0
    left_first, left_last = columns.first[across] - x0, columns.last[across] - x0
    if rows.weight is None and columns.weight is None:
        totals = _sums(_sums(pixels, first, last, 0), left_first, left_last, 1)  # exact: one rounding, at the end
        count = np.multiply.outer(last - first, left_last - left_first).astype(np.uint32)[..., None]
        return ((totals + count // 2) // count).astype(np.uint8)
    there = _between(pixels.astype(np.float32), first, last, rows.weight, down, 0)
    there = _between(there, left_first, left_last, columns.weight, across, 1)
    return (there + np.float32(0.5)).astype(np.uint8)


Read = Callable[[int, int, int, int], Bytes]


def _sums(pixels: Whole, first: Index, last: Index, axis: int) -> Whole:
    """Sums over the windows along an axis; whole rows or columns are added at once, for windows of all lengths."""
    longest = int((last - first).max())
    kind = np.uint16 if pixels.dtype == np.uint8 and longest <= 257 else np.uint32
    total: Whole = pixels.take(first, axis).astype(kind)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    for k in range(1, longest):
        inside = first + k < last
        if inside.all():
            total += pixels.take(first + k, axis)
        else:
            total += pixels.take(np.minimum(first + k, last - 1), axis) * inside.astype(pixels.dtype).reshape(shape)
    return total


def _between(pixels: Float, first: Index, last: Index, weight: Float | None, part: slice, axis: int) -> Float:
    if weight is None:  # an axis that kept its size
        return pixels.take(first, axis)
    share = weight[part].reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    start = pixels.take(first, axis)
    return start + (pixels.take(last - 1, axis) - start) * share
