"""Groupings: every code has one place, names and versions are checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ushape.data.classes import CODES, GROUPINGS, IGNORE, UNKNOWN, grouping
from ushape.errors import DataError

OFFICIAL = {"tumor": {1, 19, 20}, "stroma": {2}, "inflammatory": {3, 10, 11}, "necrosis": {4}}


def members(name: str) -> dict[str, set[int]]:
    """Codes of each class of a grouping."""
    found = grouping(name)
    return {c: set(g) for c, g in zip(found.classes, found.groups, strict=True)}


def test_there_are_the_22_codes_of_bcss() -> None:
    assert list(CODES) == list(range(22))
    assert len(set(CODES.values())) == 22
    assert (CODES[0], CODES[1], CODES[20]) == ("outside_roi", "tumor", "dcis")


@pytest.mark.parametrize("name", GROUPINGS)
def test_every_code_stands_in_exactly_one_place(name: str) -> None:
    found = grouping(name)
    placed = [code for group in (*found.groups, found.ignored) for code in group]
    assert sorted(placed) == list(range(22))


def test_the_official_grouping_is_that_of_the_paper() -> None:
    other = set(range(1, 22)) - set().union(*OFFICIAL.values())
    assert members("bcss-5") == OFFICIAL | {"other": other}
    assert grouping("bcss-5").ignored == {0}
    assert grouping("bcss-5").classes == ("tumor", "stroma", "inflammatory", "necrosis", "other")


def test_the_seed_grouping_counts_code_0_and_the_rare_tumors_as_other() -> None:
    found = members("bcss-5-seed")
    assert (found["tumor"], found["stroma"], found["inflammatory"], found["necrosis"]) == ({1}, {2}, {3, 10}, {4})
    assert {0, 11, 19, 20, 21} <= found["other"]
    assert not grouping("bcss-5-seed").ignored


def test_the_variants_differ_from_the_official_grouping_in_what_they_are_named_after() -> None:
    assert members("bcss-5-lymphatics")["inflammatory"] == {3, 10, 11, 14}
    assert 14 not in members("bcss-5-lymphatics")["other"]
    assert grouping("bcss-5-certain").ignored == {0, 7, 15}
    assert members("bcss-5-certain")["tumor"] == OFFICIAL["tumor"]


def test_labels_are_class_indices_and_ignored_pixels() -> None:
    codes = np.array([[0, 1, 2, 3], [4, 5, 20, 21]], np.uint8)
    assert grouping("bcss-5").labels(codes).tolist() == [[IGNORE, 0, 1, 2], [3, 4, 0, 4]]
    assert grouping("bcss-5-seed").labels(codes).tolist() == [[4, 0, 1, 2], [3, 4, 4, 4]]


@pytest.mark.parametrize("name", GROUPINGS)
def test_codes_that_bcss_does_not_define_are_neither_a_class_nor_ignored(name: str) -> None:
    table = grouping(name).table
    assert table.dtype == np.uint8
    assert set(table[22:].tolist()) == {UNKNOWN}
    assert set(table[:22].tolist()) <= {*range(5), IGNORE}


def test_a_name_with_its_version_is_the_same_object() -> None:
    assert grouping("bcss-5@1") is grouping("bcss-5")
    assert grouping("bcss-5").id == "bcss-5@1"


def test_an_unknown_grouping_is_told_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"unknown grouping 'bcss-5-sed'; did you mean 'bcss-5-seed'\?.*known: bcss-5,"):
        grouping("bcss-5-sed")


def test_another_version_is_refused_with_the_one_that_is_here() -> None:
    with pytest.raises(DataError, match=r"'bcss-5' is at version 1 here, not 2: use 'bcss-5@1'"):
        grouping("bcss-5@2")


@pytest.mark.parametrize("ignored", [frozenset(), frozenset({0, 1}), frozenset({0, 22})])
def test_a_grouping_that_forgets_repeats_or_invents_a_code_cannot_be_made(ignored: frozenset[int]) -> None:
    with pytest.raises(DataError, match="every code 0-21 must stand in exactly one group"):
        replace(grouping("bcss-5"), ignored=ignored)


def test_a_class_without_a_colour_cannot_be_made() -> None:
    with pytest.raises(DataError):
        replace(grouping("bcss-5"), colours=((0, 0, 0),))


def test_the_description_is_plain_and_complete() -> None:
    made = grouping("bcss-5").describe()
    assert made["id"] == "bcss-5@1"
    assert made["codes"]["tumor"] == [1, 19, 20]
    assert made["ignored"] == [0]
    assert len(made["classes"]) == len(made["colours"]) == len({tuple(c) for c in made["colours"]}) == 5
