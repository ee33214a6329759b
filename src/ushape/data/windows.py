"""Square windows of images, mirrored beyond the border (Ronneberger et al. 2015, section 2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def cut(image: NDArray[np.uint8], corner: tuple[int, int], size: int) -> NDArray[np.uint8]:
    """The tile at `corner` of an image [H, W, ...], mirrored beyond its border: [size, size, ...]."""

    def read(top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        return image[top : top + height, left : left + width]  # a view: a mapped image is read only where it is used

    return cut_from(read, (image.shape[0], image.shape[1]), corner, size)


def cut_from(
    read: Callable[[int, int, int, int], NDArray[np.uint8]], shape: tuple[int, int], corner: tuple[int, int], size: int
) -> NDArray[np.uint8]:
    """The same of an image of `shape` [H, W] of which `read(top, left, height, width)` gives parts."""
    rows, columns = (_mirror(np.arange(start, start + size), n) for start, n in zip(corner, shape, strict=True))
    top, left = int(rows.min()), int(columns.min())
    inside = read(top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left)
    if all(0 <= start <= length - size for start, length in zip(corner, shape, strict=True)):  # nothing to mirror
        return inside
    return inside[rows - top][:, columns - left]


def _mirror(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices reflected into 0..length-1 without repeating the border pixel, however far outside they lie."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index)
