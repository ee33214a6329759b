"""Folds: no patient is cut, every class is shared out, and what cannot be shared out is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ushape.data.classes import grouping
from ushape.data.rois import Pixels, find_rois, open_pixels
from ushape.data.splits import Fold, class_counts, make_folds, official_fold, split
from ushape.errors import DataError

FIVE = grouping("bcss-5")
Counts = dict[str, NDArray[np.int64]]
MakePixels = Callable[..., Pixels]


def named(table: NDArray[np.int64]) -> Counts:
    """A row of counts for each patient."""
    return {f"TCGA-A1-{i:04}": row for i, row in enumerate(table)}


def tables(least: int, patients: tuple[int, int] = (3, 12)) -> st.SearchStrategy[NDArray[np.int64]]:
    """Pixels [patients, 5], none of them fewer than `least`."""
    return st.integers(*patients).flatmap(lambda n: arrays(np.int64, (n, 5), elements=st.integers(least, 10_000)))


def random_table(seed: int, patients: int = 20) -> NDArray[np.int64]:
    """Counts as in tissue: most patients have little or nothing of a rare class."""
    rng = np.random.default_rng(seed)
    table = rng.lognormal(10, 1.5, (patients, 5)).astype(np.int64)
    table[rng.random((patients, 5)) < [0, 0, 0.2, 0.6, 0.1]] = 0
    return table


def scarce(seed: int, patients: int) -> NDArray[np.int64]:
    """Counts with necrosis in two or three patients only; other classes pull the choice of validation patients."""
    rng = np.random.default_rng(seed)
    rng.integers(5, 13)
    table = rng.lognormal(10, 1.5, (patients, 5)).astype(np.int64)
    holders = int(rng.integers(2, 5))
    table[:, 3] = 0
    table[rng.permutation(patients)[:holders], 3] = rng.lognormal(8, 1.5, holders).astype(np.int64) + 1
    return table


def spread(table: NDArray[np.int64], tests: list[list[int]]) -> float:
    """How far the test parts' shares of each class are from even."""
    shares = table / np.maximum(table.sum(0), 1)
    return float(sum(np.sum((shares[part].sum(0) - 1 / len(tests)) ** 2) for part in tests))


def parts_of(folds: list[Fold], patients: list[str]) -> list[list[int]]:
    return [[patients.index(p) for p in fold.test] for fold in folds]


# ---- counting ----------------------------------------------------------------------------------------------


def test_pixels_are_counted_by_class_over_all_rois_of_a_patient(make_pixels: MakePixels) -> None:
    one = make_pixels(np.array([[0, 0, 1], [19, 2, 3]], np.uint8), "TCGA-B2-0001-DX1_a")
    two = make_pixels(np.array([[4, 21, 21, 20]], np.uint8), "TCGA-B2-0001-DX1_b")
    other = make_pixels(np.zeros((4, 4), np.uint8), "TCGA-A1-0001-DX1_a")
    made = class_counts([one, other, two], FIVE)
    assert list(made) == ["TCGA-A1-0001", "TCGA-B2-0001"]
    assert made["TCGA-B2-0001"].tolist() == [3, 1, 1, 1, 2]
    assert made["TCGA-A1-0001"].tolist() == [0] * 5
    assert class_counts([other], grouping("bcss-5-seed"))["TCGA-A1-0001"].tolist() == [0, 0, 0, 0, 16]


# ---- what holds for all folds ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(table=tables(1), folds=st.integers(2, 12), seed=st.integers(0, 2**32 - 1))
def test_no_patient_is_cut_and_each_is_tested_exactly_once(table: NDArray[np.int64], folds: int, seed: int) -> None:
    counts = named(table)
    folds = min(folds, len(table)) if len(table) > 3 else 3  # two folds of three patients leave none to train on
    made = make_folds(counts, FIVE, folds, seed)
    assert sorted(p for fold in made for p in fold.test) == sorted(counts)
    for fold in made:
        assert sorted((*fold.test, *fold.validation, *fold.train)) == sorted(counts)  # disjoint, and nobody is lost
        assert fold.test
        assert fold.validation
        assert fold.train
    sizes = [len(fold.test) for fold in made]
    assert len(made) == folds
    assert max(sizes) - min(sizes) <= 1
    for fold, other in zip(made, make_folds(counts, FIVE, folds, seed, validation=False), strict=True):
        assert other.test == fold.test
        assert other.validation == ()
        assert sorted(other.train) == sorted((*fold.train, *fold.validation))


