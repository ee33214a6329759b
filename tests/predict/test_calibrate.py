"""Crops that int8 is calibrated on: of tissue, as the network sees it, the same ones every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ushape.data.phantom import phantom_roi
from ushape.data.stain import strength_matrix
from ushape.errors import DataError
from ushape.files import write_yaml
from ushape.predict.calibrate import calibration_crops, crops_for, fingerprint, training_images

ABOUT = {"mpp": 1.2, "normalise": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ROIs in the BCSS layout, one of them with glass on its left."""
    made = tmp_path_factory.mktemp("bcss")
    for part in ("rgbs_colorNormalized", "masks"):
        (made / part).mkdir()
    for i, name in enumerate("ab"):
        image, codes = phantom_roi(0, i, 400)
        if i:
            image[:, :200] = 245
        Image.fromarray(image).save(made / "rgbs_colorNormalized" / f"{name}_MPP-1.2000.png")
        Image.fromarray(codes).save(made / "masks" / f"{name}_MPP-1.2000.png")
    return made


def test_crops_are_of_tissue_and_always_the_same(folder: Path) -> None:
    crops = calibration_crops(folder, 1.2, "none", count=10)
    assert [c.shape for c in crops] == [(256, 256, 3)] * 10
    assert all((c.std() > 5) for c in crops)
    again = calibration_crops(folder, 1.2, "none", count=10)
    assert fingerprint(crops) == fingerprint(again)
    assert fingerprint(crops) != fingerprint(calibration_crops(folder, 1.2, "none", count=10, seed=1))
    assert len(calibration_crops(folder, 1.2, "none", count=1)) == 1


def test_crops_have_the_pixel_size_and_the_stain_that_the_network_sees(folder: Path) -> None:
    small = calibration_crops(folder, 4.8, "none", count=4)
    assert [c.shape for c in small] == [(100, 100, 3)] * 4
    whole = np.asarray(Image.open(folder / "rgbs_colorNormalized" / "a_MPP-1.2000.png"))
    before = np.abs(strength_matrix(whole) - np.eye(3)).max()
    after = [np.abs(strength_matrix(c) - np.eye(3)).max() for c in calibration_crops(folder, 1.2, "stain", count=8)]
    assert before > 0.05
    assert np.median(after) < before


def test_one_file_will_do_but_not_glass(folder: Path, tmp_path: Path) -> None:
    assert calibration_crops(folder / "rgbs_colorNormalized" / "a_MPP-1.2000.png", 1.2, "none", count=2)
    Image.new("RGB", (300, 300), (245, 245, 245)).save(tmp_path / "glass_MPP-1.2000.png")
    with pytest.raises(DataError, match="no tissue was found to calibrate int8 on"):
        calibration_crops(tmp_path, 1.2, "none")
    Image.new("RGB", (300, 300), (200, 100, 180)).save(tmp_path / "nameless.png")
    with pytest.raises(DataError, match=r"nameless\.png"):
        calibration_crops(tmp_path / "nameless.png", 1.2, "none")
    assert calibration_crops(tmp_path / "nameless.png", 1.2, "none", given=1.2, count=2)


def test_a_run_names_its_images(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    both = ["a_MPP-1.2000", "b_MPP-1.2000"]
    write_yaml(run / "run.yaml", {"data": str(folder), "mpp": None, "rois": {"train": both}})
    assert training_images(run) == (folder, None, both)
    assert fingerprint(crops_for(run, None, ABOUT)) == fingerprint(crops_for(tmp_path / "any", folder, ABOUT))
    write_yaml(run / "run.yaml", {"data": str(folder), "mpp": 0.25, "rois": {"train": both[:1]}})  # names come first
    alone = calibration_crops(folder / "rgbs_colorNormalized" / f"{both[0]}.png", 1.2, "none")
    assert fingerprint(crops_for(run, None, ABOUT)) == fingerprint(alone)
    write_yaml(run / "run.yaml", {"data": str(tmp_path / "gone"), "mpp": None})
    with pytest.raises(DataError, match=r"are gone .*--calibrate"):
        training_images(run)
    with pytest.raises(DataError, match=r"is no run's folder that names some: name images with --calibrate"):
        training_images(tmp_path / "weights.safetensors")
