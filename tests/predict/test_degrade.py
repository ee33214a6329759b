"""Degradations: each does what its name says, always the same, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.data.rois import Roi, find_rois
from ushape.data.stain import normalise, stain_matrix, to_density, to_rgb
from ushape.predict.degrade import (
    DEGRADATIONS,
    KINDS,
    Degradation,
    blurred,
    compressed,
    degraded,
    on_grid,
    stained,
)

Bytes = NDArray[np.uint8]
WriteRois = Callable[..., Path]


def tissue(height: int = 64, width: int = 80, seed: int = 0) -> Bytes:
    """Amounts of haematoxylin 0.1 to 0.5 and eosin 0.05 to 0.3, a field of each."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform([0.1, 0.05, 0], [0.5, 0.3, 0], (height // 4, width // 4, 3)).astype(np.float32)
    return to_rgb(np.kron(amounts, np.ones((4, 4, 1), np.float32)) @ stain_matrix())


def amounts(image: Bytes) -> NDArray[np.float64]:
    """Mean haematoxylin, eosin and what is neither."""
    return (to_density(image).reshape(-1, 3) @ np.linalg.inv(stain_matrix())).mean(0)


@pytest.fixture(scope="module")
def roi(write_rois: WriteRois, tmp_path_factory: pytest.TempPathFactory) -> Roi:
    """At 0.6 µm per pixel, 80 x 64 px."""
    folder = tmp_path_factory.mktemp("degrade")
    codes = np.random.default_rng(1).integers(1, 5, (64, 80), np.uint8)
    return find_rois(write_rois(folder, {"TCGA-A1-A0SK-DX1_MPP-0.6000": (tissue(), codes)}))[0]


def test_there_are_the_kinds_and_strengths_of_the_issue() -> None:
    assert list(KINDS) == ["haematoxylin", "eosin", "blur", "jpeg", "scale"]
    assert {d.strength for d in DEGRADATIONS if d.kind == "scale"} == {-30, -20, -10, 10, 20, 30}
    assert {d.strength for d in DEGRADATIONS if d.kind == "jpeg"} == {80, 50, 30, 10}
    assert all(kind.strengths.count(None) == 1 and len(kind.strengths) >= 5 for kind in KINDS.values())
    assert len({str(d) for d in DEGRADATIONS}) == len(DEGRADATIONS) == 22


@pytest.mark.parametrize("how", DEGRADATIONS, ids=str)
def test_a_degradation_changes_the_image_and_always_alike(roi: Roi, how: Degradation) -> None:
    image, before = degraded(roi, 0.6, how), degraded(roi, 0.6, None)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert not np.array_equal(image, before)
    assert np.array_equal(image, degraded(roi, 0.6, how))
    assert np.array_equal(before, tissue())  # nor is the cached ROI changed


def test_an_amount_of_stain_is_multiplied_and_the_other_left() -> None:
    before = amounts(tissue())
    assert amounts(stained(tissue(), haematoxylin=1.4)) == pytest.approx(before * [1.4, 1, 1], abs=0.005)
    assert amounts(stained(tissue(), eosin=0.5)) == pytest.approx(before * [1, 0.5, 1], abs=0.005)
    white = np.full((4, 4, 3), 255, np.uint8)
    assert np.array_equal(stained(white, 2.0, 2.0), white)


def test_normalisation_comes_after_and_takes_a_change_of_strength_back() -> None:
    shifted, given = normalise(stained(tissue(), haematoxylin=0.7)), normalise(tissue())
    assert np.abs(stained(tissue(), haematoxylin=0.7).astype(int) - tissue()).mean() > 5
    assert np.abs(shifted.astype(int) - given).mean() < 2


def test_blur_spreads_a_point_as_a_gaussian_of_that_width() -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    made = blurred(point, 1.5)[..., 0].astype(float)
    x = np.arange(41) - 20
    expected = np.exp(-(x**2) / (2 * 1.5**2))
    assert np.abs(made - 255 * np.outer(expected, expected) / expected.sum() ** 2).max() < 0.6
    assert np.array_equal(blurred(np.full((9, 7, 3), 93, np.uint8), 3), np.full((9, 7, 3), 93))


def test_blur_is_in_micrometres(roi: Roi) -> None:
    assert np.array_equal(degraded(roi, 0.6, Degradation("blur", 2)), blurred(tissue(), 2 / 0.6))
    coarse = degraded(roi, 1.2, None)
    assert np.array_equal(degraded(roi, 1.2, Degradation("blur", 2)), blurred(np.asarray(coarse), 2 / 1.2))


def test_jpeg_of_lower_quality_loses_more() -> None:
    lost = [np.abs(compressed(tissue(), q).astype(int) - tissue()).mean() for q in (80, 50, 30, 10)]
    assert lost == sorted(lost)
    assert lost[0] > 0.1
    assert lost[-1] > 2 * lost[0]
    assert compressed(np.ascontiguousarray(tissue()[:49, :69]), 30).shape == (49, 69, 3)


def test_a_wrong_pixel_size_makes_the_image_larger_or_smaller(roi: Roi) -> None:
    assert degraded(roi, 0.6, Degradation("scale", 30)).shape == (83, 104, 3)
    assert degraded(roi, 0.6, Degradation("scale", -30)).shape == (45, 56, 3)
    assert degraded(roi, 1.2, Degradation("scale", 20)).shape == (38, 48, 3)
    assert degraded(roi, 0.6, Degradation("scale", 20)).mean() == pytest.approx(tissue().mean(), abs=2)


@pytest.mark.parametrize("strength", [d.strength for d in DEGRADATIONS if d.kind == "scale"])
def test_labels_come_back_to_their_place(strength: float) -> None:
    labels = np.kron(np.arange(20, dtype=np.uint8).reshape(4, 5), np.ones((16, 16), np.uint8))  # squares of 16 px
    size = round(64 * (1 + strength / 100)), round(80 * (1 + strength / 100))
    seen = on_grid(labels, size)
    back = on_grid(seen, (64, 80))
    assert seen.shape == size
    assert back.shape == labels.shape
    inner = np.s_[4:-4:8, 4:-4:8]  # off the squares' borders
    assert np.array_equal(back[inner], labels[inner])
    assert np.mean(back == labels) > 0.85


def test_labels_of_the_right_size_are_left() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert on_grid(labels, (3, 4)) is labels


def test_strengths_are_shown_as_an_axis_has_them() -> None:
    assert [KINDS["scale"].show(s) for s in KINDS["scale"].strengths] == ["-30", "-20", "-10", "0", "+10", "+20", "+30"]
    assert KINDS["eosin"].show(0.5) == "×0.5"
    assert KINDS["jpeg"].show(None) == "none"
