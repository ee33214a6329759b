"""Tests that permute: is the arm's advantage more than chance would give to either of two equal networks?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ushape.errors import RunError
from ushape.study.statistics.evidence import Counts, Float, gather

TIE = 1e-12
"""Differences of scores this close are equal: they came from sums in another order."""


def permutation_p(
    arm: Counts, baseline: Counts, metric: str, aggregation: str, *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p of an arm against a baseline, exchanging their matrices patient by patient.

    Both are [seeds, patients, classes, classes]. If it makes no difference which network saw a patient, each
    patient's two results (of all seeds together) may be exchanged; p is the share of exchanges whose difference is at
    least as large as the one seen. For per-patient scores that is Fisher's sign-flip test of the mean. All
    2^(patients - 1) exchanges are counted where they are no more than `resamples`; else `resamples` are drawn, and
    p = (1 + as large) / (1 + resamples) (Phipson and Smyth 2010, 10.2202/1544-6115.1585).

    It takes the trained networks as they are: luck of a run, which all patients share, counts as a difference. Where
    runs vary, the p of `paired_differences` is the one that speaks of the modification. RunError as
    `evidence.gather` has it, and for fewer than 1 resample.
    """
    if resamples < 1:
        raise RunError(f"{resamples} resamples: draw at least 1")
    evidence = gather([arm, baseline], metric, aggregation)
    seeds, patients, parts = evidence.parts.shape[1:]
    exact = patients <= 1 + np.log2(resamples)
    flips = _every(patients) if exact else _some(patients, resamples, seed)  # [R, P]
    own, other = (each.transpose(1, 0, 2).reshape(patients, -1) for each in evidence.parts)  # [P, S * K]
    both = own.sum(0) + other.sum(0)
    moved = other.sum(0) + flips @ (own - other)  # [R, S * K]
    scores = [evidence.score(sums.reshape(-1, seeds, parts)).mean(1) for sums in (moved, both - moved)]
    seen = abs(np.subtract(*evidence.scores().mean(1)))
    large = int((abs(scores[0] - scores[1]) >= seen - TIE).sum())
    return large / len(flips) if exact else (1 + large) / (1 + len(flips))


def wilcoxon_p(differences: Float) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of patients' differences [patients], exact for any number of them.

    |differences| are ranked together, equal ones by their mean rank; zeros are ranked and then have no sign (Pratt
    1959, 10.1080/01621459.1959.10501526). The distribution of the sum of signed ranks, each sign as likely as the
    other, is added up rank by rank, so that ties need no approximation. 1.0 if all are zero. RunError for anything
    but finite numbers, or fewer than 2 patients.
    """
    if np.ndim(differences) != 1 or len(differences) < 2 or not np.isfinite(differences).all():
        raise RunError(f"give the finite differences of at least 2 patients, not {np.shape(differences)}")
    doubled = np.rint(2 * stats.rankdata(abs(differences))).astype(np.int64)  # twice, as mean ranks may end in a half
    ranks = doubled[differences != 0]
    seen = int(ranks[differences[differences != 0] > 0].sum())
    chance = np.ones(1)  # of each sum of positive ranks so far
    for rank in ranks:
        chance = np.append(chance, np.zeros(rank)) / 2 + np.append(np.zeros(rank), chance) / 2
    tail = min(chance[: seen + 1].sum(), chance[seen:].sum())
    return float(min(2 * tail, 1.0))


def _every(patients: int) -> Float:
    """All exchanges that keep the last patient as it is (exchanging all patients changes only the sign)."""
    numbers: NDArray[np.int64] = np.arange(2 ** (patients - 1))[:, None]
    return (1 - (numbers >> np.arange(patients) & 1)).astype(np.float64)


def _some(patients: int, resamples: int, seed: int) -> Float:
    return np.random.default_rng(seed).integers(0, 2, (resamples, patients)).astype(np.float64)
