"""Differences between arms, paired by patient: the patient is the unit, folds and seeds lie inside.

Pure numpy and scipy. An arm's evidence is an array of confusion matrices [seeds, patients, classes, classes].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice, mean_present

Float = NDArray[np.float64]

METRICS: dict[str, Callable[[NDArray[np.int64]], Float]] = {"macro_dice": macro_dice, "accuracy": accuracy}
AGGREGATIONS = ("pooled", "per_patient")


@dataclass(frozen=True)
class Difference:
    """`arm` minus `baseline` with its interval."""

    metric: str
    aggregation: str
    difference: float
    low: float
    high: float
    confidence: float
    patients: int
    resamples: int


def paired_difference(
    arm: NDArray[np.int64],
    baseline: NDArray[np.int64],
    metric: str,
    aggregation: str,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of a score, with a bootstrap interval over patients; both arrays [seeds, patients, classes, classes].

    Each resample draws patients with replacement and, within it, seeds with replacement; both arms get the same
    draws. `pooled` adds up the matrices of the patients drawn, `per_patient` averages the patients' own scores. The
    interval is the expanded percentile interval of Hesterberg 2015 (10.1080/00031305.2015.1089789, section 4.4),
    whose tails are widened to those of Student's t with patients - 1 degrees of freedom, since the plain percentile
    interval is too narrow for few patients. RunError where the arrays do not match or there is one patient only.
    """
    if arm.shape != baseline.shape or arm.ndim != 4:
        raise RunError(f"arms of different shape cannot be paired: {arm.shape} and {baseline.shape}")
    seeds, patients = arm.shape[:2]
    if patients < 2:
        raise RunError("a paired comparison needs at least 2 patients")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), resamples)  # [R, P]
    mixed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds  # [R, S]
    one = np.ones((1, patients), np.int64)
    observed, resampled = [], []
    for each in (arm, baseline):
        by_seed = [_score(each[s], one, metric, aggregation)[0] for s in range(seeds)]
        observed.append(np.mean(by_seed))
        scores = np.stack([_score(each[s], drawn, metric, aggregation) for s in range(seeds)], axis=1)  # [R, S]
        resampled.append((scores * mixed).sum(1))
    differences = resampled[0] - resampled[1]
    differences = differences[~np.isnan(differences)]
    tail = (1 - confidence) / 2
    expanded = stats.norm.cdf(np.sqrt(patients / (patients - 1)) * stats.t.ppf(tail, patients - 1))
    low, high = np.quantile(differences, [expanded, 1 - expanded])
    return Difference(
        metric, aggregation, float(observed[0] - observed[1]), float(low), float(high), confidence, patients, resamples
    )


def _score(matrices: NDArray[np.int64], drawn: NDArray[np.int64], metric: str, aggregation: str) -> Float:
    """Scores of resamples: matrices [P, C, C], times each patient is drawn [R, P] -> float64 [R]."""
    compute = METRICS[metric]
    if aggregation == "pooled":
        pooled = (drawn @ matrices.reshape(len(matrices), -1)).reshape(-1, *matrices.shape[1:])  # [R, C, C]
        return compute(pooled)
    own = compute(matrices)  # [P]
    expanded = np.where(drawn > 0, own, np.nan)  # patients not drawn, or without a score, are left out
    weights = np.where(np.isnan(expanded), 0, drawn)
    total = weights.sum(1)
    mean = (weights * np.nan_to_num(expanded)).sum(1) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, mean_present(np.full((1, 1), np.nan)))
