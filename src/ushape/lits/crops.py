"""Training crops: five adjacent slices and the labels of the middle one, drawn anew for each step, never in order.

A crop depends on (seed, step, place in the batch) alone, so that a run can stop and go on anywhere. Augmentation is
the paper's: random crops, left-right flips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ushape.lits.prepare import Prepared
from ushape.lits.window import as_input, neighbours

Float = NDArray[np.float32]
Labels = NDArray[np.int64]

_KEPT = 4000
"""Voxels of each class that a case remembers to centre crops on."""


class Crops:
    """Crops of `size` px from prepared cases; those of a class as in `Recipe.balanced`."""

    def __init__(self, cases: Sequence[Prepared], size: int, slices: int, balanced: float, seed: int) -> None:
        self.cases, self.size, self.slices, self.balanced, self.seed = cases, size, slices, balanced, seed
        classes = range(1, 1 + max(int(case.labels.max()) for case in cases)) if balanced else ()  # reads all labels
        each = ([p for case in cases if (p := _some(case, c, seed)) is not None] for c in classes)
        self._places = [places for places in each if places]  # of the classes that there are

    def draw(self, step: int, place: int) -> tuple[Float, Labels]:
        """Crop number `place` of a step: image float32 [slices, size, size] from -1 to 1, labels int64 [size, size].

        Beyond a volume's border the air around it stands, labelled background.
        """
        rng = np.random.default_rng((self.seed, step, place))
        if rng.random() < self.balanced:
            places = self._places[int(rng.integers(len(self._places)))]
            case, voxels = places[rng.integers(len(places))]
            z, y, x = (int(v) for v in voxels[rng.integers(len(voxels))])
            shift = rng.integers(-(self.size // 3), self.size // 3 + 1, 2)
            top, left = y + int(shift[0]) - self.size // 2, x + int(shift[1]) - self.size // 2
        else:
            case = self.cases[int(rng.integers(len(self.cases)))]
            depth, height, width = case.image.shape
            z = int(rng.integers(depth))
            top, left = (_anywhere(rng, length, self.size) for length in (height, width))
        image = _cut(case.image, neighbours(z, case.image.shape[0], self.slices), top, left, self.size, -200)
        labels = _cut(case.labels, [z], top, left, self.size, 0)[0]
        if rng.random() < 0.5:
            image, labels = image[:, :, ::-1], labels[:, ::-1]
        return as_input(image), labels.astype(np.int64)


def _anywhere(rng: np.random.Generator, length: int, size: int) -> int:
    """The first pixel of a crop within a side; centred where the side is the shorter one."""
    return int(rng.integers(length - size + 1)) if length >= size else (length - size) // 2


def _some(case: Prepared, label: int, seed: int) -> tuple[Prepared, NDArray[np.int32]] | None:
    """Some voxels (z, y, x) of a class, chosen evenly among all; None where the case has none."""
    found = np.concatenate([_in_slice(case.labels[z], z, label) for z in range(len(case.labels))])
    if not len(found):
        return None
    chosen = np.random.default_rng((seed, label)).permutation(len(found))[:_KEPT]
    return case, found[np.sort(chosen)].astype(np.int32)


def _in_slice(labels: NDArray[np.uint8], z: int, label: int) -> NDArray[np.int64]:
    there = np.argwhere(labels == label)
    return np.concatenate([np.full((len(there), 1), z), there], 1)


def _cut(
    volume: NDArray[np.generic], slices: list[int], top: int, left: int, size: int, beyond: int
) -> NDArray[np.generic]:
    """Slices of [z, H, W] -> [n, size, size] from (top, left), which may lie outside; `beyond` fills what does.

    No more of a mapped volume is read.
    """
    made = np.full((len(slices), size, size), beyond, volume.dtype)
    inside = [(max(start, 0), min(start + size, n)) for start, n in zip((top, left), volume.shape[1:], strict=True)]
    (y0, y1), (x0, x1) = inside
    if y1 > y0 and x1 > x0:
        made[:, y0 - top : y1 - top, x0 - left : x1 - left] = volume[:, y0:y1, x0:x1][slices]
    return made
