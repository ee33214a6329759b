"""Elastic deformation from a coarse grid (Ronneberger et al. 2015, section 3.1): smooth, and cheap to draw."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

Float = NDArray[np.float64]

GRID = 3
"""Displacements are drawn at GRID x GRID points: the corners, the middles of the sides, the centre."""


def elastic(coarse: Float, size: int) -> Float:
    """Displacements [2, GRID, GRID] at a coarse grid over a square -> of each of its pixels, [2, size, size].

    Bicubic: a natural cubic spline along rows, then along columns. It goes through what was drawn.
    """
    basis = _basis(size)
    field: Float = basis @ coarse @ basis.T
    return field


@lru_cache(maxsize=8)
def _basis(size: int) -> Float:
    """What each point of the grid adds to each pixel of a side, [size, GRID]."""
    spline = CubicSpline(np.arange(GRID), np.eye(GRID), bc_type="natural")
    basis: Float = spline(np.linspace(0, GRID - 1, size))
    return basis


def draw_coarse(rng: np.random.Generator, deviation: float) -> Float:
    """Normal displacements in px, [2, GRID, GRID]."""
    return rng.normal(0.0, deviation, (2, GRID, GRID))


def read(image: NDArray[np.generic], where: Float, order: int) -> NDArray[np.float32]:
    """Values of an image [H, W] at `where` [2, ...]; beyond the border, mirrored without repeating the border pixel.

    order: 0 nearest, 1 linear, 3 cubic spline.
    """
    values: NDArray[np.float32] = ndimage.map_coordinates(image, where, np.float32, order, mode="mirror")
    return values


def deformed(image: NDArray[np.uint8], where: Float) -> NDArray[np.uint8]:
    """uint8 [H, W] read at the nearest pixels, or [H, W, C] linearly, at `where` [2, h, w]: [h, w] or [h, w, C]."""
    if image.ndim == 2:
        return read(image, where, 0).astype(np.uint8)
    planes = [np.rint(read(image[..., i], where, 1)).astype(np.uint8) for i in range(image.shape[2])]
    return np.stack(planes, axis=-1)
