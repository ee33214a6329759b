"""Many arms by their ranks within patients: Friedman's test and the critical difference of Nemenyi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ushape.errors import RunError
from ushape.study.statistics.evidence import Float


@dataclass(frozen=True)
class Ranking:
    """What a critical-difference diagram shows; arms from the best mean rank to the worst."""

    arms: tuple[str, ...]
    ranks: tuple[float, ...]
    """Mean over patients; 1 is best."""
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    """Arms whose mean ranks lie within less than the critical difference, as many as go together: the bars of a
    diagram. Arms without one are in none."""
    chi_square: float
    """Friedman's statistic, corrected for ties."""
    p: float
    """Of no difference among all arms, by permutations within patients."""
    patients: int


def critical_difference(
    scores: Mapping[str, Float], *, alpha: float = 0.05, resamples: int = 10_000, seed: int = 0
) -> Ranking:
    """Rank arms within each patient by scores [patients] (higher is better, ties share) and test (Demšar 2006).

    Demšar, JMLR 7:1, section 3.2. chi_square is Friedman's (1937). If no arm is better, a patient's ranks may stand in
    any order: p is the share (1 + as large) / (1 + resamples) of such orders, drawn for all patients, whose statistic
    is at least as large (Phipson and Smyth 2010); approximations by chi-square or F are poor for few patients. Two arms
    differ (Nemenyi 1963) if their mean ranks do by at least q sqrt(k (k + 1) / 6N), for k arms and N patients, where q
    is the upper alpha quantile of the studentised range for k groups and infinite degrees of freedom, over sqrt(2).
    Patients without a score in any arm are left out. Each patient counts alike, and so do all differences: ranks say
    which arm is more often ahead, not by how much, and seeds' luck is not in them.

    RunError for fewer than 2 arms or patients, scores of different patients, or alpha outside (0, 1).
    """
    if len(scores) < 2 or len({np.shape(s) for s in scores.values()}) != 1 or not 0 < alpha < 1:
        raise RunError("ranks need scores of at least 2 arms over the same patients, and alpha between 0 and 1")
    table = np.stack([np.asarray(s, np.float64) for s in scores.values()], -1)  # [N, k]
    table = table[~np.isnan(table).any(1)] if table.ndim == 2 else table[:0]
    patients, arms = table.shape[0], len(scores)
    if patients < 2:
        raise RunError(f"ranks need at least 2 patients with a score in every arm, not {patients}")
    ranked = stats.rankdata(-table, axis=1)  # [N, k]
    mean = ranked.mean(0)
    spread = ((ranked - (arms + 1) / 2) ** 2).sum() / (arms - 1)  # 0 if every patient ties every arm
    chi_square = float(patients**2 * ((mean - (arms + 1) / 2) ** 2).sum() / spread) if spread else 0.0
    p = _permuted_p(ranked, resamples, seed)
    quantile = stats.studentized_range.ppf(1 - alpha, arms, np.inf) / np.sqrt(2)
    critical = float(quantile * np.sqrt(arms * (arms + 1) / (6 * patients)))
    order = np.argsort(mean, kind="stable")
    names, ranks = tuple(list(scores)[i] for i in order), mean[order]
    return Ranking(names, tuple(ranks.tolist()), critical, _groups(names, ranks, critical), chi_square, p, patients)


def _permuted_p(ranked: Float, resamples: int, seed: int) -> float:
    """Of ranks [N, k]: how often the sums of arms spread as far, each patient's ranks in an order drawn at random.

    The spread of ranks within patients stays as it is, so that this orders as chi_square does.
    """

    def spread(ranks: Float) -> Float:
        """[..., N, k] -> [...]"""
        return ranks.sum(-2).var(-1)

    rng, large = np.random.default_rng(seed), 0
    for start in range(0, resamples, 1000):
        drawn = rng.permuted(np.broadcast_to(ranked, (min(1000, resamples - start), *ranked.shape)), axis=-1)
        large += int((spread(drawn) >= spread(ranked) - 1e-9).sum())
    return (1 + large) / (1 + resamples)


def _groups(names: tuple[str, ...], ranks: Float, critical: float) -> tuple[tuple[str, ...], ...]:
    """Runs of at least two neighbours within `critical` that no other run holds whole; ranks ascend."""
    made: list[tuple[str, ...]] = []
    reached = 0
    for start, rank in enumerate(ranks):
        stop = int(np.searchsorted(ranks, rank + critical, "left"))
        if stop > max(reached, start + 1):
            made.append(names[start:stop])
            reached = stop
    return tuple(made)
