"""Wording: a verdict says what the interval holds and no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ushape.report import words
from ushape.report.results import Comparison, read

Study = Callable[..., Path]
Raw = dict[str, Any]

C = Comparison("unet+residual", "unet", "macro_dice", "pooled", 0.021, 0.006, 0.037, 0.95, 10, 0.008)


def verdict(difference: float | None, low: float | None, high: float | None) -> str:
    return "".join(words.verdict(dataclasses.replace(C, difference=difference, low=low, high=high)))


def test_interval_above_zero() -> None:
    told = "unet+residual beats unet by 2.1 points of pooled macro Dice [0.6, 3.7] (95% interval over 10 patients"
    assert verdict(0.021, 0.006, 0.037) == f"{told}, p = .008 after Holm)."


@pytest.mark.parametrize(
    ("p", "told"), [(None, ""), (0.0004, ", p < .001"), (0.0316, ", p = .032"), (0.9996, ", p = 1"), (1.0, ", p = 1")]
)
def test_p_values(p: float | None, told: str) -> None:
    assert words.adjusted(p) == told + " after Holm" * bool(told)


def test_interval_below_zero() -> None:
    told = verdict(-0.021, -0.037, -0.006)
    assert told.startswith("unet+residual loses to unet: −2.1 points of pooled macro Dice [−3.7, −0.6] (95%")


@pytest.mark.parametrize(("low", "high"), [(-0.012, 0.02), (0.0, 0.02), (-0.02, 0.0)])
def test_interval_with_zero_is_no_difference_and_no_equality(low: float, high: float) -> None:
    told = verdict(0.004, low, high)
    assert told.startswith("No difference could be shown between unet+residual and unet: +0.4 points")
    assert "equal" not in told
    assert "same" not in told


def test_missing_score_is_not_compared() -> None:
    assert verdict(None, None, None) == "unet+residual could not be compared with unet: a score is missing."


def test_a_bound_beside_zero_keeps_its_side() -> None:
    """[0.0, 3.7] beside `beats` would confuse; digits are added."""
    assert words.interval(dataclasses.replace(C, low=0.0003)) == ("+2.10", "[0.03, 3.70]")
    assert words.interval(dataclasses.replace(C, low=0.0)) == ("+2.1", "[0.0, 3.7]")


@given(st.floats(-1, 1), st.integers(1, 3))
def test_signed_never_prints_minus_zero(share: float, digits: int) -> None:
    text = words.signed(share, digits)
    assert float(text.replace("−", "-")) == round(float(f"{100 * share:.{digits}f}"), digits)
    assert (text[0] in "+−") == bool(text.strip("+−0."))


def test_percent() -> None:
    assert words.percent(0.7144) == "71.4"
    assert words.percent(None) == "–"


@pytest.mark.parametrize(
    ("arms", "title"),
    [
        (1, "How well does unet[width=16] do on bcss-seed10?"),
        (2, "Does unet[width=16]+residual beat unet[width=16] on bcss-seed10?"),
        (4, "Does any of 3 arms beat unet[width=16] on bcss-seed10?"),
    ],
)
def test_question(study: Study, arms: int, title: str) -> None:
    results = read(study(arms=arms, rois=2) / "results.json")
    assert words.question(results) == title
    folder = dataclasses.replace(results.data, folder="/data/sets/bcss-seed10")
    assert words.question(dataclasses.replace(results, data=folder)) == title


def test_absences(study: Study) -> None:
    def edit(results: Raw) -> None:
        results["arms"][0]["absent"] = {"necrosis": 4}
        results["arms"][1]["absent"] = {"necrosis": 4, "stroma": 1}

    seeds = words.absences(read(study(seeds=(0, 1), edit=edit) / "results.json"))
    assert all("of 12 predictions (6 ROIs x 2 seeds)" in note for note in seeds)
    necrosis, stroma = sorted(words.absences(read(study(edit=edit) / "results.json")))
    assert necrosis.startswith("necrosis was in neither mask nor prediction in 4 of 6 ROIs")
    assert "0 (unet[width=16]); 1 (unet[width=16]+residual) of 6 ROIs" in stroma


def test_limits_name_few_patients_seeds_and_arms(study: Study) -> None:
    one = " ".join(words.limits(read(study() / "results.json")))
    assert "fewer than about 20 patients" in one
    assert "One seed" in one
    assert "arms were compared" not in one
    more = " ".join(words.limits(read(study(arms=3, seeds=(0, 1), rois=2) / "results.json")))
    assert "2 seeds" in more
    assert "2 arms were compared" in more
