"""The hierarchical bootstrap over patients, folds and seeds, the same draws for all arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ushape.errors import RunError
from ushape.study.statistics.evidence import Counts, Evidence, Float, gather

CHUNK = 500
"""Resamples computed at a time, so that they stay in a processor's cache."""


@dataclass(frozen=True)
class Bootstrap:
    """Scores of every arm, the baseline first, over all patients [arms] and in every resample [arms, resamples]."""

    observed: Float
    scores: Float
    patients: int

    def differences(self) -> Float:
        """Arms minus baseline in every resample: [arms - 1, resamples]."""
        return self.scores[1:] - self.scores[0]

    def interval(self, confidence: float = 0.95) -> Float:
        """Expanded percentile interval of each difference: [arms - 1, 2].

        Percentiles whose tails are widened to those of Student's t with patients - 1 degrees of freedom (Hesterberg
        2015, 10.1080/00031305.2015.1089789, section 4.4). It is too narrow where runs carry much of the variance:
        S seeds drawn from S show (S - 1) / S of it. `paired_differences` is the interval to report.
        """
        if not 0 < confidence < 1:
            raise RunError(f"confidence {confidence} should lie between 0 and 1, say 0.95")
        wide = np.sqrt(self.patients / (self.patients - 1)) * stats.t.ppf((1 - confidence) / 2, self.patients - 1)
        tail = stats.norm.cdf(wide)
        return np.quantile(self.differences(), [tail, 1 - tail], axis=1).T

    def best(self) -> Float:
        """Share of resamples in which each arm, the baseline first, scores highest (ties shared): [arms], sum 1."""
        winners = self.scores == self.scores.max(0)
        return (winners / winners.sum(0)).mean(1)


def bootstrap(
    arms: Sequence[Counts],
    baseline: Counts,
    metric: str,
    aggregation: str,
    *,
    folds: ArrayLike | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Bootstrap:
    """Draw patients with replacement and, in the fold of each, runs with replacement; score all arms on each draw.

    Arms are confusion matrices [seeds, patients, classes, classes]. A resample has as many patients and seeds as the
    study: its s-th seed is made of one drawn run of each fold, is scored as a seed is, and seeds are averaged. All
    arms get the same draws, so that their differences are paired. Deterministic by `seed`. RunError as
    `evidence.gather` has it, and for fewer than 1 resample.
    """
    if resamples < 1:
        raise RunError(f"{resamples} resamples: draw at least 1")
    evidence = gather([baseline, *arms], metric, aggregation, folds)
    rng = np.random.default_rng(seed)
    chunks = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    scores = np.concatenate([_resample(evidence, n, rng) for n in chunks], 1)
    return Bootstrap(evidence.scores().mean(1), scores, evidence.patients)


def _resample(evidence: Evidence, resamples: int, rng: np.random.Generator) -> Float:
    """[arms, resamples]"""
    arms, seeds, patients, parts = evidence.parts.shape
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), resamples).astype(np.float64)  # [R, P]
    total = np.zeros((resamples, seeds, arms, parts))
    for fold in range(evidence.folds.max() + 1):
        inside = evidence.folds == fold
        flat = evidence.parts[:, :, inside].transpose(2, 1, 0, 3).reshape(inside.sum(), -1)
        sums = (drawn[:, inside] @ flat).reshape(resamples, seeds, arms, parts)
        runs: NDArray[np.intp] = rng.integers(seeds, size=(resamples, seeds))
        total += np.take_along_axis(sums, runs[:, :, None, None], 1)
    return evidence.score(total).mean(1).T
