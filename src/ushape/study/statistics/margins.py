"""Can "no difference that matters" be concluded? Not by a large p: by two one-sided tests against a margin."""

from __future__ import annotations

from dataclasses import dataclass

from ushape.errors import RunError
from ushape.study.statistics.paired import Difference


@dataclass(frozen=True)
class Equivalence:
    """`p` small: the difference lies within ±margin."""

    margin: float
    p: float
    p_low: float
    """Of a difference of -margin or below."""
    p_high: float
    """Of a difference of +margin or above; p is the larger of the two."""


def equivalence(found: Difference, margin: float) -> Equivalence:
    """Two one-sided tests of a paired difference (Schuirmann 1987, 10.1007/BF01068419), with its own error.

    Both must reject at alpha for the arms to be equivalent, which is so exactly when the interval of confidence
    1 - 2 alpha lies within ±margin. `margin` is in units of the score (0.01 is one point of Dice) and to be stated
    before results are seen; RunError where it is not positive.
    """
    if not margin > 0:
        raise RunError(f"margin {margin}: give the largest difference that does not matter, above 0, say 0.01")
    p_low = found.uncertainty.one_sided(margin + found.difference)
    p_high = found.uncertainty.one_sided(margin - found.difference)
    return Equivalence(margin, max(p_low, p_high), p_low, p_high)
