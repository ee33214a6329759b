"""Scores from a run's label maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ushape.data.classes import grouping
from ushape.data.rois import Roi, find_rois
from ushape.errors import RunError
from ushape.files import read_json
from ushape.predict.boundary import borders
from ushape.predict.score import confusion
from ushape.study import maps
from ushape.study.folder import read_study
from ushape.study.maps import Maps, read_maps, summarise

BCSS = grouping("bcss-5")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, of which nothing was read yet."""
    copy = Path(shutil.copytree(next(finished.glob("*/fold1-seed0")), tmp_path / "run"))
    (copy / "maps.json").unlink()
    return copy


def rois_of(run: Path, finished: Path) -> list[Roi]:
    return [roi for roi in find_rois(read_study(finished).data) if roi.name in read_json(run / "rois.json")]


def test_they_are_those_of_the_predictions_and_masks(run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maps, "SIDE", 40)
    rois = rois_of(run, finished)
    found = read_maps(run, rois, 1.2, BCSS, 3.0)
    assert list(found) == [roi.name for roi in rois]
    for roi in rois:
        with Image.open(roi.mask) as mask, Image.open(run / "predictions" / f"{roi.name}.png") as image:
            truth, predicted = BCSS.labels(np.asarray(mask)), np.asarray(image)
        expected = borders(truth, predicted, 5, 1.2, 3.0)
        np.testing.assert_allclose(found[roi.name].surface_dice, [b.surface_dice for b in expected], atol=1e-6)
        np.testing.assert_allclose(found[roi.name].hausdorff95, [b.hausdorff95 for b in expected], atol=1e-6)
        assert len(found[roi.name].images) <= 9  # 96 px in squares of 40, 40 and 16
        assert np.array_equal(found[roi.name].images.sum(0), confusion(truth, predicted, 5))


def test_they_are_kept_and_made_anew_for_another_tolerance(run: Path, finished: Path):
    rois = rois_of(run, finished)
    made = read_maps(run, rois, 1.2, BCSS)
    shutil.rmtree(run / "predictions")
    again = read_maps(run, rois, 1.2, BCSS)
    for name, each in made.items():
        np.testing.assert_allclose(again[name].surface_dice, each.surface_dice, atol=1e-6)
        np.testing.assert_allclose(again[name].hausdorff95, each.hausdorff95, atol=1e-6)
        assert np.array_equal(again[name].images, each.images)
    with pytest.raises(RunError, match=r"predictions.*is missing or damaged.*remove .*resume"):
        read_maps(run, rois, 1.2, BCSS, tolerance=2.0)


def test_a_prediction_of_another_size_is_told_by_file(run: Path, finished: Path):
    rois = rois_of(run, finished)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(run / "predictions" / f"{rois[0].name}.png")
    with pytest.raises(RunError, match=rf"{rois[0].name}.*is \(5, 5\) px but its mask is \(96, 96\)"):
        read_maps(run, rois, 1.2, BCSS)


def test_means_leave_out_what_is_absent_and_say_how_often():
    nan, square = np.nan, np.array([[[3, 1], [0, 0]]])
    one = Maps(np.array([0.8, nan]), np.array([10.0, nan]), square)
    other = Maps(np.array([0.4, 0.0]), np.array([30.0, nan]), square[:0])
    made: dict[str, Any] = summarise([one, other], ("tumor", "rest"), 5.0)
    assert made["surface_dice"] == {
        "tolerance_um": 5.0,
        "macro": pytest.approx(0.3),
        "classes": {"tumor": pytest.approx(0.6), "rest": 0.0},
        "absent": {"rest": 1},
    }
    assert made["hausdorff95_um"] == {"macro": 20.0, "classes": {"tumor": 20.0, "rest": None}, "absent": {"rest": 2}}
    assert made["per_image"]["accuracy"] == 0.75
    assert made["per_image"]["side_px"] == 256
