"""Weights that make narrow borders count (Ronneberger et al. 2015, equation 2).

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / 2 sigma^2)

d1 and d2 are the distances to the nearest and second-nearest cell. Cells are the connected components of the
labelled interiors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]

REACH = 6
"""Cells further away than this many sigma are not looked for: their term is below w0 * exp(-18)."""


def cells(interior: Bool) -> NDArray[np.int32]:
    """Interiors [H, W] -> number of the cell of each pixel, from 1; 0 on membranes. Pixels join by their edges."""
    labels: NDArray[np.int32] = ndimage.label(interior)[0].astype(np.int32)
    return labels


def nearest_two(instances: NDArray[np.int32], reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance in px of each pixel to the nearest and second-nearest cell: two [H, W], inf beyond `reach`.

    Between pixel centres: 0 inside a cell, 1 beside it.
    """
    first = np.full(instances.shape, np.inf)
    second = first.copy()
    margin = int(np.ceil(reach)) + 1
    for number, box in enumerate(ndimage.find_objects(instances), 1):
        wide = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        distance = ndimage.distance_transform_edt(instances[wide] != number)
        distance[distance > reach] = np.inf
        nearest, next_one = first[wide], second[wide]
        np.minimum(next_one, np.maximum(nearest, distance), out=next_one)
        np.minimum(nearest, distance, out=nearest)
    return first, second


def border_weights(interior: Bool, w0: float = 10.0, sigma: float = 5.0) -> Float:
    """The second term of the equation, float32 [H, W], 0 to w0, from interiors [H, W].

    It is there on membrane pixels only: inside a cell the paper's figure 3 shows none. Where no second cell is near,
    it is 0.
    """
    first, second = nearest_two(cells(interior), REACH * sigma)
    weights = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(interior, 0.0, weights).astype(np.float32)


def class_weights(interior: Bool) -> tuple[float, float]:
    """w_c of membrane and interior over all slices given: each class has half of the total, a pixel 1 on average."""
    share = float(interior.mean())
    return 0.5 / (1 - share), 0.5 / share


def weight_maps(interior: Bool, w0: float = 10.0, sigma: float = 5.0) -> Float:
    """w(x) of slices [S, H, W]: float32 [S, H, W]. The classes are balanced over all slices together."""
    membrane, inside = class_weights(interior)
    balanced = np.where(interior, inside, membrane)
    return (balanced + np.stack([border_weights(each, w0, sigma) for each in interior])).astype(np.float32)
