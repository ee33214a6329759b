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
    if not 0 < confidence < 1:
        raise RunError(f"confidence {confidence} should lie between 0 and 1, say 0.95")
    evidence = gather([baseline, *arms], metric, aggregation, folds)
    scores, values = evidence.scores().mean(1), evidence.pseudovalues()  # [A], [A, S, P]
    made = []
    for score, own in zip(scores[1:], values[1:], strict=True):
        difference, spread = float(score - scores[0]), uncertainty(own - values[0], evidence.folds)
        low, high = np.clip(difference + np.array([-1, 1]) * spread.reach(confidence), -1, 1).tolist()
        shown = (difference, low, high, confidence, spread.p(difference))
        made.append(Difference(metric, aggregation, *shown, evidence.patients, evidence.seeds, spread))
    return made
