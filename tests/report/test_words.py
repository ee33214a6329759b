"""Sentences around the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.report import words
from ushape.report.reading import read
from ushape.report.results import Effect

Study = Callable[..., Path]
Raw = dict[str, Any]


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
    assert "chosen by scores of these patients has too good a score" in one
    assert "One seed" in one
    assert "arms were compared" not in one
    more = " ".join(words.limits(read(study(arms=3, seeds=(0, 1), rois=2) / "results.json")))
    assert "2 seeds" in more
    assert "2 arms were compared" in more
    assert "none larger than 1 point" in more


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("teacher", "study/arm", "share teachers: their luck is in no interval"),
        ("pretrained", "first", "share the weights that arms began with: their luck is in no interval"),
        ("pretrained", "auto", ""),
    ],
)
def test_what_all_seeds_share_is_told(study: Study, key: str, value: str, told: str) -> None:
    def edit(results: Raw) -> None:
        results["arms"][1]["changes"][key] = value

    made = " ".join(words.limits(read(study(edit=edit) / "results.json")))
    assert told in made
    assert ("share" in made) == bool(told)


def test_limits_hold_what_the_data_s_checks_found(study: Study) -> None:
    def edit(results: Raw) -> None:
        results["limits_of_data"] = ["Two images overlap."]

    for arms in (1, 2):
        assert words.limits(read(study(arms=arms, rois=1, edit=edit) / "results.json"))[-1] == "Two images overlap."


def effect(name: str, difference: float, verdict: str, reach: float = 1.0) -> Effect:
    low, high = difference - reach, difference + reach
    return Effect("macro_dice", "pooled", difference, low, high, 0.95, 10, 0.2, 0.2, verdict, name, [])


def test_crossing_gives_what_one_adds_without_and_with_the_other() -> None:
    """A main effect of 2 points and an interaction of 0.5: 1.5 without the other, 2.5 with it."""
    told = words.crossing(effect("a", 0.02, "better"), effect("a x b", 0.005, "unresolved"), "a", "b", 0.01)
    assert told == "a: +1.5 points without b, +2.5 with it; whether these two differ is too uncertain to say."
    more = words.crossing(effect("a", 0.02, "better"), effect("a x b", 0.005, "better"), "a", "b", 0.01)
    assert more.endswith("more together than apart.")


def test_two_effects_are_the_same_only_where_twice_their_interaction_is_within_the_margin() -> None:
    main = effect("a", 0.0, "equivalent")
    small, large = effect("a x b", 0.002, "equivalent", 0.001), effect("a x b", 0.008, "equivalent", 0.0015)
    assert words.crossing(main, small, "a", "b", 0.01).endswith("; the same, as far as it matters.")
    told = words.crossing(main, large, "a", "b", 0.01)
    assert told == "a: −0.8 points without b, +0.8 with it; these two differ by less than 2 points."
