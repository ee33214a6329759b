"""How many patients and seeds a study needs to see a difference: the test's own power, from variance components."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ushape.errors import RunError
from ushape.study.statistics.components import Components

DRAWS = 20_000
"""Studies drawn for one figure of power; its own standard error is then at most 0.0035."""


def power(
    parts: Components, difference: float, *, patients: int, seeds: int, folds: int = 1, alpha: float = 0.05
) -> float:
    """Chance that `paired_differences` finds p < alpha, on the right side, if the true difference is `difference`.

    `parts` are the variance components of the difference between two arms (`variance_components` with a baseline);
    patients are spread evenly over folds, with `seeds` runs in each. Estimate and mean squares of a study are drawn
    from their distributions under the model of components.py with normal effects (fixed random numbers, so the
    answer is always the same), and each is tested as a real one would be. RunError for fewer than 2 patients or
    seeds, as many folds as patients, or alpha outside (0, 1).
    """
    _check(patients, seeds, folds, alpha)
    rng = np.random.default_rng(0)
    rest = parts.rest / patients / seeds
    runs, freedom = parts.seed / folds / seeds, folds * (seeds - 1)
    between = parts.patient / patients + rest + runs * (folds - 1) / (patients - 1)

    def drawn(mean: float, degrees: int) -> np.ndarray:
        return mean * rng.chisquare(degrees, DRAWS) / degrees

    estimate = abs(difference) + rng.standard_normal(DRAWS) * np.sqrt(parts.patient / patients + runs + rest)
    by_patient = drawn(between, patients - 1)
    by_run = np.maximum(drawn(runs + rest, freedom) - drawn(rest, (seeds - 1) * (patients - folds)), 0)
    reach = by_patient * stats.t.isf(alpha / 2, patients - 1) ** 2 + by_run * stats.t.isf(alpha / 2, freedom) ** 2
    return float((estimate > np.sqrt(reach)).mean())


def patients_needed(
    parts: Components,
    difference: float,
    *,
    seeds: int,
    folds: int = 1,
    wanted: float = 0.8,
    alpha: float = 0.05,
    most: int = 100_000,
) -> int | None:
    """Fewest patients with which `power` reaches `wanted`, or None where `most` do not: more seeds are needed then.

    RunError as `power` has it, for `wanted` outside (alpha, 1), and for a difference of 0.
    """
    if difference == 0 or not alpha < wanted < 1:
        raise RunError(
            f"a difference of {difference} with power {wanted}: give one that is not 0, and {alpha} < power < 1"
        )

    def enough(patients: int) -> bool:
        return power(parts, difference, patients=patients, seeds=seeds, folds=folds, alpha=alpha) >= wanted

    low, high = folds, max(2, folds + 1)
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_difference(
    parts: Components, *, patients: int, seeds: int, folds: int = 1, wanted: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest true difference that a study of this size finds with power `wanted`, to 0.1% of itself.

    RunError as `power` has it, and for `wanted` outside (alpha, 1). 0 where nothing varies.
    """
    if not alpha < wanted < 1:
        raise RunError(f"power {wanted} should lie between alpha {alpha} and 1")
    _check(patients, seeds, folds, alpha)
    if parts.patient == parts.seed == parts.rest == 0:
        return 0.0
    low, high = 0.0, float(np.sqrt(parts.patient + parts.seed + parts.rest))

    def enough(difference: float) -> bool:
        return power(parts, difference, patients=patients, seeds=seeds, folds=folds, alpha=alpha) >= wanted

    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(patients: int, seeds: int, folds: int, alpha: float) -> None:
    if patients < 2 or seeds < 2:
        raise RunError(f"{patients} patients, {seeds} seeds: a study that can be judged has at least 2 of both")
    if not 1 <= folds < patients:
        raise RunError(f"{folds} folds for {patients} patients: at least 1, and fewer than patients")
    if not 0 < alpha < 1:
        raise RunError(f"alpha {alpha} should lie between 0 and 1, say 0.05")
