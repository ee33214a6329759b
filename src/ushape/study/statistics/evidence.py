"""What each patient adds to a score, so that any score can be computed anew for any choice of patients and runs.

A pooled score is a function of sums over patients (hits and pixels of each class); a per-patient score is a sum of
scores over a count. Jackknife, bootstrap and permutation are then the same few lines for every metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice, mean_present

Counts = NDArray[np.int64]
Float = NDArray[np.float64]

METRICS: dict[str, Callable[[Counts], Float]] = {"macro_dice": macro_dice, "accuracy": accuracy}
AGGREGATIONS = ("pooled", "per_patient")


@dataclass(frozen=True)
class Evidence:
    """Arms over the same patients and seeds, as sums.

    `parts` [arms, seeds, patients, parts] is what a patient adds up to; `score` takes such sums [..., parts] to scores
    [...]. `folds` [patients] numbers from 0 the fold that tested each patient: patients of a fold share a run.
    """

    parts: Float
    score: Callable[[Float], Float]
    folds: NDArray[np.intp]

    @property
    def patients(self) -> int:
        return self.parts.shape[2]

    @property
    def seeds(self) -> int:
        return self.parts.shape[1]

    def scores(self) -> Float:
        """Score over all patients of each arm and seed: [arms, seeds]."""
        return self.score(self.parts.sum(2))

    def pseudovalues(self) -> Float:
        """Each patient's part in the score, by the jackknife: [arms, seeds, patients].

        P * score - (P - 1) * score without the patient (Tukey 1958); for a per-patient mean it is the patient's own
        score. A class that no other patient has in truth is left out of the score without the patient, whether or not
        an arm predicts it there.
        """
        total = self.parts.sum(2, keepdims=True)  # [A, S, 1, K]
        without = self.score(total - self.parts)  # [A, S, P]
        return self.patients * self.score(total) - (self.patients - 1) * without


def gather(arms: Sequence[Counts], metric: str, aggregation: str, folds: ArrayLike | None = None) -> Evidence:
    """Confusion matrices [seeds, patients, classes, classes] of each arm -> Evidence.

    Patients without a counted pixel, in truth or prediction, have no score and are left out (so `patients` may be
    fewer); a class that a patient or the whole has in neither has no Dice and is left out of that mean. `folds`
    labels the fold of each patient; without it all patients of a seed are taken to share one run. RunError for arms of
    different shape, an unknown metric or aggregation, negative counts, fewer than 2 patients that count, or one that
    counts in some arms or seeds only.
    """
    shapes = {np.shape(a) for a in arms}
    if len(shapes) != 1:
        raise RunError(f"arms of different shape cannot be paired: {' and '.join(map(str, sorted(shapes)))}")
    stack = np.stack([np.asarray(a) for a in arms])  # [A, S, P, C, C]
    if stack.ndim != 5 or stack.shape[-1] != stack.shape[-2]:
        raise RunError(f"an arm should be matrices [seeds, patients, classes, classes], not of shape {stack.shape[1:]}")
    if metric not in METRICS or aggregation not in AGGREGATIONS:
        raise RunError(f"{metric} {aggregation}: metrics are {', '.join(METRICS)}, {' or '.join(AGGREGATIONS)}")
    if stack.size and stack.min() < 0:
        raise RunError("a confusion matrix holds counts of pixels: none can be negative")
    labels = np.zeros(stack.shape[2], np.intp) if folds is None else np.asarray(folds)
    if labels.shape != stack.shape[2:3]:
        raise RunError(f"{labels.size} folds for {stack.shape[2]} patients: give the fold of each patient")

    pixels = stack.sum((3, 4))  # [A, S, P]
    counted = (pixels > 0).any((0, 1))  # [P]
    if ((pixels > 0) != counted).any():
        raise RunError("a patient has counted pixels in some arms or seeds and none in others: they cannot pair up")
    if counted.sum() < 2:
        raise RunError(f"a paired comparison needs at least 2 patients with counted pixels, not {counted.sum()}")
    stack = stack[:, :, counted]
    numbered = np.unique(labels[counted], return_inverse=True)[1]
    if aggregation == "per_patient":
        own = METRICS[metric](stack)  # [A, S, P]
        return Evidence(np.stack([own, np.ones(own.shape)], -1), _ratio, numbered)
    hits = np.diagonal(stack, axis1=-2, axis2=-1).astype(np.float64)  # [A, S, P, C]
    if metric == "macro_dice":
        truth = stack.sum(-1)  # pixels that are the class
        both = truth + stack.sum(-2)  # and those that were called so
        invented = ~(truth > 0).any((0, 1, 2))  # [C]
        return Evidence(np.concatenate([2 * hits, both, truth], -1), partial(_macro, invented=invented), numbered)
    return Evidence(np.stack([hits.sum(-1), pixels[:, :, counted]], -1), _ratio, numbered)


def patient_scores(arm: Counts, metric: str) -> Float:
    """Each patient's own score, averaged over seeds, of matrices [seeds, patients, classes, classes]: [patients].

    nan for a patient without a counted pixel. This is what ranks and signs of patients are computed from.
    """
    if np.ndim(arm) != 4 or metric not in METRICS:
        raise RunError(f"{metric} of {np.shape(arm)}: give {' or '.join(METRICS)}, and an arm's matrices")
    return mean_present(METRICS[metric](arm), 0)


def patient_differences(arm: Counts, baseline: Counts, metric: str) -> Float:
    """`patient_scores` of the arm less those of the baseline, patients without a score left out: [patients].

    RunError for arms of different shape or when no patient is left.
    """
    if np.shape(arm) != np.shape(baseline):
        raise RunError(f"arms of different shape cannot be paired: {np.shape(arm)} and {np.shape(baseline)}")
    differences = patient_scores(arm, metric) - patient_scores(baseline, metric)
    kept: Float = differences[~np.isnan(differences)]
    if not len(kept):
        raise RunError("no patient has a counted pixel: there is nothing to compare")
    return kept


def _ratio(sums: Float) -> Float:
    """[..., 2] -> [...]"""
    return sums[..., 0] / sums[..., 1]


def _macro(sums: Float, invented: NDArray[np.bool_]) -> Float:
    """Twice the hits, the pixels in truth and prediction, those in truth [..., 3 * classes] -> macro Dice [...].

    A class counts where these patients have it in truth, so that it counts for all arms or for none; of the classes
    that no patient at all has (`invented` [classes]), those that are predicted.
    """
    hits, pixels, truth = np.split(sums, 3, -1)
    there = (pixels > 0) & ((truth > 0) | invented)
    return mean_present(np.divide(hits, pixels, out=np.full(hits.shape, np.nan), where=there))
