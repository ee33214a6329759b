"""What stops a study before anything is trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ushape.data.duplicates import Alike
from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois, open_pixels
from ushape.data.splits import Fold
from ushape.errors import DataError, RunError
from ushape.nets.spec import parse
from ushape.study.guards import check_different, check_folds, check_tissue, find_alike, limits_of_data
from ushape.train.recipe import Recipe

GOOD = [Fold(("A",), ("B",), ("C", "D")), Fold(("B",), ("C",), ("A", "D")), Fold(("C", "D"), ("A",), ("B",))]

Plant = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guards") / "data"
    write_phantom(folder, patients=4, seed=1, size=256)
    return folder


@pytest.fixture
def plant(tissue: Path, tmp_path: Path) -> Plant:
    """A copy of the data in which a mirrored, brighter, poorer copy of one patient's ROI is another patient's."""

    def make(patient: str, name: str) -> Path:
        folder = Path(shutil.copytree(tissue, tmp_path / name))
        (image,) = (folder / "rgbs_colorNormalized").glob(f"{patient}*.png")
        light = np.asarray(Image.open(image).convert("RGB"))[8:, ::-1]
        Image.fromarray(np.clip(light * 1.1, 0, 255).astype(np.uint8)).save(tmp_path / "x.jpg", quality=60)
        new = image.name.replace(patient, name)
        Image.open(tmp_path / "x.jpg").save(image.with_name(new))
        mask = folder / "masks" / image.name
        Image.fromarray(np.ascontiguousarray(np.asarray(Image.open(mask))[8:, ::-1])).save(mask.with_name(new))
        return folder

    return make


def test_good_folds_pass():
    check_folds(GOOD)


@pytest.mark.parametrize(
    ("number", "fold", "told"),
    [
        (0, Fold(("A",), ("B",), ("C", "D", "A")), "fold 1: patient A is in train and in test"),
        (1, Fold(("B",), ("B",), ("A", "D")), "fold 2: patient B is in validation and in test"),
        (2, Fold(("C", "D"), ("A",), ("B", "A")), "fold 3: patient A is in train and in validation"),
        (2, Fold(("C",), ("A",), ("B",)), "patient D is tested in 0 folds"),
        (2, Fold(("A", "C", "D"), (), ("B",)), "patient A is tested in 2 folds"),
    ],
)
def test_a_patient_on_both_sides_stops_the_study(number: int, fold: Fold, told: str):
    with pytest.raises(RunError, match=told) as caught:
        check_folds([fold if i == number else good for i, good in enumerate(GOOD)])
    assert "\n" not in str(caught.value)


def test_a_planned_study_is_looked_at(make_study: Any, monkeypatch: pytest.MonkeyPatch):
    leaky = [Fold(("P1", "P2"), ("P3",), ("P4", "P1")), Fold(("P3", "P4"), ("P1",), ("P2",))]
    monkeypatch.setattr("ushape.study.design.split", lambda *_: leaky)
    with pytest.raises(RunError, match="patient P1 is in train and in test"):
        make_study()


def test_the_same_tissue_under_two_names_stops_the_study(plant: Plant, make_study: Any):
    patient = "PHAN-P2-0001"
    folder = plant(patient, "PHAN-P9-0009")
    with pytest.raises(DataError) as caught:
        make_study(data=folder, recipe=Recipe(crop=64), folds=5)  # each patient in a fold of its own
    told = str(caught.value)
    assert "\n" not in told
    for name in (patient, "PHAN-P9-0009"):
        assert f"{folder / 'rgbs_colorNormalized' / name}-DX1" in told
    assert "look like the same tissue" in told
    assert "remove one of them, or give both the name of one patient" in told


def test_the_same_tissue_under_the_name_of_one_patient_is_no_leak(plant: Plant, make_study: Any):
    folder = plant("PHAN-P2-0001", "PHAN-P9-0009")
    for path in sorted(folder.rglob("PHAN-P9-0009-DX1*")):
        path.rename(path.with_name(path.name.replace("P9-0009-DX1", "P2-0001-DX2")))
    assert len(make_study(data=folder, recipe=Recipe(crop=64), folds=4).folds) == 4


def test_tissue_that_is_always_tested_together_is_told_and_stops_nothing(plant: Plant):
    pixels = [open_pixels(roi, 1.2) for roi in find_rois(plant("PHAN-P2-0001", "PHAN-P9-0009"))]
    (pair,) = find_alike(pixels, 1.2)
    one, other, *rest = (p.roi.patient for p in sorted(pixels, key=lambda p: p.roi.name not in (pair.one, pair.other)))
    together = [Fold((one, other), (rest[0],), (rest[1], rest[2])), Fold(tuple(rest), (), (one, other))]
    check_folds(together)
    check_tissue(pixels, [pair], together)
    (sentence,) = limits_of_data([pair], {pair.one, pair.other})
    assert limits_of_data([pair], {pair.one}) == []
    assert pair.one in sentence
    assert pair.other in sentence
    apart = replace(together[0], test=(one,), train=(other, *rest[1:]))
    with pytest.raises(DataError, match="fold 1 tests one and trains on the other"):
        check_tissue(pixels, [pair], [apart])
    validated = replace(apart, validation=(other,), train=tuple(rest))
    with pytest.raises(DataError, match="fold 1 tests one and validates on the other"):
        check_tissue(pixels, [pair], [validated])
    chosen = Fold(tuple(rest), (one,), (other,))
    with pytest.raises(DataError, match="fold 1 validates on one and trains on the other"):
        check_tissue(pixels, [pair], [chosen])


def test_windows_are_cut_at_the_pixel_size_of_training(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    given: list[float | None] = []
    monkeypatch.setattr("ushape.study.guards.signature", lambda image, mpp: given.append(mpp))
    monkeypatch.setattr("ushape.study.guards.look_alike", lambda *_: [Alike("a", "b", 5)])
    pixels = [open_pixels(roi, 2.0) for roi in find_rois(plant("PHAN-P2-0001", "PHAN-P9-0009"))]
    find_alike(pixels, 2.0)
    assert given == [2.0] * 5


def test_two_names_of_one_network_are_refused() -> None:
    """A norm in a network whose blocks bring their own changes nothing, but would be another arm."""
    plain, other = parse("unet[width=4,levels=2]"), parse("unet[width=4,levels=2]+residual")
    check_different([plain, other, parse("unet[width=4,levels=2,norm=group]")], 5)
    check_different([plain, *(parse(f"unet[width=4,levels=2,dropout={p}]") for p in (0.1, 0.2))], 5)
    same = [parse("unet[width=4,levels=2]+convnext"), parse("unet[width=4,levels=2,norm=group]+convnext")]
    with pytest.raises(RunError, match=r"norm=group.* are one network.* leave one of the two out"):
        check_different([plain, *same], 5)
