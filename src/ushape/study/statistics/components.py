"""Where the uncertainty comes from: patients, runs, and what is left. Crossed random effects by ANOVA moments.

The model of a value of patient p under seed s, where f is the fold that tests p:

    value[s, p] = mean + patient[p] + run[f, s] + rest[s, p]

A run is one training: it is shared by all patients of its fold, so that more patients do not wear off its luck, nor
more seeds that of the patients. It is the multi-reader multi-case model of Dorfman, Berbaum and Metz 1992 (Invest
Radiol 27:723) with runs for readers and patients for cases; pooled scores enter by their jackknife pseudo-values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from ushape.errors import RunError
from ushape.study.statistics.evidence import Counts, Float, gather


@dataclass(frozen=True)
class Components:
    """Variances of a value [seeds, patients], in squared units of the score."""

    patient: float
    """Of a patient, whatever the run."""
    seed: float
    """Of a run (of one seed, in one fold), whatever the patient."""
    rest: float
    """Of a patient in a run: what neither explains."""


@dataclass(frozen=True)
class Uncertainty:
    """Sampling error of a mean over patients and runs: two variances, each with its degrees of freedom."""

    patient: float
    """Variance from which patients were drawn (and from the rest)."""
    patient_freedom: float
    seed: float
    """Variance from which runs were drawn; 0 where none was found, or where one seed cannot show it."""
    seed_freedom: float

    @property
    def standard(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.patient + self.seed))

    def reach(self, confidence: float) -> float:
        """Half the width of the interval: sqrt(patient * t(patients - 1)^2 + seed * t(runs)^2).

        Each part has the t quantile of its own degrees of freedom (Howe 1974, 10.1080/01621459.1974.10480206; Zou and
        Donner 2008, 10.1002/sim.3095). Satterthwaite's single t, usual with this model, holds too seldom where a few
        seeds carry much of the variance: their luck decides how many degrees of freedom are granted.
        """
        return float(np.sqrt(self._squared(1 - confidence)))

    def p(self, distance: float) -> float:
        """Two-sided p of an estimate at that distance from its null: the level at which `reach` just gets there."""
        if distance == 0:
            return 1.0
        if self._squared(1e-100) <= distance**2:
            return 0.0
        if self.seed == 0:
            return float(2 * special.stdtr(self.patient_freedom, -abs(distance) / np.sqrt(self.patient)))
        level = optimize.brentq(lambda x: self._squared(10**x) - distance**2, -100.0, 0.0, xtol=1e-12)
        return float(10**level)

    def one_sided(self, excess: float) -> float:
        """One-sided p of an estimate that lies `excess` on the wanted side of its null (negative: on the other)."""
        half = self.p(excess) / 2
        return half if excess >= 0 else 1 - half

    def _squared(self, level: float) -> float:
        made = self.patient * special.stdtrit(self.patient_freedom, level / 2) ** 2
        if self.seed:
            made += self.seed * special.stdtrit(self.seed_freedom, level / 2) ** 2
        return float(made)


def variance_components(
    arm: Counts, metric: str, aggregation: str, *, baseline: Counts | None = None, folds: ArrayLike | None = None
) -> Components:
    """Variance components of an arm's score, or of its difference to a baseline.

    Both are matrices [seeds, patients, classes, classes]; see `evidence.gather` for what is left out, for `folds` and
    for errors. RunError for one seed, which cannot tell a run from a patient.
    """
    evidence = gather([arm] if baseline is None else [arm, baseline], metric, aggregation, folds)
    values = evidence.pseudovalues()
    return components(values[0] if baseline is None else values[0] - values[1], evidence.folds)


def components(values: Float, folds: ArrayLike | None = None) -> Components:
    """Variance components of values [seeds, patients] by ANOVA moments; what turns out negative is 0.

    Mean squares between patients, between the runs of a fold, and of the rest are set to their expectations and
    solved (Searle, Casella and McCulloch 1992, section 4.3). RunError for one seed or one patient, or where each
    patient has a fold of its own.
    """
    patients, numbered = _layout(values, folds)
    seeds = len(values)
    if seeds < 2:
        raise RunError("one seed cannot tell the luck of a run from a patient: run at least 2 seeds")
    sizes = np.bincount(numbered)
    if len(sizes) == patients:
        raise RunError("each patient is alone in its fold: the luck of a run and a patient cannot be told apart")
    between, runs, rest = _mean_variances(values, numbered)
    share = ((sizes / patients) ** 2).sum()  # how much of a run's variance is left in the mean of one seed
    seed = max(runs.sum() - rest, 0) * seeds / share
    spread = (1 - share) * patients / (patients - 1)  # of folds' runs, which show up between patients too
    patient = patients * between - (seed * spread / seeds + rest * patients)
    return Components(max(float(patient), 0.0), float(seed), float(rest * patients * seeds))


def uncertainty(values: Float, folds: ArrayLike | None = None) -> Uncertainty:
    """Sampling error of the mean of values [seeds, patients].

    Its variance is (MS patients + MS runs - MS rest) / (patients * seeds) with crossed runs; with folds, the part of
    runs is added up over folds. MS rest is taken off the part of the runs, which is not let below 0. Between patients
    of different folds the runs' luck counts already once (at most 1 / patients of it): left in, to be on the safe
    side. One seed shows nothing of its own luck, and the error is then that of the trained networks.
    """
    patients, numbered = _layout(values, folds)
    seeds, sizes = len(values), np.bincount(numbered)
    if seeds < 2 or len(sizes) == patients:
        between = values.mean(0).var(ddof=1) / patients
        return Uncertainty(float(between), patients - 1, 0.0, 0.0)
    between, runs, rest = _mean_variances(values, numbered)
    weights = sizes.astype(np.float64) ** 2
    freedom = (seeds - 1) * weights.sum() ** 2 / (weights**2).sum()  # Satterthwaite's, by the folds' sizes alone
    return Uncertainty(float(between), patients - 1, float(max(runs.sum() - rest, 0.0)), float(freedom))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of values [n], the lower and the upper end of its t interval: what `uncertainty` gives for one seed."""
    row = np.asarray(values, np.float64)
    mean, reach = float(row.mean()), uncertainty(row[None]).reach(confidence)
    return mean, mean - reach, mean + reach


def _mean_variances(values: Float, numbered: NDArray[np.intp]) -> tuple[float, Float, float]:
    """What patients, the runs of each fold [folds], and the rest each contribute to the variance of the mean."""
    seeds, patients = values.shape
    sizes = np.bincount(numbered)
    mean = values.mean(0)  # [P]
    runs = np.stack([np.bincount(numbered, row) / sizes for row in values])  # [S, F]
    rest = values - mean - (runs - runs.mean(0))[:, numbered]  # [S, P]
    freedom = (seeds - 1) * (patients - len(sizes))
    return (
        float(mean.var(ddof=1)) / patients,
        (sizes / patients) ** 2 * runs.var(0, ddof=1) / seeds,
        float((rest**2).sum()) / freedom / patients / seeds,
    )


def _layout(values: Float, folds: ArrayLike | None) -> tuple[int, NDArray[np.intp]]:
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise RunError(f"values should be finite, [seeds, at least 2 patients], not of shape {values.shape}")
    patients = values.shape[1]
    labels = np.zeros(patients, np.intp) if folds is None else np.asarray(folds)
    if labels.shape != (patients,):
        raise RunError(f"{labels.size} folds for {patients} patients: give the fold of each patient")
    return patients, np.unique(labels, return_inverse=True)[1]
