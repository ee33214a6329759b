"""The author's ten networks: their table, and what is said of it beside ours."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ushape.data.classes import FIVE
from ushape.errors import DataError
from ushape.nets.budget import sized
from ushape.nets.spec import parse
from ushape.reproduce.seed_experiments import (
    NETWORKS,
    ORDER,
    PUBLISHED,
    TARGET,
    agreement,
    check_rois,
    compare,
    confusion_as_printed,
    read_published,
    specs,
)
from ushape.study.design import matched_specs

DATA = Path(os.environ.get("USHAPE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "bcss-seed10"
ROIS = [f"SEED-{i:02d}-R001" for i in range(4)]
COLUMNS = list(NETWORKS)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A published table of four ROIs: network k has .5 + .02 k, and ROI i .01 i more."""
    with (tmp_path / PUBLISHED).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["roi", *COLUMNS])
        for i, roi in enumerate(ROIS):
            writer.writerow([roi, *(0.5 + 0.02 * k + 0.01 * i for k in range(10))])
    return tmp_path


def results(accuracy: Any) -> dict[str, Any]:
    arms = [{"name": f"arm{k}", "confusion": np.arange(25).reshape(5, 5).tolist()} for k in range(10)]
    rois = {
        f"{roi}-DX1_xmin0_ymin0_MPP-1.2000": {"arms": {f"arm{k}": {"accuracy": accuracy(k, i)} for k in range(10)}}
        for i, roi in enumerate(ROIS)
    }
    return {
        "arms": arms,
        "rois": rois,
        "grouping": {"classes": list(FIVE)},
    }


def test_all_ten_cost_what_the_target_does() -> None:
    wanted = sized(parse(TARGET))["flops"]
    made = matched_specs(specs(), "flops", 5)  # as the study does
    assert len(set(made)) == 10
    assert made[0] == specs()[0]
    assert all(abs(sized(spec)["flops"] / wanted - 1) <= 0.03 for spec in made)


def test_rows_hold_means_and_paired_intervals(table: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (10, 4))
    rows = compare(read_published(table), results(lambda k, i: 0.6 - 0.01 * k + noise[k, i]))
    assert [row.network for row in rows] == list(NETWORKS.values())
    assert rows[0].difference is rows[0].published_difference is None
    assert rows[3].published == pytest.approx(0.56 + 0.015)
    assert rows[3].published_difference == pytest.approx((0.06, 0.06, 0.06))
    own = -0.03 + noise[3] - noise[0]
    low, high = stats.t.interval(0.95, 3, own.mean(), stats.sem(own))
    assert rows[3].difference == pytest.approx((own.mean(), low, high))
    assert rows[3].rois[ROIS[2]] == pytest.approx((0.58, 0.57 + noise[3, 2]))
    assert agreement(rows)[0] < -0.5  # published rises with k, ours falls


def test_the_confusion_matrix_is_printed_as_the_author_did() -> None:
    printed = confusion_as_printed(results(lambda k, i: 0.5))["arm0"]
    assert ORDER[0] == "other"
    assert printed[0] == [24, 20, 21, 22, 23]
    assert printed[1] == [4, 0, 1, 2, 3]


def test_other_rois_are_refused(table: Path) -> None:
    made = results(lambda k, i: 0.5)
    made["rois"].pop(next(iter(made["rois"])))
    with pytest.raises(DataError, match="SEED-00-R001"):
        compare(read_published(table), made)
    with pytest.raises(DataError, match="SEED-00-R001"):  # before anything is trained
        check_rois(read_published(table), list(made["rois"]))
    with pytest.raises(DataError, match="OTHER"):
        check_rois(read_published(table), [f"{roi}-DX1" for roi in ROIS] + ["OTHER"])


@pytest.mark.parametrize("cell", ["", "abc", "1.2"])
def test_damaged_tables_are_told_by_file(table: Path, cell: str) -> None:
    path = table / PUBLISHED
    path.write_text(path.read_text().replace("0.51,", f"{cell},", 1))
    with pytest.raises(DataError, match=PUBLISHED):
        read_published(table)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text in UTF-8"):
        read_published(table)


def test_without_the_table_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing: give the folder"):
        read_published(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="no real tissue at $USHAPE_DATA")
def test_the_real_table_has_all_ten_rois() -> None:
    found = read_published(DATA)
    assert all(len(values) == 10 for values in found.values())
    assert found["unet_depth3"]["SEED-01-R001"] == 0.8499
