"""Differences between arms, paired by patient, with intervals that hold for few patients and few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ushape.errors import RunError
from ushape.study.statistics.components import Uncertainty, uncertainty
from ushape.study.statistics.evidence import Counts, gather


@dataclass(frozen=True)
class Difference:
    """`arm` minus `baseline` with its interval; `p` is two-sided, of no difference, and unadjusted.

    The interval excludes 0 exactly when p < 1 - confidence.
    """

    metric: str
    aggregation: str
    difference: float
    low: float
    high: float
    confidence: float
    p: float
    patients: int
    seeds: int
    uncertainty: Uncertainty


def paired_difference(
    arm: Counts,
    baseline: Counts,
    metric: str,
    aggregation: str,
    *,
    folds: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Difference:
    """`paired_differences` of one arm."""
    return paired_differences([arm], baseline, metric, aggregation, folds=folds, confidence=confidence)[0]


def paired_differences(
    arms: Sequence[Counts],
    baseline: Counts,
    metric: str,
    aggregation: str,
    *,
    folds: ArrayLike | None = None,
    confidence: float = 0.95,
) -> list[Difference]:
    """Difference of each arm's score to the baseline's, with a jackknife-t interval over patients and runs.

    Each arm is confusion matrices [seeds, patients, classes, classes], in one order of patients. A score is that of
    one seed, averaged over seeds: `pooled` adds up the matrices of all patients, `per_patient` averages the patients'
    own scores. What is estimated is the difference that patients and seeds of the same kind would show on average.
    The interval is the difference ± `Uncertainty.reach` of the arms' differences in jackknife pseudo-values (see
    components.py), cut at ±1. With several seeds it covers the luck of both patients and runs; with `folds`, which
    labels the fold that tested each patient, it is narrower, as luck in one fold's run is not that in another's. With
    one seed it speaks of these trained networks, not of their modification. It is of fixed arithmetic: nothing is
    drawn. How often it holds, and how often others do: benchmarks/results/intervals.csv.

    RunError as `evidence.gather` has it, and for a confidence that is not between 0 and 1.
    """
    weights = np.column_stack([np.full(len(arms), -1.0), np.eye(len(arms))])
    return contrasts([baseline, *arms], weights, metric, aggregation, folds=folds, confidence=confidence)


def contrasts(
    arms: Sequence[Counts],
    weights: ArrayLike,
    metric: str,
    aggregation: str,
    *,
    folds: ArrayLike | None = None,
    confidence: float = 0.95,
) -> list[Difference]:
    """Weighted sums of the arms' scores, as effects of a factorial are, with the interval of `paired_differences`.

    weights [contrasts, arms]; each row adds up to 0, so that what is common to all arms falls out. RunError where it
    does not, or where there is not one weight for each arm.
    """
    if not 0 < confidence < 1:
        raise RunError(f"confidence {confidence} should lie between 0 and 1, say 0.95")
    rows = np.asarray(weights, np.float64).reshape(-1, len(arms))
    if np.abs(rows.sum(1)).max(initial=0.0) > 1e-9:
        raise RunError("the weights of a contrast add up to 0: it compares arms, it does not score them")
    evidence = gather(arms, metric, aggregation, folds)
    scores, values = evidence.scores().mean(1), evidence.pseudovalues()  # [A], [A, S, P]
    made = []
    for row in rows:
        difference, spread = float(row @ scores), uncertainty(np.tensordot(row, values, 1), evidence.folds)
        low, high = np.clip(difference + np.array([-1, 1]) * spread.reach(confidence), -1, 1).tolist()
        shown = (difference, low, high, confidence, spread.p(difference))
        made.append(Difference(metric, aggregation, *shown, evidence.patients, evidence.seeds, spread))
    return made
