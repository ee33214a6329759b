"""Numbers as text: which side of zero they lie on, and nothing that looks like more than it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ushape.report import numbers
from ushape.report.results import Estimate


def estimate(difference: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate("macro_dice", "pooled", difference, low, high, 0.95, 10, 0.008, 0.4, "better")


def test_a_bound_beside_zero_keeps_its_side() -> None:
    """[0.0, 3.7] beside `beats` would confuse; digits are added."""
    assert numbers.interval(estimate(0.021, 0.0003, 0.037), 0.01) == ("+2.10", "[0.03, 3.70]")
    assert numbers.interval(estimate(0.021, 0.0, 0.037), 0.01) == ("+2.1", "[0.0, 3.7]")
    assert numbers.interval(estimate(None, None, None), 0.01) == ("–", "")
    within, beyond = estimate(0.0, -0.0096, 0.0096), estimate(0.0, -0.0104, 0.0093)
    assert numbers.interval(within, 0.01) == ("0.00", "[−0.96, 0.96]"), "within a margin of one point, and seen to be"
    assert numbers.interval(beyond, 0.01) == ("0.00", "[−1.04, 0.93]")
    assert numbers.interval(beyond, 0.02) == ("0.0", "[−1.0, 0.9]")


@given(st.floats(-1, 1), st.integers(1, 3))
def test_signed_never_prints_minus_zero(share: float, digits: int) -> None:
    text = numbers.signed(share, digits)
    assert float(text.replace("−", "-")) == round(float(f"{100 * share:.{digits}f}"), digits)
    assert (text[0] in "+−") == bool(text.strip("+−0."))


def test_percent() -> None:
    assert numbers.percent(0.7144) == "71.4"
    assert numbers.percent(None) == "–"


@pytest.mark.parametrize(
    ("p", "told"),
    [
        (None, "–"),
        (0.0004, "< .001"),
        (0.0316, ".032"),
        (0.9996, "1"),
        (1.0, "1"),
        (0.008, ".008"),
        (0.0496, ".0496"),
        (0.0504, ".0504"),
        (0.049996, ".049996"),
        (0.0251, ".0251"),
    ],
)
def test_p_values(p: float | None, told: str) -> None:
    assert numbers.p_value(p) == told


def test_p_told() -> None:
    assert numbers.p_told(0.0004) == "p < .001"
    assert numbers.p_told(0.0316) == "p = .032"


@pytest.mark.parametrize(("margin", "told"), [(0.01, "1 point"), (0.005, "0.5 points"), (0.02, "2 points")])
def test_points(margin: float, told: str) -> None:
    assert numbers.points(margin) == told


def test_lists_and_counts() -> None:
    assert [numbers.listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["–", "a", "a and b", "a, b and c"]
    assert [numbers.count(1, "patient"), numbers.count(1200, "step")] == ["1 patient", "1,200 steps"]
