"""The cascade over whole volumes: streamed as it would be with everything in memory, in the volume's geometry."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label
from torch import nn

from ushape.errors import RunError
from ushape.lits.cascade import SURE, Cascade, Predictor, clean, stacks
from ushape.lits.components import Components
from ushape.lits.folder import find_cases
from ushape.lits.resample import new_shape, resampled
from ushape.lits.volumes import open_volume
from ushape.lits.window import as_input, neighbours, window
from ushape.threads import Lanes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cascade(run: Path) -> Iterator[Cascade]:
    with Lanes(1) as lanes:
        made = Cascade(run, CPU, lanes)
        for predictor in made.networks.values():
            predictor.precision = "float32"
        yield made


class Bright(nn.Module):
    """A network that is sure of what it sees: the middle slice above -60 HU is liver, above 60 HU lesion."""

    multiple = 4

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = x[:, x.shape[1] // 2]
        scores = [torch.zeros_like(middle), (middle + 0.3) * 40, (middle - 0.3) * 80 + 24]
        return torch.stack(scores[: self.classes], 1)


def _bright(lanes: Lanes) -> Cascade:
    made = Cascade.__new__(Cascade)
    made.networks = {
        "liver": Predictor(Bright(2), 5, CPU, "float32", lanes),  # type: ignore[arg-type]
        "lesion": Predictor(Bright(3), 5, CPU, "float32", lanes),  # type: ignore[arg-type]
    }
    return made


@given(st.integers(0, 12), st.sampled_from([1, 3, 5, 7]))
def test_stacks_are_neighbours(depth: int, count: int) -> None:
    volume = np.random.default_rng(0).normal(size=(depth, 2, 3)).astype(np.float32)
    got = list(stacks(iter(volume), count))
    assert len(got) == depth
    for z, stack in enumerate(got):
        np.testing.assert_array_equal(stack, volume[neighbours(z, depth, count)])


def test_streamed_as_with_all_in_memory(cascade: Cascade, phantom: Path, tmp_path: Path) -> None:
    """Liver and lesions from whole arrays and scipy's components, with the same networks."""
    for case in find_cases(phantom)[:1]:
        volume = open_volume(case.volume)
        cascade.predict(case.volume, tmp_path / f"{case.name}.nii")
        got = open_volume(tmp_path / f"{case.name}.nii").raw

        hu = np.stack([window(volume.slice(z)) for z in range(volume.shape[0])])
        coarse = new_shape(volume.shape, volume.spacing, (2.5, 1.0, 1.0))
        small = np.stack(list(resampled(lambda z, hu=hu: hu[z], volume.shape, coarse)))
        liver = _largest(_whole(cascade.networks["liver"], small).argmax(1) > 0)
        ends = []
        for axis, (new, spacing) in enumerate(zip(volume.shape, volume.spacing, strict=True)):
            there = np.flatnonzero(liver.any(tuple(a for a in range(3) if a != axis)))
            ratio, more = new / coarse[axis], int(np.ceil(15 / spacing))
            low, high = int(np.floor(there[0] * ratio)), int(np.ceil((there[-1] + 1) * ratio))
            ends.append(slice(max(0, low - more), min(new, min(high, new) + more)))
        likely = _whole(cascade.networks["lesion"], hu[(slice(None), *ends[1:])])[ends[0]]  # neighbours of the ends too
        wanted = np.zeros(volume.shape, np.uint8)
        wanted[tuple(ends)] = _cleaned(likely.argmax(1).astype(np.uint8), likely[:, 2])
        assert (got != wanted).mean() < 1e-3  # a tie of rounding here and there
        assert (wanted > 0).any()


@torch.inference_mode()
def _whole(predictor: Predictor, hu: np.ndarray) -> np.ndarray:
    """Probabilities [z, classes, y, x] of a volume in memory, one batch."""
    stack = as_input(np.stack([hu[neighbours(z, len(hu), predictor.slices)] for z in range(len(hu))]))
    height, width = stack.shape[2:]
    wide = ((0, 0), (0, 0), (0, -height % predictor.net.multiple), (0, -width % predictor.net.multiple))
    scores = predictor.net(torch.from_numpy(np.pad(stack, wide, constant_values=-1)))
    return scores[:, :, :height, :width].softmax(1).numpy()


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, _ = label(mask)
    return pieces == np.bincount(pieces[mask]).argmax() if mask.any() else mask