@settings(max_examples=60)
@given(table=tables(0, (5, 12)), folds=st.integers(2, 6))
def test_training_never_lacks_a_class_that_the_data_has(table: NDArray[np.int64], folds: int) -> None:
    counts = named(np.where(table < 4_000, 0, table))
    try:
        made = make_folds(counts, FIVE, min(folds, len(table)))
    except DataError:
        reject()  # what is told is tested below
    held = sum(counts.values()) > 0
    for fold in made:
        assert np.array_equal(sum(counts[p] for p in fold.train) > 0, held)


@settings(max_examples=20)
@given(table=tables(1), seed=st.integers(0, 1000), data=st.data())
def test_folds_depend_on_counts_and_seed_alone(table: NDArray[np.int64], seed: int, data: st.DataObject) -> None:
    counts = named(table)
    shuffled = {p: counts[p] for p in data.draw(st.permutations(list(counts)))}
    assert make_folds(counts, FIVE, 3, seed) == make_folds(shuffled, FIVE, 3, seed)


def test_another_seed_gives_other_folds() -> None:
    alike = named(np.full((20, 5), 100))
    assert make_folds(alike, FIVE, 5, 0) != make_folds(alike, FIVE, 5, 1)


def test_a_tenth_of_the_patients_validates_and_at_least_one() -> None:
    for patients, validating in ((4, 1), (10, 1), (20, 2), (45, 4)):
        made = make_folds(named(random_table(0, patients) + 1), FIVE, 4)
        assert {len(fold.validation) for fold in made} == {validating}


# ---- balance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_classes_are_shared_out_better_than_by_random_splits(seed: int) -> None:
    table = random_table(seed)
    counts = named(table)
    made = spread(table, parts_of(make_folds(counts, FIVE, 5), sorted(counts)))
    rng = np.random.default_rng(seed)
    chance = [spread(table, [list(part) for part in np.array_split(rng.permutation(20), 5)]) for _ in range(200)]
    assert made <= np.median(chance)
    assert made <= min(chance)  # an exchange of patients goes further than luck


@settings(max_examples=30)
@given(table=tables(0, (8, 12)))
def test_folds_are_never_less_balanced_than_the_median_random_split(table: NDArray[np.int64]) -> None:
    counts = named(table + (table.sum(0) == 0) + 1)
    table = np.stack(list(counts.values()))
    made = spread(table, parts_of(make_folds(counts, FIVE, 4), sorted(counts)))
    rng = np.random.default_rng(0)
    order = [rng.permutation(len(table)) for _ in range(200)]
    assert made <= np.median([spread(table, [list(p) for p in np.array_split(o, 4)]) for o in order]) + 1e-9


def test_the_few_patients_of_a_rare_class_are_tested_in_different_folds() -> None:
    table = np.full((12, 5), 1000)
    table[:, 3] = 0
    table[[2, 3, 4, 5], 3] = 500
    made = make_folds(named(table), FIVE, 4)
    assert [len(set(fold.test) & {f"TCGA-A1-{i:04}" for i in (2, 3, 4, 5)}) for fold in made] == [1, 1, 1, 1]


def test_validation_keeps_the_shares_of_the_training_patients() -> None:
    table = np.full((10, 5), 1000)
    table[0] *= 40  # most pixels are of one patient: training must have them
    for fold in make_folds(named(table), FIVE, 5):
        assert "TCGA-A1-0000" not in fold.validation


@pytest.mark.parametrize(("seed", "patients", "folds"), [(24, 8, 4), (113, 7, 4), (81, 5, 3)])
def test_validation_does_not_take_the_last_patient_of_a_rare_class_from_training(
    seed: int, patients: int, folds: int
) -> None:
    table = scarce(seed, patients)
    for fold in make_folds(named(table), FIVE, folds):
        assert sum(row[3] for p, row in named(table).items() if p in fold.train) > 0


# ---- refusals ----------------------------------------------------------------------------------------------


def test_a_class_of_a_single_patient_is_refused_with_fold_class_and_remedy() -> None:
    table = np.full((8, 5), 1000)
    table[1:, 3] = 0
    with pytest.raises(DataError, match=r"^fold \d/4: no training patient has a pixel of necrosis \(bcss-5@1\): "):
        make_folds(named(table), FIVE, 4)


