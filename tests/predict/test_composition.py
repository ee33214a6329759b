"""Areas, shares and ratios of a label map, against numbers worked out by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ushape.data.classes import CODES, IGNORE, Grouping, grouping
from ushape.errors import DataError
from ushape.predict import composition as module
from ushape.predict.composition import composition, count, row, write_composition_csv

FIVE = grouping("bcss-5")


def grouping_of(*classes: str) -> Grouping:
    """A grouping of these classes; codes that are left over belong to the last one."""
    codes = [frozenset({i}) for i in range(len(classes) - 1)]
    groups = (*codes, frozenset(CODES) - frozenset().union(*codes))
    return Grouping("mine", 1, classes, groups, frozenset(), ((0, 0, 0),) * len(classes))


def test_a_composition_by_hand() -> None:
    labels = np.zeros((1000, 1000), np.uint8)  # 4 mm² at 2 µm per px
    labels[:300], labels[300:400], labels[400:450], labels[450:500] = 1, 2, 3, IGNORE
    made = composition(labels, 2.0, FIVE)
    assert made["tissue_mm2"] == pytest.approx(3.8)
    assert made["classes"] == {
        "tumor": {"mm2": pytest.approx(2.0), "share": pytest.approx(2.0 / 3.8, abs=1e-6)},
        "stroma": {"mm2": pytest.approx(1.2), "share": pytest.approx(1.2 / 3.8, abs=1e-6)},
        "inflammatory": {"mm2": pytest.approx(0.4), "share": pytest.approx(0.4 / 3.8, abs=1e-6)},
        "necrosis": {"mm2": pytest.approx(0.2), "share": pytest.approx(0.2 / 3.8, abs=1e-6)},
        "other": {"mm2": 0.0, "share": 0.0},
    }
    assert made["tumor_stroma_ratio"] == pytest.approx(2.0 / 3.2)
    assert made["inflammatory_share_of_stroma"] == pytest.approx(0.4 / 1.6)


def test_what_has_no_denominator_is_none() -> None:
    nothing = composition(np.full((4, 4), IGNORE, np.uint8), 1.0, FIVE)
    assert nothing["tissue_mm2"] == 0
    assert {entry["share"] for entry in nothing["classes"].values()} == {None}
    necrosis = composition(np.full((4, 4), 3, np.uint8), 1.0, FIVE)
    assert necrosis["classes"]["necrosis"]["share"] == 1
    assert (necrosis["tumor_stroma_ratio"], necrosis["inflammatory_share_of_stroma"]) == (None, None)


def test_a_grouping_without_the_classes_of_a_ratio_has_none() -> None:
    labels = np.array([[0, 1], [1, 2]], np.uint8)
    made = composition(labels, 1.0, grouping_of("tumor", "stroma", "rest"))
    assert made["tumor_stroma_ratio"] == pytest.approx(1 / 3, abs=1e-6)
    assert made["inflammatory_share_of_stroma"] is None
    assert composition(labels, 1.0, grouping_of("tumor", "benign", "rest"))["tumor_stroma_ratio"] is None


def test_pixels_are_counted_band_by_band(
    blobs: Callable[..., Any], watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = blobs(1100, 70)
    monkeypatch.setattr(module, "_PIECE", 1000)
    source = watched(labels)
    assert np.array_equal(count(source), np.bincount(labels.ravel(), minlength=256))
    assert source.largest == 512 * 70


def test_a_label_of_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="5 classes has label 7"):
        composition(np.array([[0, 7]], np.uint8), 1.0, FIVE)


def test_rows_are_written_as_csv_with_what_is_none_left_empty(tmp_path: Path) -> None:
    made = composition(np.full((500, 1000), 3, np.uint8), 2.0, FIVE)
    write_composition_csv(tmp_path / "new" / "c.csv", [{"slide": "a, b", **row(made)}, {"slide": "c", **row(made)}])
    with (tmp_path / "new" / "c.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["slide"], second["slide"]) == ("a, b", "c")
    assert float(first["tissue_mm2"]) == float(first["necrosis_mm2"]) == 2.0
    assert (first["necrosis_share"], first["tumor_share"], first["tumor_stroma_ratio"]) == ("1.0", "0.0", "")
    assert list(first)[-2:] == ["tumor_stroma_ratio", "inflammatory_share_of_stroma"]


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    write_composition_csv(tmp_path / "c.csv", [])
    assert (tmp_path / "c.csv").read_text().strip() == ""
