"""How far predicted borders of a class lie from the true ones, in µm.

A border is the set of edges between a pixel of the class and one of another class; the points compared are the
middles of those edges, each standing for one pixel side of border. An edge at an ignored pixel, or at the image's
own border, is none. What lies behind ignored pixels is unknown, so a true border hidden there counts as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ushape.data.classes import IGNORE

TOLERANCE = 10.0
"""µm: about one nucleus, closer than which two annotators draw a border of tissue by luck."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Border:
    """A class in one image: `surface_dice` 0 to 1, `hausdorff95` in µm; nan where it has none.

    In neither map has the class a border: both are nan. In one alone: surface Dice is 0, the distance nan.
    """

    surface_dice: float
    hausdorff95: float


def borders(
    truth: Labels, predicted: Labels, classes: int, mpp: float, tolerance: float = TOLERANCE
) -> tuple[Border, ...]:
    """Labels uint8 [H, W] of `mpp` µm per pixel -> the Border of each class.

    surface_dice: the share of both borders that lies within `tolerance` µm of the other one (Nikolov et al. 2021,
    10.2196/26151, "surface DSC"). hausdorff95: the larger of the 95th percentiles of the distances from either border
    to the other.
    """
    counted = truth != IGNORE
    made = []
    for label in range(classes):
        ours, theirs = _edges(truth == label, counted), _edges(predicted == label, counted)  # [N, 2], [M, 2]
        if not len(ours) or not len(theirs):
            made.append(Border(0.0 if len(ours) or len(theirs) else float("nan"), float("nan")))
            continue
        there, back = (KDTree(b).query(a)[0] * mpp for a, b in ((ours, theirs), (theirs, ours)))
        near = (there <= tolerance).sum() + (back <= tolerance).sum()
        far = max(np.percentile(there, 95), np.percentile(back, 95))
        made.append(Border(float(near / (len(ours) + len(theirs))), float(far)))
    return tuple(made)


def _edges(inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Middles (y, x) in px of the edges between counted pixels of which one lies inside: [N, 2]."""
    down = (inside[1:] != inside[:-1]) & counted[1:] & counted[:-1]
    right = (inside[:, 1:] != inside[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    half = np.array([0.5, 0.0])
    return np.concatenate([np.argwhere(down) + half, np.argwhere(right) + half[::-1]])
