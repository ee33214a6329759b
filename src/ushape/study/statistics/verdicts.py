"""One word for a comparison."""

from __future__ import annotations

from typing import Literal

from ushape.errors import RunError

Verdict = Literal["better", "worse", "equivalent", "unresolved"]


def verdict(
    difference: float | None,
    low: float | None,
    high: float | None,
    p: float | None,
    margin: float | None = None,
    *,
    alpha: float = 0.05,
) -> Verdict:
    """What a difference with its interval [low, high] and adjusted p allows to say.

    equivalent    the whole interval lies within ±margin: whatever the difference is, it does not matter, even if it is
                  surely not 0 (with the usual 95% interval that is two one-sided tests at 2.5%)
    better/worse  not equivalent, p < alpha, and the interval excludes 0 on that side
    unresolved    anything else, also a score that does not exist (None or nan); with margin None nothing is equivalent

    p is that of no difference, adjusted for all the arms compared (`holm`). RunError for an interval whose ends are
    exchanged, a margin that is not positive, or alpha or p outside 0 to 1.
    """
    if (margin is not None and not margin > 0) or not 0 < alpha < 1:
        raise RunError(f"margin {margin}, alpha {alpha}: a margin is above 0, alpha between 0 and 1")
    numbers = (difference, low, high, p)
    if difference is None or low is None or high is None or p is None or any(n != n for n in numbers):
        return "unresolved"
    if low > high or not 0 <= p <= 1:
        raise RunError(f"interval [{low}, {high}] with p {p}: the ends are exchanged, or p is none")
    if margin is not None and -margin < low and high < margin:
        return "equivalent"
    if p < alpha and low > 0:
        return "better"
    if p < alpha and high < 0:
        return "worse"
    return "unresolved"
