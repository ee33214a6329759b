"""From confusion matrices before and after a degradation to what it costs, with intervals over patients."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ushape.data.rois import Roi
from ushape.predict.degrade import Degradation
from ushape.predict.score import Matrix, plain
from ushape.study.held_out import Arm
from ushape.study.statistics import METRICS, paired_difference

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """A pooled score, mean over seeds, as a share; how far it fell from that of the undegraded images, and between
    what bounds at a confidence of 95%. None where there is no such number: fewer than two patients have no bounds."""

    value: float | None
    fall: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Fall:
    """An arm under one degradation; strength None: undegraded."""

    arm: str
    degradation: str
    strength: float | None
    macro_dice: Score
    accuracy: Score
    patients: int
    seeds: int


def falls(
    arm: Arm, counts: Mapping[Degradation | None, Sequence[Mapping[str, Matrix]]], rois: Sequence[Roi]
) -> list[Fall]:
    """What each degradation costs the arm. `counts`: of each degradation and seed, ROI -> confusion matrix.

    The fall is undegraded minus degraded, paired by patient and run, with the interval of `paired_differences`.
    """
    patients = sorted({roi.patient for roi in rois})

    def matrices(how: Degradation | None) -> NDArray[np.int64]:
        """[seeds, patients, classes, classes]"""
        return np.stack(
            [
                np.stack([np.sum([seed[roi.name] for roi in rois if roi.patient == p], axis=0) for p in patients])
                for seed in counts[how]
            ]
        )

    before, folds = matrices(None), arm.folds(patients)
    rows = []
    for how in counts:
        after = matrices(how) if how else None
        dice, accuracy = (_score(metric, before, after, folds) for metric in ("macro_dice", "accuracy"))
        kind, strength = (how.kind, how.strength) if how else ("none", None)
        rows.append(Fall(arm.name, kind, strength, dice, accuracy, len(patients), len(arm.seeds)))
    return rows


def _score(metric: str, before: NDArray[np.int64], after: NDArray[np.int64] | None, folds: list[int]) -> Score:
    """`before` and `after` [seeds, patients, classes, classes]; after None: nothing was done."""
    pooled = [plain(METRICS[metric](each.sum(1)).mean()) for each in (before, after) if each is not None]
    if after is None or pooled[0] is None or pooled[1] is None:
        return Score(pooled[-1])
    if (before.sum((0, 2, 3)) > 0).sum() < 2:  # nothing can be said of other patients
        return Score(pooled[1], round(pooled[0] - pooled[1], 6))
    found = paired_difference(before, after, metric, "pooled", folds=folds, confidence=CONFIDENCE)
    return Score(pooled[1], *(round(v, 6) for v in (found.difference, found.low, found.high)))


def table(rows: Sequence[Fall]) -> str:
    """CSV, a row for each arm and degradation, shares in full precision; an empty cell: there is no such number."""
    text = io.StringIO()
    scores = [f"{metric}{part}" for metric in ("macro_dice", "accuracy") for part in ("", "_fall", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "degradation", "strength", *scores, "patients", "seeds"])
    for row in rows:
        numbers = [v for score in (row.macro_dice, row.accuracy) for v in asdict(score).values()]
        strength = "" if row.strength is None else f"{row.strength:g}"
        writer.writerow([row.arm, row.degradation, strength, *numbers, row.patients, row.seeds])
    return text.getvalue()