def _cleaned(labels: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    kept, made = _largest(labels > 0), labels.copy()
    pieces, count = label(labels == 2)
    for i in range(1, count + 1):
        if lesion[pieces == i].max() < SURE:
            made[pieces == i] = 1
    return np.where(kept, made, 0)


@given(st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(1, 8)), st.integers(0, 999))
def test_cleaning_is_that_of_the_whole_volume(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=shape, p=[0.5, 0.3, 0.2]).astype(np.uint8)
    lesion = rng.uniform(0.3, 0.85, shape).astype(np.float32)
    organs, lesions = Components(), Components()
    for z in range(shape[0]):
        organs.add(labels[z] > 0)
        lesions.add(labels[z] == 2, lesion[z])
    sizes = sorted(organs.sizes().values())
    if sizes[-2:] == [sizes[-1:]] * 2 or (len(sizes) > 1 and sizes[-1] == sizes[-2]):
        return  # of two equal ones either may stay
    wanted = _cleaned(labels, lesion)
    clean(labels, organs, lesions)
    np.testing.assert_array_equal(labels, wanted)


def test_the_80_percent_rule_by_hand() -> None:
    labels = np.array([[[1, 2, 1, 2, 2, 1]]], np.uint8)
    lesion = np.array([[0, 0.79, 0, 0.5, 0.81, 0]], np.float32)
    organs, lesions = Components(), Components()
    organs.add(labels[0] > 0)
    lesions.add(labels[0] == 2, lesion)
    clean(labels, organs, lesions)
    np.testing.assert_array_equal(labels, [[[1, 1, 1, 2, 2, 1]]])


def test_labels_lie_where_the_volume_does(phantom: Path, tmp_path: Path) -> None:
    with Lanes(1) as lanes:
        for case in find_cases(phantom):
            _bright(lanes).predict(case.volume, tmp_path / "labels.nii")
            volume, labels = open_volume(case.volume), nibabel.load(tmp_path / "labels.nii")
            np.testing.assert_allclose(labels.affine, nibabel.load(case.volume).affine)
            got = open_volume(tmp_path / "labels.nii").raw
            assert (got == 2).any()
            hu = np.stack([volume.slice(z) for z in range(volume.shape[0])])
            assert hu[got == 2].min() > 0
            assert hu[got == 1].min() >= -61


def test_a_volume_without_liver_has_no_labels(tmp_path: Path, write_nifti) -> None:
    path = write_nifti(tmp_path / "volume-0.nii", np.full((20, 20, 6), -1000, np.int16))
    with Lanes(1) as lanes:
        _bright(lanes).predict(path, tmp_path / "labels.nii")
    assert not np.asarray(nibabel.load(tmp_path / "labels.nii").dataobj).any()


def test_memory_hardly_grows_with_the_volume(tmp_path: Path, write_nifti) -> None:
    """Four times as many slices: less than two bytes more a voxel are ever held (the files' own pages apart)."""
    peaks = []
    with Lanes(1) as lanes:
        cascade = _bright(lanes)
        for depth in (20, 80):
            voxels = np.full((96, 96, depth), -500, np.int16)
            voxels[16:80, 16:80, depth // 4 : -depth // 4] = 50
            path = write_nifti(tmp_path / f"volume-{depth}.nii", voxels, (1.0, 1.0, 2.5))
            cascade.predict(path, tmp_path / "labels.nii")  # what is made once is made
            tracemalloc.start()
            try:
                cascade.predict(path, tmp_path / "labels.nii")
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
            assert (open_volume(tmp_path / "labels.nii").raw == 1).any()
    assert peaks[1] - peaks[0] < 2 * 96 * 96 * 60


def test_a_folder_that_is_no_cascade_is_told(run: Path, tmp_path: Path) -> None:
    for stage, other in (("liver", "lesion"), ("lesion", "liver")):
        (tmp_path / stage).symlink_to(run / other)
    with Lanes(1) as lanes, pytest.raises(RunError, match="is no liver network of `ushape lits train`"):
        Cascade(tmp_path, CPU, lanes)
