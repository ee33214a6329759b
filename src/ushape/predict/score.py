"""From a confusion matrix to scores. A matrix is int64 [classes, classes]: rows truth, columns prediction, in pixels.

Ignored pixels are never in a matrix. A class that is in neither truth nor prediction has no Dice and no IoU (nan):
it is left out of every mean, and `absent` counts how often. With one label a pixel, micro Dice is the accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import IGNORE

Matrix = NDArray[np.int64]
Float = NDArray[np.float64]


def likeliest(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[C, H, W] -> the first of the likeliest classes of each pixel, uint8 [H, W]; by planes, seven times as fast."""
    best, labels = probabilities[0].copy(), np.zeros(probabilities.shape[1:], np.uint8)
    for c, plane in enumerate(probabilities[1:], 1):
        np.maximum(labels, (plane > best).view(np.uint8) * np.uint8(c), out=labels)
        np.maximum(best, plane, out=best)
    return labels


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> Matrix:
    """Labels of any equal shape -> matrix; pixels whose truth is IGNORE are left out."""
    counted = truth != IGNORE
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def dice(matrix: Matrix) -> Float:
    """Dice of each class, 2 TP / (2 TP + FP + FN): float64 [..., classes], nan where absent."""
    return _ratio(2 * _hits(matrix), matrix.sum(-1) + matrix.sum(-2))


def iou(matrix: Matrix) -> Float:
    """Intersection over union of each class, TP / (TP + FP + FN): float64 [..., classes], nan where absent."""
    hits = _hits(matrix)
    return _ratio(hits, matrix.sum(-1) + matrix.sum(-2) - hits)


def accuracy(matrix: Matrix) -> Float:
    """Share of counted pixels that are right: float64 [...], nan where no pixel counts."""
    return _ratio(_hits(matrix).sum(-1), matrix.sum((-1, -2)))


def balanced_accuracy(matrix: Matrix) -> Float:
    """Mean recall over the classes that the truth holds: float64 [...], nan where no pixel counts."""
    return mean_present(_ratio(_hits(matrix), matrix.sum(-1)))


def micro_iou(matrix: Matrix) -> Float:
    """Intersection over union of all pixels together, TP / (2 N - TP): float64 [...], nan where none counts."""
    hits = _hits(matrix).sum(-1)
    return _ratio(hits, 2 * matrix.sum((-1, -2)) - hits)


def mean_present(values: Float, axis: int = -1) -> Float:
    """Mean without nan along an axis; nan where nothing is left."""
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(axis), present.sum(axis))


def macro_dice(matrix: Matrix) -> Float:
    """Mean Dice over the classes present: float64 [...]."""
    return mean_present(dice(matrix))


def scores(matrix: Matrix, classes: Sequence[str]) -> dict[str, Any]:
    """All scores of one matrix as plain data; a score that does not exist is None."""
    each, overlap = dice(matrix), iou(matrix)
    return {
        "macro_dice": plain(mean_present(each)),
        "accuracy": plain(accuracy(matrix)),
        "balanced_accuracy": plain(balanced_accuracy(matrix)),
        "macro_iou": plain(mean_present(overlap)),
        "micro_dice": plain(accuracy(matrix)),
        "micro_iou": plain(micro_iou(matrix)),
        "dice": {c: plain(v) for c, v in zip(classes, each, strict=True)},
        "iou": {c: plain(v) for c, v in zip(classes, overlap, strict=True)},
    }


def mean_scores(matrices: Iterable[Matrix], classes: Sequence[str]) -> dict[str, Any]:
    """Mean over ROIs or patients of each score, absent classes left out, in the form of `scores`."""
    stack = np.stack(list(matrices))  # [n, classes, classes]
    each, overlap = dice(stack), iou(stack)
    mean_dice, mean_iou = mean_present(each, 0), mean_present(overlap, 0)
    return {
        "macro_dice": plain(mean_present(mean_present(each))),
        "accuracy": plain(mean_present(accuracy(stack))),
        "balanced_accuracy": plain(mean_present(balanced_accuracy(stack))),
        "macro_iou": plain(mean_present(mean_present(overlap))),
        "micro_dice": plain(mean_present(accuracy(stack))),
        "micro_iou": plain(mean_present(micro_iou(stack))),
        "dice": {c: plain(v) for c, v in zip(classes, mean_dice, strict=True)},
        "iou": {c: plain(v) for c, v in zip(classes, mean_iou, strict=True)},
    }


def summary(matrices: Mapping[str, Matrix], patients: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
    """Pooled, per-ROI and per-patient scores of {ROI: matrix}, {ROI: patient}, with the absences of each class."""
    by_patient: dict[str, Matrix] = {}
    for roi, matrix in matrices.items():
        by_patient[patients[roi]] = by_patient.get(patients[roi], np.zeros_like(matrix)) + matrix
    stack = np.stack(list(matrices.values()))
    missing = np.isnan(dice(stack)).sum(0)
    return {
        "pooled": scores(stack.sum(0), classes),
        "per_roi": mean_scores(matrices.values(), classes),
        "per_patient": mean_scores(by_patient.values(), classes),
        "absent": {c: int(n) for c, n in zip(classes, missing, strict=True) if n},
        "confusion": stack.sum(0).tolist(),
    }


def plain(value: Any) -> float | None:
    """A number for JSON; None for nan."""
    return None if np.isnan(value) else round(float(value), 6)


def _hits(matrix: Matrix) -> Matrix:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(a: NDArray[Any], b: NDArray[Any]) -> Float:
    result: Float = np.divide(a, b, out=np.full(np.shape(a), np.nan), where=np.asarray(b) != 0)
    return result