@pytest.mark.parametrize("pixels", [0, 9])
def test_folds_that_leave_nobody_to_train_on_are_refused(pixels: int) -> None:
    with pytest.raises(DataError, match="use more folds"):
        make_folds(named(np.full((3, 5), pixels)), FIVE, 2)


def test_a_class_that_nobody_has_is_no_reason_to_refuse() -> None:
    table = np.full((8, 5), 1000)
    table[:, 3] = 0
    assert len(make_folds(named(table), FIVE, 4)) == 4


@pytest.mark.parametrize(("patients", "folds"), [(4, 5), (2, 2), (1, 1), (10, 1), (10, 0), (10, -3), (0, 5)])
def test_too_many_or_too_few_folds_are_refused_with_the_number_of_patients(patients: int, folds: int) -> None:
    with pytest.raises(DataError, match=rf"{folds} folds over {patients} patients: .*at least 3 patients"):
        make_folds(named(np.full((patients, 5), 9)), FIVE, folds)


@pytest.mark.parametrize("patients", [3, 5])
def test_as_many_folds_as_patients_leave_one_out(patients: int) -> None:
    made = make_folds(named(np.full((patients, 5), 9)), FIVE, patients)
    assert [len(fold.test) for fold in made] == [1] * patients


SITES = ("OL", "s3", "GM", "BH", "A2", "AO", "D8")


def of_sites(*sites: str) -> Counts:
    return {f"TCGA-{site}-A0{i}K": np.full(5, 100 + i) for i, site in enumerate(sites)}


def test_the_official_split_tests_whole_institutes() -> None:
    counts = of_sites(*SITES)
    fold = official_fold(counts, FIVE, validation=False)
    assert fold.test == ("TCGA-GM-A02K", "TCGA-OL-A00K", "TCGA-s3-A01K")
    assert fold.validation == ()
    assert len(fold.train) == 4
    held = official_fold(counts, FIVE)
    assert (held.test, held.validation) == (fold.test, ("TCGA-BH-A03K",))
    assert split(counts, FIVE, "official") == [held]
    assert split(counts, FIVE, 3) == make_folds(counts, FIVE, 3)


@pytest.mark.parametrize(
    ("sites", "told"),
    [
        (("OL", "BH"), "no train patient among these: give"),
        (("A2", "D8"), r"no test patient among these \(institutes OL, LL, E2, EW, GM, S3\): give a number of folds"),
        (("A2", "OL"), "no validation patient among these .institutes BH"),
    ],
)
def test_an_official_split_without_one_of_its_parts_is_refused(sites: tuple[str, ...], told: str) -> None:
    with pytest.raises(DataError, match=told):
        official_fold(of_sites(*sites), FIVE)


def test_other_names_have_no_official_split() -> None:
    with pytest.raises(DataError, match=r"HOSPITAL-1: .* institutes in TCGA's names .*: give a number of folds"):
        official_fold({**of_sites("OL", "A2"), "HOSPITAL-1": np.full(5, 9)}, FIVE)


def test_an_official_split_trains_on_every_class() -> None:
    counts = of_sites("OL", "A2")
    counts["TCGA-A2-A01K"][3] = 0
    with pytest.raises(DataError, match="the official split: no training patient has a pixel of necrosis"):
        official_fold(counts, FIVE, validation=False)


def test_a_fold_is_plain_data_for_a_file() -> None:
    assert Fold(("a",), ("b",), ("c", "d")).to_dict() == {"test": ["a"], "validation": ["b"], "train": ["c", "d"]}


# ---- real tissue -------------------------------------------------------------------------------------------


def test_necrosis_of_the_real_rois_is_spread_over_the_folds(real_data: Path) -> None:
    counts = class_counts([open_pixels(roi, 1.2) for roi in find_rois(real_data / "bcss-seed10")], FIVE)
    necrosis = {patient: int(row[3]) for patient, row in counts.items()}
    total = sum(necrosis.values())
    made = make_folds(counts, FIVE, 5)
    rich = {p for p, n in necrosis.items() if n > 0.1 * total}
    assert {p[:7] for p in rich} == {"SEED-01", "SEED-06", "SEED-08"}
    assert [len(rich & set(fold.test)) for fold in made].count(1) == 3  # no two of them are tested together
    for fold in made:
        assert sum(necrosis[p] for p in fold.train) > 0.3 * total
        assert len(rich & set(fold.validation)) <= 1
