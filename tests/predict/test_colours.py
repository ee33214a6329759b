"""Label maps as palette images, and class colours over an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import IGNORE, grouping
from ushape.errors import RunError
from ushape.predict.colours import blend, label_image, save_labels

FIVE = grouping("bcss-5")
LABELS = np.array([[0, 1, 2], [3, 4, IGNORE]], np.uint8)


def random_labels(height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 4, IGNORE], np.uint8), (height, width))


def test_a_label_image_holds_labels_and_shows_class_colours() -> None:
    image = label_image(LABELS, FIVE)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), LABELS)
    shown = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert [tuple(c) for c in shown.tolist()] == [*FIVE.colours, (255, 255, 255)]


def test_a_saved_label_map_is_read_back_exactly(tmp_path: Path) -> None:
    labels = random_labels()
    save_labels(tmp_path / "new" / "a.png", labels, FIVE)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), labels)


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*a\.png"):
        save_labels(tmp_path / "file" / "a.png", LABELS, FIVE)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_colours_are_laid_over_tissue_only() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    made = blend(image, LABELS, FIVE, strength=0.25)
    expected = np.array([*(0.75 * 100 + 0.25 * np.array(FIVE.colours)), (100, 100, 100)])
    assert np.abs(made.reshape(-1, 3) - expected).max() <= 0.5
    assert np.array_equal(blend(image, LABELS, FIVE, strength=0), image)
