"""What a prediction leaves on disk can be read back, and its colours and areas are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import IGNORE, grouping
from ushape.predict.outputs import composition, overlay, save_overlay, save_prediction

FIVE = grouping("bcss-5")
LABELS = np.array([[0, 1, 2], [3, 4, IGNORE]], np.uint8)


def random_labels(height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 4, IGNORE], np.uint8), (height, width))


def test_a_prediction_is_saved_at_the_size_of_its_image_without_mixing_labels(tmp_path: Path) -> None:
    labels = np.array([[0, 4], [IGNORE, 2]], np.uint8)
    save_prediction(tmp_path / "a.png", labels, (6, 4), FIVE)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), np.kron(labels, np.ones((2, 3), np.uint8)))


def test_an_overlay_mixes_image_and_class_colour() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    made = np.asarray(overlay(image, LABELS, FIVE, strength=0.25)).reshape(-1, 3)
    for shown, colour in zip(made, [*FIVE.colours, (255, 255, 255)], strict=True):
        assert shown == pytest.approx(0.75 * 100 + 0.25 * np.array(colour), abs=1)
    assert np.array_equal(np.asarray(overlay(image, LABELS, FIVE, strength=0)), image)


def test_a_saved_overlay_has_the_size_of_the_label_map_and_its_colours(tmp_path: Path) -> None:
    labels = np.repeat(np.array([[0, 1]], np.uint8), 16, 1).repeat(32, 0)
    save_overlay(tmp_path / "a.jpg", Image.new("RGB", (64, 64), (200, 200, 200)), labels, FIVE)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (32, 32))
        shown = np.asarray(image).astype(float)
    for column, colour in ((4, FIVE.colours[0]), (27, FIVE.colours[1])):
        assert shown[16, column] == pytest.approx(0.6 * 200 + 0.4 * np.array(colour), abs=8)


def test_the_composition_gives_areas_in_mm2_and_shares_of_what_counts() -> None:
    labels = np.zeros((1000, 1000), np.uint8)
    labels[:250] = 3
    labels[900:] = IGNORE
    made = composition(labels, 2.0, FIVE)  # 4 mm² in all
    assert list(made) == list(FIVE.classes)
    assert made["necrosis"] == pytest.approx({"mm2": 1.0, "share": 250 / 900}, abs=1e-6)
    assert made["tumor"] == pytest.approx({"mm2": 2.6, "share": 650 / 900}, abs=1e-6)
    assert made["other"] == {"mm2": 0.0, "share": 0.0}


def test_a_composition_of_nothing_has_no_shares() -> None:
    made = composition(np.full((4, 4), IGNORE, np.uint8), 1.0, FIVE)
    assert {tuple(entry.values()) for entry in made.values()} == {(0.0, None)}
