"""The rows of pictures: what every arm made of every test ROI, the most disputed ROI first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ushape.errors import RunError
from ushape.report import pictures
from ushape.report.results import REMEDY, Results, Roi

SIDES = (360, 280, 210, 160, 120)
"""Longest side of a thumbnail, tried in order until all of them fit into `BUDGET`."""

BUDGET = 13_000_000
"""Characters of all pictures together; the rest of a report is far below 1 MB."""


@dataclass(frozen=True)
class Column:
    """An arm on one ROI: scores as shares, pictures as data URIs."""

    arm: str
    macro_dice: float | None
    accuracy: float | None
    prediction: str
    errors: str


@dataclass(frozen=True)
class Row:
    name: str
    roi: Roi
    size: tuple[int, int]
    image: str
    truth: str
    columns: list[Column]

    @property
    def characters(self) -> int:
        return sum(map(len, [self.image, self.truth, *(c.prediction + c.errors for c in self.columns)]))


MOST = 30
"""ROIs shown in full: more than anybody looks at."""


def gallery(study: Path, results: Results) -> tuple[list[Row], list[str]]:
    """Rows of the most disputed ROIs, with thumbnails as large as the budget allows; names of the ROIs left out."""
    names, rest = order(results)[:MOST], order(results)[MOST:]
    while names:
        if rows := _fitting(study, results, names):
            return rows, rest
        names, rest = names[: len(names) // 2], [*names[len(names) // 2 :], *rest]
    return [], rest


def _fitting(study: Path, results: Results, names: list[str]) -> list[Row]:
    """Rows of all `names` within the budget; none where even the smallest thumbnails do not fit."""
    for side in SIDES:
        rows, total = [], 0
        for name in names:
            rows.append(_row(study, results, name, side))
            total += rows[-1].characters
            if total > BUDGET:
                break
        else:
            return rows
    return []


def order(results: Results) -> list[str]:
    """Names of ROIs, largest difference of accuracy between arms first; of one arm, lowest accuracy first."""

    def key(name: str) -> tuple[float, float, str]:
        seen = [a.accuracy for a in results.rois[name].arms.values() if a.accuracy is not None]
        return (min(seen) - max(seen), min(seen), name) if seen else (1.0, 0.0, name)

    return sorted(results.rois, key=key)


def _row(study: Path, results: Results, name: str, side: int) -> Row:
    roi, colours = results.rois[name], results.grouping.colours
    image = pictures.open_image(study, roi.image)
    truth = pictures.open_labels(study, roi.truth, len(colours))  # [h, w]
    height, width = truth.shape
    size = pictures.fit((width, height), side)
    full = np.asarray(image.resize((width, height)) if image.size != (width, height) else image)  # [h, w, 3]
    columns = []
    for arm in results.arms:
        of = roi.arms[arm.name]
        labels = pictures.open_labels(study, of.prediction, len(colours))  # [h, w]
        if labels.shape != truth.shape:
            raise RunError(f"{study / of.prediction} has not the size of {study / roi.truth}; {REMEDY}")
        errors = pictures.error_map(full, truth, labels, colours)
        columns.append(
            Column(
                arm.name,
                of.macro_dice,
                of.accuracy,
                pictures.label_png(labels, colours, size),
                pictures.error_jpeg(errors, truth, size),
            )
        )
    label = pictures.label_png(truth, colours, size)
    return Row(name, roi, size, pictures.jpeg(image, size), label, columns)
