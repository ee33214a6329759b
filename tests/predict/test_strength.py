"""The strength of a slide's stain: that of training for an image, that of the whole for a slide, near enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ushape.data.phantom import phantom_roi
from ushape.data.rois import resample_image
from ushape.data.stain import strength_matrix
from ushape.predict import strength
from ushape.predict.slides import View, open_slide
from ushape.predict.strength import slide_strength
from ushape.predict.tissue import find_tissue

Bytes = NDArray[np.uint8]


def matrix_of(path: Path, mpp: float, seed: int = 0) -> NDArray[np.float32]:
    with open_slide(path) as slide:
        view = View(slide, mpp)
        return slide_strength(view, find_tissue(view), seed)


def tiled(path: Path, image: Bytes) -> Path:
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="deflate")
    return path


@pytest.mark.parametrize(("to", "size"), [(1.2, 200), (2.0, 200), (0.7, 150), (1.2, 2100)])
def test_an_image_is_normalised_as_for_training(tmp_path: Path, to: float, size: int) -> None:
    rgb = np.tile(phantom_roi(0, 0, 150)[0], (14, 14, 1))[:size, :size]  # the largest is sampled, row by row
    image = Image.fromarray(rgb)
    image.save(tmp_path / "a_MPP-1.2000.png", compress_level=0)
    assert np.array_equal(matrix_of(tmp_path / "a_MPP-1.2000.png", to), strength_matrix(resample_image(image, 1.2, to)))


def test_a_small_tiff_is_seen_whole(tmp_path: Path) -> None:
    rgb = phantom_roi(1, 0, 200)[0]
    assert np.array_equal(matrix_of(tiled(tmp_path / "a_MPP-1.2000.tif", rgb), 1.2), strength_matrix(rgb))


def test_of_a_large_one_patches_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On glass, at the resolution of the view, and the same for the same seed."""
    monkeypatch.setattr(strength, "WHOLE", 0)
    rgb = np.full((600, 900, 3), 244, np.uint8)
    rgb[100:400, 300:600] = phantom_roi(2, 1, 300)[0]
    path = tiled(tmp_path / "a_MPP-1.2000.tif", rgb)
    made = matrix_of(path, 1.2)
    assert np.array_equal(made, matrix_of(path, 1.2))
    assert not np.array_equal(made, matrix_of(path, 1.2, seed=1))
    assert np.abs(made / strength_matrix(rgb) - 1).max() < 0.05
    half = np.asarray(Image.fromarray(rgb).reduce(2))  # what an overview would give
    assert np.abs(strength_matrix(half) / strength_matrix(rgb) - 1).max() > 0.05


@pytest.mark.parametrize("whole", [0, 2**22])
def test_a_blank_slide_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    monkeypatch.setattr(strength, "WHOLE", whole)
    path = tiled(tmp_path / "a_MPP-1.2000.tif", np.full((200, 300, 3), 244, np.uint8))
    assert np.array_equal(matrix_of(path, 1.2), np.eye(3))
