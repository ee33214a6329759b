"""What training reads: windowed HU and labels, coarse and as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ushape.errors import DataError
from ushape.files import read_json, write_json
from ushape.lits.folder import find_cases, label_slice, open_labels
from ushape.lits.prepare import open_prepared, prepare
from ushape.lits.volumes import open_volume


def test_the_volumes_own_voxels_on_slices_with_liver(phantom: Path, prepared: Path) -> None:
    for case, made in zip(find_cases(phantom), open_prepared(prepared, "lesion"), strict=True):
        volume = open_volume(case.volume)
        labels = open_labels(case.segmentation, volume)
        first, last = read_json(prepared / case.name / "case.json")["slices"]
        truth = np.stack([label_slice(labels, z) for z in range(volume.shape[0])])
        np.testing.assert_array_equal(made.labels, truth[first:last])
        np.testing.assert_array_equal(made.image[0], np.clip(volume.slice(first), -200, 200))
        there = np.flatnonzero(truth.any((1, 2)))
        assert (first, last) == (max(there[0] - 2, 0), min(there[-1] + 3, volume.shape[0]))


def test_coarse_voxels_are_of_the_papers_size(phantom: Path, prepared: Path) -> None:
    fine = open_prepared(prepared, "lesion")
    for case, made, own in zip(find_cases(phantom), open_prepared(prepared, "liver"), fine, strict=True):
        volume = open_volume(case.volume)
        spacing = [n * s / m for n, s, m in zip(volume.shape, volume.spacing, made.image.shape, strict=True)]
        assert spacing == pytest.approx((2.5, 1.0, 1.0), rel=0.06)
        assert set(np.unique(made.labels)) == {0, 1}
        assert made.image.min() == -200
        litres = (made.labels > 0).sum() * np.prod(spacing), (own.labels > 0).sum() * np.prod(volume.spacing)
        assert litres[0] == pytest.approx(litres[1], rel=0.05)


def test_preparing_goes_on_and_knows_its_folder(phantom: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    shutil.copytree(prepared, out)
    (out / "1" / "case.json").unlink()
    prepare(phantom, out)
    for stage in ("liver", "lesion"):
        for ours, theirs in zip(open_prepared(out, stage), open_prepared(prepared, stage), strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)
    other = tmp_path / "other"
    other.mkdir()
    for path in phantom.glob("*-0.nii"):
        shutil.copy(path, other)
    with pytest.raises(DataError, match="holds other cases than"):
        prepare(other, out)
    before = read_json(out / "prepared.json")
    assert before["fingerprint"] == read_json(prepared / "prepared.json")["fingerprint"]


def test_other_files_of_the_same_names_are_noticed(phantom: Path, prepared: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "prepared"
    shutil.copytree(phantom, data)
    shutil.copytree(prepared, out)
    told = read_json(out / "prepared.json")
    write_json(out / "prepared.json", told | {"data": str(data)})
    prepare(data, out)
    shutil.copy(data / "segmentation-0.nii", data / "segmentation-1.nii")
    with pytest.raises(DataError, match=r"was prepared from other files than .*volume-1\.nii and its labels"):
        prepare(data, out)


def test_what_is_not_prepared_is_told(tmp_path: Path, phantom: Path) -> None:
    with pytest.raises(DataError, match=r"`ushape lits prepare DATA --out .*` first"):
        open_prepared(tmp_path, "liver")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="is not empty and holds nothing prepared"):
        prepare(phantom, tmp_path)


def test_a_volume_without_liver_is_told(tmp_path: Path, write_nifti) -> None:
    write_nifti(tmp_path / "data" / "volume-0.nii", np.zeros((4, 4, 4), np.int16))
    write_nifti(tmp_path / "data" / "segmentation-0.nii", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no voxel is labelled liver"):
        prepare(tmp_path / "data", tmp_path / "out")


def test_a_liver_that_coarse_voxels_lose_is_told(tmp_path: Path, write_nifti) -> None:
    labels = np.zeros((12, 12, 8), np.uint8)
    labels[5, 5, 3] = 1
    write_nifti(tmp_path / "data" / "volume-0.nii", np.zeros((12, 12, 8), np.int16), (0.4, 0.4, 1.0))
    write_nifti(tmp_path / "data" / "segmentation-0.nii", labels, (0.4, 0.4, 1.0))
    with pytest.raises(DataError, match=r"segmentation-0\.nii: its liver is lost on voxels of 2\.5 x 1 x 1 mm: leave"):
        prepare(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out" / "0" / "case.json").exists()
