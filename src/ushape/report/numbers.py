"""Numbers as text: shares as percentages and points, with as many digits as say which side of zero they lie on."""

from __future__ import annotations

import numpy as np

from ushape.report.results import Estimate

NONE = "–"
"""Stands for a score that does not exist."""


def percent(share: float | None, digits: int = 1) -> str:
    """0.714 -> '71.4'."""
    return NONE if share is None else f"{100 * share:.{digits}f}"


def fixed(value: float | None, digits: int = 1) -> str:
    """12.345 -> '12.3'; what is no share, such as µm or minutes."""
    return NONE if value is None else f"{value:,.{digits}f}"


def signed(share: float, digits: int = 1, plus: bool = True) -> str:
    """0.021 -> '+2.1', -0.004 -> '−0.4'; what rounds to zero has no sign."""
    text = f"{100 * share:+.{digits}f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", "−") if plus or text[0] == "-" else text[1:]


def bounds(e: Estimate, margin: float) -> tuple[str, str, str]:
    """Difference, low and high in points: ('+2.1', '0.6', '3.7'); dashes where there is none.

    Digits are added until no bound is rounded to zero or to the other side of ±margin: on which side of these it lies
    is what people read.
    """
    if e.difference is None or e.low is None or e.high is None:
        return NONE, NONE, NONE
    ends = [b for b in (e.low, e.high) if b != 0]

    def tells(digits: int) -> bool:
        shown = [abs(round(100 * b, digits)) / 100 for b in ends]
        return all(s > 0 and np.sign(s - margin) == np.sign(abs(b) - margin) for s, b in zip(shown, ends, strict=True))

    digits = next((d for d in (1, 2) if tells(d)), 3)
    return signed(e.difference, digits), signed(e.low, digits, plus=False), signed(e.high, digits, plus=False)


def interval(e: Estimate, margin: float) -> tuple[str, str]:
    """Difference and interval in points: ('+2.1', '[0.6, 3.7]'); the second is empty where there is none."""
    difference, low, high = bounds(e, margin)
    return difference, "" if low == NONE else f"[{low}, {high}]"


def side(e: Estimate) -> int:
    """1: the whole interval lies above zero; -1: below; 0: it includes zero, or there is none."""
    if e.low is None or e.high is None:
        return 0
    return 1 if e.low > 0 else -1 if e.high < 0 else 0


def p_value(p: float | None) -> str:
    """'.008', '< .001', '1'; a dash for none."""
    if p is None:
        return NONE
    shown = next(s for s in (f"{p:.{d}f}" for d in range(3, 18)) if all(_same_side(float(s), p, at) for at in LEVELS))
    return "< .001" if p < 0.001 else "1" if shown == "1.000" else shown.lstrip("0")


LEVELS = (0.05, 0.025)
"""What decides: of no difference, and of no equivalence on either side. A p that is not there is not shown there."""


def _same_side(shown: float, p: float, level: float) -> bool:
    return (shown < level, shown > level) == (p < level, p > level)


def p_told(p: float | None) -> str:
    """'p = .008', 'p < .001'."""
    told = p_value(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def points(share: float) -> str:
    """A margin: 0.01 -> '1 point', 0.005 -> '0.5 points'."""
    number = f"{100 * share:.3g}"
    return f"{number} point{'' if number == '1' else 's'}"


def count(n: int, noun: str) -> str:
    """'1 patient', '10 patients', '1,200 steps', '2 studies'."""
    several = noun[:-1] + "ies" if noun.endswith("dy") else noun + "s"
    return f"{n:,} {noun if n == 1 else several}"


def listed(names: list[str], joint: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}" if names else NONE
