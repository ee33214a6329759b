"""NIfTI volumes: one orientation whatever the file's, geometry kept, headers that cannot be right refused."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ushape.errors import DataError
from ushape.lits.volumes import is_placed, new_labels, open_volume
from ushape.nets.weights import save_tensors

VOXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # [x, y, z] of a file in LPS order


def _lps(order: tuple[int, ...], flips: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """VOXELS in a file whose axes are in another order and direction, and the affine that says so."""
    stored = VOXELS.transpose(np.argsort(order))
    sides = np.diag([-0.7, -0.8, 2.5])  # towards L, P, S in NIfTI's R, A, S
    affine = np.eye(4)
    for world, axis in enumerate(order):
        affine[:3, axis] = sides[world]
    for axis, flip in enumerate(flips):
        if flip:
            stored = np.flip(stored, axis)
            affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
            affine[:3, axis] *= -1
    return stored, affine


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_orientation_is_seen_alike(tmp_path: Path, write_nifti, order: tuple[int, ...]) -> None:
    for i, flips in enumerate(product((0, 1), repeat=3)):
        stored, affine = _lps(order, flips)
        volume = open_volume(write_nifti(tmp_path / f"{i}.nii", stored, affine))
        assert volume.shape == (4, 3, 2)
        assert volume.spacing == pytest.approx((2.5, 0.8, 0.7), rel=1e-6)
        for z in range(4):
            np.testing.assert_array_equal(volume.slice(z), VOXELS[:, :, z].T)


@pytest.mark.parametrize("flips", list(product((0, 1), repeat=3)))
def test_labels_are_written_in_the_geometry_of_the_volume(tmp_path: Path, write_nifti, flips: tuple[int, ...]) -> None:
    stored, affine = _lps((2, 0, 1), flips)
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", stored, affine))
    with new_labels(tmp_path / "out" / "labels.nii", volume) as labels:
        assert not labels.any()
        for z in range(4):
            labels[z] = volume.slice(z) % 3
    written = nibabel.load(tmp_path / "out" / "labels.nii")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(written.dataobj), stored % 3)
    again = open_volume(tmp_path / "out" / "labels.nii")
    assert again.spacing == volume.spacing
    np.testing.assert_array_equal(again.raw, VOXELS.transpose(2, 1, 0) % 3)


def test_labels_that_fail_half_way_leave_no_file(tmp_path: Path, write_nifti) -> None:
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", VOXELS))
    with pytest.raises(KeyError), new_labels(tmp_path / "labels.nii", volume):
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["volume-0.nii"]


def test_compressed_files_and_scales_are_read(tmp_path: Path, write_nifti) -> None:
    image = nibabel.Nifti1Image(VOXELS, np.diag([1, 1, 2, 1.0]))
    image.header.set_slope_inter(2.0, -5.0)
    data = bytearray(image.to_bytes())
    scaled = np.frombuffer(image.header.binaryblock, np.uint8)
    data[: len(scaled)] = scaled.tobytes()
    (tmp_path / "volume-0.nii.gz").write_bytes(gzip.compress(bytes(data)))
    volume = open_volume(tmp_path / "volume-0.nii.gz")
    expected = np.asarray(nibabel.load(tmp_path / "volume-0.nii.gz").dataobj)
    for z in range(4):
        seen = expected[::-1, ::-1, z].T  # the file runs to the right and the front
        np.testing.assert_allclose(volume.slice(z), seen)


def test_an_uncompressed_file_is_mapped_not_read(tmp_path: Path, write_nifti) -> None:
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", VOXELS))
    assert isinstance(volume.stored, np.memmap)
    assert np.shares_memory(volume.raw, volume.stored)


@pytest.mark.parametrize(
    ("voxels", "affine", "header", "message"),
    [
        (VOXELS, (1, 1, 2), {"srow_z": [0, 0, 0, 0]}, "does not say where voxels lie"),
        (VOXELS, (1, 1, 2), {"srow_z": [0, 0, np.nan, 0]}, "does not say where voxels lie"),
        (VOXELS, (0.001, 0.001, 0.002), {}, "voxels of 0.001 x 0.001 x 0.002 mm are outside of"),
        (VOXELS, (1, 1, 2), {"pixdim": [1, 1, 1, 5, 0, 0, 0, 0]}, "1 x 1 x 5 mm by pixdim, 1 x 1 x 2 mm by affine"),
        (VOXELS, (1, 1, 2), {"xyzt_units": 1}, "lengths are in meter"),
        (VOXELS, (1, 1, 2), {"xyzt_units": 4}, "unit of length has the code 4, which NIfTI has not"),
        (VOXELS, (1, 1, 2), {"scl_slope": 1, "scl_inter": np.nan}, "cannot be read as NIfTI (Valid slope but invalid"),
        (VOXELS[..., None], (1, 1, 2), {}, "has the shape 2x3x4x1"),
        (VOXELS.astype(np.complex64), (1, 1, 2), {}, "numbers of type complex64"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_right_is_one_line(
    tmp_path: Path, write_nifti, voxels, affine, header, message
) -> None:
    path = write_nifti(tmp_path / "volume-7.nii", voxels, affine)
    raw = bytearray(path.read_bytes())
    if header:  # nibabel puts right what it writes: so into the bytes
        made = nibabel.Nifti1Header(bytes(raw[:348]))
        for key, value in header.items():
            made[key] = value
        raw[:348] = made.binaryblock
        path.write_bytes(raw)
    with pytest.raises(DataError, match=r"volume-7\.nii") as caught:
        open_volume(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_nifti_is_told(tmp_path: Path, write_nifti) -> None:
    (tmp_path / "volume-0.nii").write_bytes(b"not a volume")
    (tmp_path / "volume-1.nii.gz").write_bytes(b"not compressed")
    cut = write_nifti(tmp_path / "volume-2.nii", VOXELS)
    cut.write_bytes(cut.read_bytes()[:-7])
    save_tensors(tmp_path / "volume-3.nii", {}, {})
    for i, suffix in enumerate((".nii", ".nii.gz", ".nii", ".nii")):
        with pytest.raises(DataError, match=f"volume-{i}.nii.*cannot be read as NIfTI"):
            open_volume(tmp_path / f"volume-{i}{suffix}")
    with pytest.raises(DataError, match="there is no such file"):
        open_volume(tmp_path / "volume-9.nii")


def test_numbers_that_are_not_finite_are_told(tmp_path: Path, write_nifti) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, 2] = np.nan
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", voxels))
    volume.slice(0)
    with pytest.raises(DataError, match="slice 2 holds numbers that are not finite"):
        volume.slice(2)


def test_another_format_is_told(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(VOXELS.astype(np.float32), np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(DataError, match=r"a\.mgz: is no NIfTI: write it as \.nii or \.nii\.gz"):
        open_volume(tmp_path / "a.mgz")


def test_a_header_that_is_not_used_is_no_obstacle(tmp_path: Path, write_nifti) -> None:
    """Labels are paired with their volume voxel by voxel, whatever their own header says of space."""
    path = write_nifti(tmp_path / "segmentation-0.nii", VOXELS, (0.001, 0.001, 0.002))
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", VOXELS, (1, 1, 2)))
    with pytest.raises(DataError, match="are outside of"):
        open_volume(path)
    labels = open_volume(path, geometry=False).placed_as(volume)
    assert labels.spacing == volume.spacing
    np.testing.assert_array_equal(labels.raw, volume.raw)


def test_a_volume_that_its_header_does_not_place_is_known(tmp_path: Path, write_nifti) -> None:
    voxels = np.zeros((4, 4, 4), np.uint8)
    assert not is_placed(write_nifti(tmp_path / "a.nii.gz", voxels, np.eye(4)))
    assert is_placed(write_nifti(tmp_path / "b.nii", voxels, np.diag([-1.0, -1.0, 1.0, 1.0])))
