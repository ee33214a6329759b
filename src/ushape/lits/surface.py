"""How far the surfaces of two solids lie apart, in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Apart:
    """mean: ASSD, the mean over both surfaces of the distance to the other; most: MSSD, the largest of them; in mm."""

    mean: float
    most: float


def apart(truth: Mask, predicted: Mask, spacing: Spacing) -> Apart:
    """Solids bool [z, y, x], voxels of `spacing` mm (z, y, x) -> how far apart; nan where one is empty.

    A surface is the voxels of a solid that share a face with another voxel or with the volume's border; distances go
    from middle to middle.
    """
    if not truth.any() or not predicted.any():
        return Apart(float("nan"), float("nan"))
    box = _around(truth | predicted)
    ours, theirs = surface(truth[box]), surface(predicted[box])
    distances = np.concatenate(
        [distance_transform_edt(~b, spacing)[a] for a, b in ((ours, theirs), (theirs, ours))], dtype=np.float64
    )
    return Apart(float(distances.mean()), float(distances.max()))


def surface(solid: Mask) -> Mask:
    """The voxels of a solid that touch what is not in it."""
    made: Mask = solid & ~binary_erosion(solid)
    return made


def _around(mask: Mask) -> tuple[slice, ...]:
    """The smallest box with all of a mask; what a surface is does not change in it, for outside of it is nothing."""
    ends = []
    for axis in range(3):
        there = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        ends.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(ends)
