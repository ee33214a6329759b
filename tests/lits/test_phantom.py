"""The CT phantom: what a scan of an abdomen must have, and the same bytes for the same call."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from ushape.errors import DataError
from ushape.lits.folder import find_cases, label_slice, open_labels
from ushape.lits.phantom.anatomy import draw_anatomy, paint
from ushape.lits.phantom.scanner import affine, draw_scan, stored, take
from ushape.lits.phantom.write import write_phantom
from ushape.lits.volumes import open_volume


def test_the_files_are_of_the_layout_and_agree(phantom: Path) -> None:
    cases = find_cases(phantom)
    assert [c.name for c in cases] == ["0", "1", "2"]
    for case in cases:
        volume = open_volume(case.volume)
        labels = open_labels(case.segmentation, volume)
        assert 0.999 < volume.spacing[0] < 5.001
        assert volume.spacing[1] == pytest.approx(volume.spacing[2])
        np.testing.assert_array_equal(nibabel.load(case.volume).affine, nibabel.load(case.segmentation).affine)
        hu = np.stack([volume.slice(z) for z in range(volume.shape[0])])
        truth = np.stack([label_slice(labels, z) for z in range(volume.shape[0])])
        assert 60 < np.median(hu[truth == 1]) < 150
        assert np.median(hu[truth == 0]) < 0
        where = np.argwhere(truth > 0).mean(0) / volume.shape
        assert where[2] < 0.5, "the liver lies to the patient's right"


def test_anatomies_and_scans_are_varied() -> None:
    rng = np.random.default_rng(3)
    anatomies, scans = [draw_anatomy(rng) for _ in range(60)], [draw_scan(rng, 192, 1.1) for _ in range(60)]
    counts = [len(a.lesions) for a in anatomies]
    assert min(counts) == 0
    assert max(counts) >= 5
    contrasts = [lesion.contrast for a in anatomies for lesion in a.lesions]
    assert min(contrasts) < -60
    assert max(contrasts) > 30
    assert {s.thickness for s in scans} >= {1.0, 5.0}
    assert len({s.order for s in scans}) == 6
    assert any(a.vessel_contrast < 0 for a in anatomies)
    assert any(a.vessel_contrast > 0 for a in anatomies)


def test_bones_air_and_vessels_are_there() -> None:
    anatomy = draw_anatomy(np.random.default_rng(1))
    row = np.linspace(-1.05, 1.05, 160).astype(np.float32)
    slices = [paint(anatomy, *np.meshgrid(row, row), z) for z in np.linspace(-0.6, 0.6, 9)]
    hu, labels = np.stack([s[0] for s in slices]), np.stack([s[1] for s in slices])
    assert hu.min() == -1000
    assert (hu == -850).any()
    assert (hu > 400).any()
    vessel = np.float32(anatomy.liver_hu + anatomy.vessel_contrast)
    assert ((hu == vessel) & (labels == 1)).any()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_stored_is_seen_again(tmp_path: Path, write_nifti, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scan = draw_scan(rng, 32, 5.0)
    hu, _ = take(draw_anatomy(rng), scan, 3, rng)
    seen = np.stack([hu + z for z in range(scan.slices)])
    volume = open_volume(write_nifti(tmp_path / "volume-0.nii", stored(seen, scan), affine(scan)))
    assert volume.spacing == pytest.approx((scan.thickness, scan.pixel, scan.pixel), rel=1e-5)
    np.testing.assert_array_equal(volume.raw, seen)


def test_the_same_call_writes_the_same_bytes_and_goes_on(phantom: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path, 2, seed=5, size=48, pixel=3.6)
    (tmp_path / "segmentation-1.nii").unlink()
    write_phantom(tmp_path, 3, seed=5, size=48, pixel=3.6)
    for path in phantom.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_a_folder_of_another_call_is_left_alone(phantom: Path) -> None:
    with pytest.raises(DataError, match=r"holds segmentation-0\.nii, which this call would not write"):
        write_phantom(phantom, 3, seed=6, size=48, pixel=3.6)
    with pytest.raises(DataError, match="size 8 is out of range: give 32 to 2048"):
        write_phantom(phantom, 3, size=8)
