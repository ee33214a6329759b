"""Where each pixel of a training tile comes from: displaced, mirrored, turned and shifted by one map.

Image, labels and weights are read through it once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ushape.data.deform import Float


def placed(centre: ArrayLike, angle: float, mirrored: bool, size: tuple[int, int], field: Float | None = None) -> Float:
    """Where each pixel of a tile of `size` (height, width) comes from in its slice, (y, x): [2, height, width].

    The tile, displaced by `field` [2, height, width], is mirrored left to right, turned by `angle` (radians, from the
    x axis towards the y axis) about its middle, and the middle put at `centre` (y, x).
    """
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    if field is not None:
        y, x = y + field[0], x + field[1]
    if mirrored:
        x = -x
    sin, cos = np.sin(angle), np.cos(angle)
    top, left = np.asarray(centre, np.float64)
    return np.stack([top + sin * x + cos * y, left + cos * x - sin * y])
