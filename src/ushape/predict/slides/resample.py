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
    out = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, _BAND):
        band = slice(start, start + _BAND)
        if rows.weight is None and columns.weight is None:
            out[band] = _means(pixels, first[band], last[band], left_first, left_last)
        else:
            there = _between(pixels, first[band], last[band], rows.weight, down.start + start, 0)
            there = _between(there, left_first, left_last, columns.weight, left, 1)
            out[band] = (there + np.float32(0.5)).astype(np.uint8)
    return out


_BAND = 32
"""Rows that are made at once: few enough for what they need to stay in a core's own cache."""

Read = Callable[[int, int, int, int], Bytes]


def _means(pixels: Bytes, first: Index, last: Index, left_first: Index, left_last: Index) -> Bytes:
    """Means over rows [first, last) and columns [left_first, left_last): [h, w, 3] -> [n, m, 3]; rounded once."""
    tall, wide = int((last - first).max()), int((left_last - left_first).max())
    kinds = [np.uint16 if terms <= 257 else np.uint32 for terms in (tall, tall * wide)]
    totals = _sums_of_columns(_sums_of_rows(pixels, first, last, kinds[0]), left_first, left_last, kinds[1])
    mean = totals.reshape(len(first), -1) * np.repeat(1 / (left_last - left_first), 3).astype(np.float32)
    mean *= (1 / (last - first)).astype(np.float32)[:, None]
    mean += np.float32(0.5)
    return mean.astype(np.uint8).reshape(len(first), len(left_first), 3)


def _sums_of_rows(pixels: Whole, first: Index, last: Index, kind: type) -> Whole:
    """[h, w, 3] -> [n, w, 3]: sums over the rows of each window; all windows are added to at once."""
    total: Whole = pixels.take(first, 0).astype(kind)
    for k in range(1, int((last - first).max())):
        longer = first + k < last
        if longer.all():
            total += pixels.take(first + k, 0)
        else:
            total[longer] += pixels.take(first[longer] + k, 0)
    return total


def _sums_of_columns(pixels: Whole, first: Index, last: Index, kind: type) -> Whole:
    """[n, w, 3] -> [n, m, 3]: as for rows, but shorter windows take a column of zeros for what they lack."""
    rows, columns, channels = pixels.shape
    longest = int((last - first).max())
    if (last - first).min() < longest:
        padded = np.empty((rows, columns + 1, channels), pixels.dtype)
        padded[:, :columns], padded[:, columns] = pixels, 0
        pixels = padded
    total: Whole = pixels.take(first, 1).astype(kind, copy=False)
    for k in range(1, longest):
        total += pixels.take(np.where(first + k < last, first + k, columns), 1)
    return total


def _between(pixels: Whole, first: Index, last: Index, weight: Float | None, start: int, axis: int) -> Float:
    """Between the first and the last pixel of each window, float32; `weight` counts from `start`."""
    here = pixels.take(first, axis).astype(np.float32, copy=False)
    if weight is None:  # an axis that keeps its size
        return here
    share = weight[start : start + len(first)].reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return here + (pixels.take(last - 1, axis) - here) * share
