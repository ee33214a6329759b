"""Training crops: which, and how changed, as a pure function of seed, step and place in the batch.

A crop is drawn at random (a patient, a ROI of that patient, a place) or, with the recipe's probability `balanced`, by
class (a class, a patient in proportion to the square root of that patient's pixels of the class, a ROI in proportion to
its own, a pixel of it). The square root keeps a thin mislabelled rim in one patient from weighing as much as another
patient's real tissue. Because nothing depends on what was drawn before, a resumed run and every arm of a study see the
same crops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ushape.data.augment import Bytes, CropSettings, Float, change, draw_side
from ushape.data.classes import Grouping
from ushape.data.rois import Pixels
from ushape.errors import DataError

STRIDE, POINTS = 8, 2**15
"""Pixels of a class are looked up on a grid of this stride, wider where it would have more points than this in a ROI:
memory does not grow with the pixels. A class that the grid misses is looked up in full, and thinned out as well."""


def check_sizes(pixels: Sequence[Pixels], crop: int) -> None:
    """DataError where a ROI is smaller than a crop."""
    for each in pixels:
        height, width = each.codes.shape
        if min(height, width) < crop:
            fitting = min(height, width) // 16 * 16
            remedy = f"set crop={fitting} or less, or a smaller mpp" if fitting else "move it and its mask away"
            raise DataError(
                f"{each.roi.image}: is {width} x {height} px at the pixel size of training, smaller than a crop of "
                f"{crop}: {remedy}"
            )


def check_annotated(pixels: Iterable[Pixels], grouping: Grouping) -> None:
    """DataError where no pixel of any of the ROIs has a class."""
    for each in pixels:
        if grouping.count(each.codes).any():
            return
    raise DataError(
        f"no pixel of {each.roi.mask.parent} belongs to a class of {grouping.id}: all of it is ignored; check the masks"
    )


class Crops:
    """Crops of a set of ROIs. DataError where a ROI is smaller than a crop or no pixel has a class.

    `maps`: for each ROI amounts, uint8 [H, W, C], that are cropped and changed with it (`draw_all`).
    """

    def __init__(
        self,
        pixels: Sequence[Pixels],
        grouping: Grouping,
        settings: CropSettings,
        seed: int,
        maps: Sequence[Bytes] | None = None,
    ) -> None:
        self.pixels, self.grouping, self.settings, self.seed = list(pixels), grouping, settings, seed
        self.maps = maps
        check_sizes(self.pixels, settings.size)
        check_annotated(self.pixels, grouping)
        patients = sorted({p.roi.patient for p in self.pixels})
        self._rois_of = [[i for i, p in enumerate(self.pixels) if p.roi.patient == q] for q in patients]
        self._places = self._index()

    def draw(self, step: int, place: int) -> tuple[Float, NDArray[np.int64]]:
        """Crop number `place` of the batch of `step`: light float32 [S, S, 3] 0 to 1, labels int64 [S, S].

        Labels are class indices or IGNORE. The image is changed as `ushape.data.augment.change` does.
        """
        return self.draw_all(step, place)[:2]

    def draw_all(self, step: int, place: int) -> tuple[Float, NDArray[np.int64], Bytes | None]:
        """As `draw`, with the crop's map, uint8 [S, S, C]; None where there are no maps."""
        at = (self.seed, step, place)
        rng = np.random.default_rng(at)
        roi, window = self._window(rng, rng.random() < self.settings.balanced)
        image, codes = self.pixels[roi].image[window], self.pixels[roi].codes[window]
        maps = [] if self.maps is None else [self.maps[roi][window]]
        light, (codes, *changed) = change(image, [codes, *maps], self.settings, rng, at)
        return light, self.grouping.labels(codes).astype(np.int64), changed[0] if changed else None

    def shares(self, draws: int = 512) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the classes, float64 [C] of sum 1, among annotated pixels: as they occur, and as `draw` draws them.

        As they occur: patients count alike, and so do the ROIs of a patient, as in crops drawn at random. Of
        class-balanced crops `draws` are looked at.
        """
        by_patient = [np.mean([self._share(self.pixels[i].codes) for i in rois], axis=0) for rois in self._rois_of]
        natural = np.mean(by_patient, axis=0)
        even = np.zeros_like(natural)
        for i in range(draws):
            roi, window = self._window(np.random.default_rng((self.seed, i)), balanced=True)
            even += self._share(self.pixels[roi].codes[window]) / draws
        drawn = (1 - self.settings.balanced) * natural + self.settings.balanced * even
        return natural / natural.sum(), drawn / drawn.sum()

    def _share(self, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Of all pixels, annotated or not, those of each class."""
        return self.grouping.count(codes) / codes.size

    def _window(self, rng: np.random.Generator, balanced: bool) -> tuple[int, tuple[slice, slice]]:
        """Which ROI, and where in it."""
        side = draw_side(self.settings, rng)
        roi, top, left, side = self._balanced(rng, side) if balanced else self._anywhere(rng, side)
        return roi, np.s_[top : top + side, left : left + side]

    def _anywhere(self, rng: np.random.Generator, side: int) -> tuple[int, int, int, int]:
        rois = self._rois_of[rng.integers(len(self._rois_of))]
        roi = int(rois[rng.integers(len(rois))])
        height, width = self.pixels[roi].codes.shape
        side = min(side, height, width)
        return roi, int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side

    def _balanced(self, rng: np.random.Generator, side: int) -> tuple[int, int, int, int]:
        patients = self._places[rng.integers(len(self._places))]  # of one class
        weights = np.sqrt([sum(count for _, count in rois) for rois in patients])
        rois = patients[rng.choice(len(patients), p=weights / weights.sum())]
        counts = np.array([count for _, count in rois])
        places, _ = rois[rng.choice(len(rois), p=counts / counts.sum()) if len(rois) > 1 else 0]
        roi, y, x = (int(v) for v in places[rng.integers(len(places))])
        height, width = self.pixels[roi].codes.shape
        side = min(side, height, width)
        # the pixel lies anywhere in the middle half of the window, as far as the ROI allows
        top, left = (v - side // 2 + int(rng.integers(-side // 4, side // 4 + 1)) for v in (y, x))
        return roi, min(max(top, 0), height - side), min(max(left, 0), width - side), side

    def _index(self) -> list[list[list[tuple[NDArray[np.int32], int]]]]:
        """For each class that occurs, for each patient and there each ROI that has it: `_pixels_of`."""
        found = []
        for label in range(len(self.grouping.classes)):
            made = ([self._pixels_of(label, roi) for roi in rois] for rois in self._rois_of)
            having = ([(places, count) for places, count in of_patient if count] for of_patient in made)
            if by_patient := [rois for rois in having if rois]:
                found.append(by_patient)
        return found

    def _pixels_of(self, label: int, roi: int) -> tuple[NDArray[np.int32], int]:
        """Rows (roi, y, x) of pixels of a class, and about how many pixels they stand for."""
        codes = self.pixels[roi].codes
        stride = max(STRIDE, math.ceil(math.sqrt(codes.size / POINTS)))
        at, each = np.argwhere(self.grouping.table[codes[::stride, ::stride]] == label) * stride, stride**2
        if not len(at) and np.isin(codes, np.flatnonzero(self.grouping.table == label)).any():
            at, each = np.argwhere(self.grouping.table[codes] == label), 1
        count = len(at) * each
        at = at[:: math.ceil(len(at) / POINTS) or 1]
        return np.column_stack([np.full(len(at), roi), at]).astype(np.int32), count
