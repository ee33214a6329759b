"""LiTS' layout, as it is unpacked."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from ushape.errors import DataError
from ushape.lits.folder import find_cases, find_labels, label_slice, labels_name, open_labels, open_prediction
from ushape.lits.volumes import open_volume

VOXELS = np.zeros((3, 4, 5), np.int16)


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_folders_of_lits_are_taken_as_they_are(tmp_path: Path) -> None:
    _touch(tmp_path, "Training Batch 1/volume-0.nii", "Training Batch 1/segmentation-0.nii", "readme.txt")
    _touch(tmp_path, "Training Batch 2/volume-28.nii.gz", "Training Batch 2/segmentation-28.nii", "x/volume-3.nii")
    _touch(tmp_path, "x/segmentation-3.nii.gz", ".DS_Store", "x/volume-3.nii.md5")
    cases = find_cases(tmp_path)
    assert [c.name for c in cases] == ["0", "3", "28"]
    assert cases[1].segmentation == tmp_path / "x" / "segmentation-3.nii.gz"
    assert list(find_labels(tmp_path)) == ["0", "28", "3"]


def test_the_test_set_has_no_labels(tmp_path: Path) -> None:
    _touch(tmp_path, "test-volume-10.nii", "test-volume-2.nii")
    assert [(c.name, c.segmentation) for c in find_cases(tmp_path, labelled=False)] == [
        ("test-2", None),
        ("test-10", None),
    ]
    with pytest.raises(DataError, match=r"holds no volume-N\.nii"):
        find_cases(tmp_path)
    _touch(tmp_path, "volume-1.nii", "segmentation-1.nii")
    assert [c.name for c in find_cases(tmp_path)] == ["1"]  # the test set, beside it, is no obstacle to training
    _touch(tmp_path, "x/segmentation-1.nii.gz")
    with pytest.raises(DataError, match="are both number 1: keep one of them"):
        find_labels(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["readme.txt"], "holds no volume-N.nii"),
        (["volume-0.nii", "a/volume-0.nii.gz"], "are both number 0"),
        (["volume-0.nii", "segmentation-0.nii", "segmentation-1.nii"], "segmentation-1.nii: has no volume-1.nii"),
        (["volume-0.nii", "volume-1.nii", "segmentation-1.nii"], "volume-0.nii: has no segmentation-0.nii"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_cases(_touch(tmp_path, *names))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        find_cases(tmp_path / "gone")
    with pytest.raises(DataError, match=r"holds no segmentation-N.nii"):
        find_labels(tmp_path / "gone")


@pytest.mark.parametrize(
    ("volume", "labels"),
    [
        ("volume-3.nii", "segmentation-3.nii"),
        ("test-volume-3.nii.gz", "test-segmentation-3.nii"),
        ("abdomen.nii.gz", "abdomen-segmentation.nii"),
    ],
)
def test_labels_are_named_after_their_volume(volume: str, labels: str) -> None:
    assert labels_name(Path("somewhere") / volume) == labels


def test_labels_are_paired_voxel_for_voxel(tmp_path: Path, write_nifti) -> None:
    """In LiTS some headers place labels elsewhere than their volume; the arrays are what belongs together."""
    marked = VOXELS.copy()
    marked[0, 1, 2] = 2
    turned = np.diag([-1, 1, -2, 1.0])
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", marked, (1.0, 1.0, 3.0)))
    labels = open_labels(write_nifti(tmp_path / "segmentation-0.nii", marked, turned), volume)
    np.testing.assert_array_equal(labels.raw, volume.raw)
    assert labels.spacing == volume.spacing
    with pytest.raises(DataError, match=r"has 4x4x5 voxels, volume-0\.nii 3x4x5: they are no pair"):
        open_labels(write_nifti(tmp_path / "segmentation-1.nii", np.zeros((4, 4, 5), np.int16)), volume)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAR", "PIL"])
def test_a_prediction_is_read_in_its_own_order_of_axes(tmp_path: Path, write_nifti, axes: str) -> None:
    affine = np.array([[-0.8, 0.05, 0, 90], [0.05, 0.8, 0.1, -70], [0, -0.1, 2.5, 30], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).integers(0, 3, VOXELS.shape, np.uint8)
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", voxels, affine))
    truth = open_labels(write_nifti(tmp_path / "segmentation-0.nii", voxels, np.diag([1.0, 1, 2, 1])), volume)
    image = nibabel.load(tmp_path / "volume-0.nii")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    other = image.as_reoriented(turn)
    path = write_nifti(tmp_path / "other.nii", np.asarray(other.dataobj), other.affine)
    made = open_prediction(path, volume, truth)
    np.testing.assert_array_equal(made.raw, volume.raw)
    assert made.spacing == volume.spacing
    as_truth = write_nifti(tmp_path / "own.nii", voxels, np.diag([1.0, 1, 2, 1]))  # a header copied from the labels
    np.testing.assert_array_equal(open_prediction(as_truth, volume, truth).raw, volume.raw)
    moved = other.affine.copy()
    moved[0, 3] += 0.5
    for k, (wrong, there) in enumerate(
        ((moved, voxels), (np.zeros((4, 4)), voxels), (affine, voxels[:2]), (np.diag([1.0, 1, 2.2, 1]), voxels))
    ):
        bad = nibabel.Nifti1Image(there, None)
        bad.header.set_sform(wrong, 1)
        nibabel.save(nibabel.Nifti1Image(there, None, bad.header), tmp_path / f"bad{k}.nii")
        with pytest.raises(DataError, match=rf"bad{k}\.nii: its header places its \dx4x5 voxels elsewhere .* volume-0"):
            open_prediction(tmp_path / f"bad{k}.nii", volume, truth)


@pytest.mark.parametrize("wrong", [3, -1, 0.5])
def test_a_label_that_is_none_is_told(tmp_path: Path, write_nifti, wrong: float) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[1, 1, 4] = wrong
    volume = open_volume(write_nifti(tmp_path / "segmentation-0.nii", voxels))
    assert not label_slice(volume, 0).any()
    with pytest.raises(DataError, match=f"slice 4 holds the label {wrong:g}"):
        label_slice(volume, 4)
