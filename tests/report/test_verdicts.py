"""Verdicts: as much as verdict, interval and Holm's p allow, and no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.report import verdicts
from ushape.report.reading import read
from ushape.report.results import Comparison, Effect, Results, Variance

Study = Callable[..., Path]
Raw = dict[str, Any]

SHARED = ("macro_dice", "pooled", 0.021, 0.006, 0.037, 0.95, 10, 0.008, 0.4, "better")
C = Comparison(*SHARED, "unet+residual", "unet", None, None)
E = Effect(*SHARED, "residual", [])


def said(of: Comparison | Effect, **changed: Any) -> str:
    return "".join(verdicts.sentence(dataclasses.replace(of, **changed), 0.01))


def opened(study: Study, **options: Any) -> Results:
    return read(study(**options) / "results.json")


def test_better() -> None:
    told = "by 2.1 points of pooled macro Dice [0.6, 3.7], p = .008 after Holm."
    assert said(C) == f"unet+residual beats unet {told}"
    assert said(E) == f"residual helps {told}"


def test_worse() -> None:
    lost: Raw = {"difference": -0.021, "low": -0.037, "high": -0.006, "verdict": "worse"}
    assert said(C, **lost).startswith("unet+residual loses to unet by 2.1 points of pooled macro Dice [−3.7, −0.6], p")
    assert said(E, **lost).startswith("residual harms by 2.1 points")


def test_equivalent_names_the_margin() -> None:
    same: Raw = {"difference": 0.002, "low": -0.004, "high": 0.008, "verdict": "equivalent"}
    told = "within ±1 point of pooled macro Dice (+0.2 [−0.4, 0.8])."
    assert said(C, **same) == f"unet+residual: no difference to unet, {told}"
    assert said(E, **same) == f"residual: no difference, {told}"


@pytest.mark.parametrize("of", [C, E])
def test_unresolved_claims_neither_a_difference_nor_its_absence(of: Comparison | Effect) -> None:
    told = said(of, difference=-0.011, low=-0.059, high=0.036, verdict="unresolved")
    assert told.endswith("too uncertain to say: between −5.9 and +3.6 points of pooled macro Dice.")
    assert not any(word in told for word in ("no difference", "beats", "loses", "helps", "harms", "same"))


def test_an_interval_beside_zero_that_holm_does_not_let_pass() -> None:
    told = said(C, verdict="unresolved", p_holm=0.09)
    assert "too uncertain to say once all comparisons are allowed for: +2.1 points" in told
    assert "p = .090 after Holm" in told


def test_missing_score_is_not_compared() -> None:
    gone: Raw = {"difference": None, "low": None, "high": None, "verdict": "unresolved"}
    assert said(C, **gone) == "unet+residual could not be compared with unet: a score is missing."
    assert said(E, **gone) == "residual: a score is missing."


def test_an_interaction_does_not_help_or_harm() -> None:
    assert said(E, effect="a x b").startswith("a x b: each does more where the other is: +2.1 points")
    assert said(E, effect="a x b", aliases=["+ c x d"]).startswith("a x b + c x d: ")


def test_many_arms_are_named_in_groups_and_each_once(study: Study) -> None:
    results = opened(study, arms=7, rois=3)
    kinds = ["better", "better", "worse", "unresolved", "equivalent", "unresolved"]
    compared = iter(kinds)
    rows = [
        dataclasses.replace(c, verdict=next(compared))
        if (c.metric, c.aggregation) == ("macro_dice", "pooled") else c
        for c in results.comparisons
    ]  # fmt: skip
    told = verdicts.headlines(dataclasses.replace(results, comparisons=rows))
    assert [h.verdict for h in told] == ["better", "worse", "equivalent", "unresolved"]
    names = [name for h in told for name in h.said[1::2]]
    assert sorted(names) == sorted(a.name for a in results.arms[1:])
    assert told[0].said[0] == f"Better than {results.arms[0].name} (2 of 6, points of pooled macro Dice): "
    assert told[2].said[0].startswith(f"No difference to {results.arms[0].name}, within ±1 point (1 of 6")


def test_an_ablation_tells_main_effects_then_interactions(study: Study, ablated: Callable[..., None]) -> None:
    told = verdicts.headlines(opened(study, arms=4, rois=3, edit=ablated))
    assert [h.verdict for h in told] == ["better", "equivalent", "unresolved", "worse", "better", "equivalent"]
    assert "".join(told[3].said).startswith("residual x se: each does less where the other is")


def test_many_unresolved_interactions_are_counted(study: Study, ablated: Callable[..., None]) -> None:
    def edit(results: Raw) -> None:
        ablated(results, ("a", "b", "c", "d"))
        for e in results["effects"]:
            if " x " in e["effect"]:
                e.update(verdict="unresolved", low=-0.02, high=0.03)

    told = verdicts.headlines(opened(study, arms=2, rois=3, edit=edit))
    assert told[-1].said == ("6 two-way interactions: 6 too uncertain to say.",)


def test_what_changes_where_patients_count_alike(study: Study) -> None:
    results = opened(study, rois=4)
    assert {c.verdict for c in results.comparisons} == {"better"}
    assert verdicts.otherwise(results) == ()
    rows = [
        dataclasses.replace(c, verdict="unresolved") if c.aggregation == "per_patient" else c
        for c in results.comparisons
    ]
    told = "".join(verdicts.otherwise(dataclasses.replace(results, comparisons=rows)))
    assert told.startswith("Not so where every patient counts alike")
    assert f"{results.arms[1].name} undecided" in told
    assert " p = " not in told


def test_legend_says_what_would_be_needed_only_where_something_is_open(study: Study) -> None:
    results = opened(study, rois=4)
    assert "Too uncertain" not in verdicts.legend(results)
    assert "whole interval lies within ±1 point" in verdicts.legend(results)
    rows = [dataclasses.replace(c, verdict="unresolved") for c in results.comparisons]
    assert "more patients or seeds" in verdicts.legend(dataclasses.replace(results, comparisons=rows))
    assert verdicts.legend(opened(study, arms=1, rois=1)) == ""


def test_one_seed_keeps_its_caution(study: Study) -> None:
    assert verdicts.caution(opened(study, rois=1)).startswith("One seed")
    assert verdicts.caution(opened(study, rois=1, seeds=(0, 1))) == ""
    assert verdicts.caution(opened(study, rois=1, arms=1)) == ""


def test_spread_weighs_patients_against_runs(study: Study) -> None:
    results = opened(study, rois=5, seeds=(0, 1))  # 5 patients, 5 folds, 2 seeds
    assert verdicts.spread(opened(study, rois=5)) == []

    def told(*parts: float) -> str:
        rows = [dataclasses.replace(c, variance=Variance(*parts)) for c in results.comparisons]
        return "".join(verdicts.spread(dataclasses.replace(results, comparisons=rows))[0])

    # 0.0004 / 5 of patients, 0.0002 / 10 of runs, nothing else: 80% and 20%
    assert "varies by 2.0 points from patient to patient, by 1.4 from run to run" in told(4e-4, 2e-4, 0.0)
    assert "Patients make up 80% of the uncertainty of its mean, runs 20%: more patients would" in told(4e-4, 2e-4, 0.0)
    assert "more seeds would" in told(1e-5, 9e-4, 0.0)
    assert "more of both would" in told(1e-4, 2e-4, 0.0)
    empty = [dataclasses.replace(c, variance=Variance(0.0, 0.0, 0.0)) for c in results.comparisons]
    assert verdicts.spread(dataclasses.replace(results, comparisons=empty)) == []


def test_chances(study: Study) -> None:
    (found,) = verdicts.chances(opened(study, rois=3))
    assert "".join(found[1]).endswith(": better 71%, the same within ±1 point 20% and worse 9%.")

    def edit(results: Raw) -> None:
        for c in results["comparisons"]:
            if c["tests"]:
                c["tests"]["better"] = None

    assert verdicts.chances(opened(study, rois=3, edit=edit)) == []
