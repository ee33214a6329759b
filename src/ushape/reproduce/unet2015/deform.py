"""Elastic deformation from a coarse grid (Ronneberger et al. 2015, section 3.1), with rotation, mirroring and shift.

One map says where each pixel of a training tile comes from; image, labels and weights are read through it once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

Float = NDArray[np.float64]

GRID = 3
"""Displacements are drawn at GRID x GRID points: the corners, the middles of the sides, the centre."""


def elastic(coarse: Float, size: int) -> Float:
    """Displacements [2, GRID, GRID] at a coarse grid over a square tile -> of each of its pixels, [2, size, size].

    Bicubic: a natural cubic spline along rows, then along columns. It goes through what was drawn.
    """
    spline = CubicSpline(np.arange(GRID), np.eye(GRID), bc_type="natural")
    basis = spline(np.linspace(0, GRID - 1, size))  # [size, GRID]
    field: Float = basis @ coarse @ basis.T
    return field


def draw_coarse(rng: np.random.Generator, deviation: float) -> Float:
    """Normal displacements in px, [2, GRID, GRID]."""
    return rng.normal(0.0, deviation, (2, GRID, GRID))


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


def read(image: NDArray[np.generic], where: Float, order: int) -> NDArray[np.float32]:
    """Values of an image [H, W] at `where` [2, ...]; beyond the border, mirrored without repeating the border pixel.

    order: 0 nearest, 1 linear, 3 cubic spline.
    """
    values: NDArray[np.float32] = ndimage.map_coordinates(image, where, np.float32, order, mode="mirror")
    return values
