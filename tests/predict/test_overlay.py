"""The overlay of a slide: right colours at the right places, a legend of all classes, a scale that is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import IGNORE, grouping
from ushape.predict import overlay as module
from ushape.predict.overlay import round_length, sampled, save_overlay

FIVE = grouping("bcss-5")
Blobs = Callable[..., Any]


def drawn(path: Path, image: Any, labels: Any, mpp: float = 1.0, **options: Any) -> NDArray[np.int64]:
    save_overlay(path, image, labels, mpp, FIVE, **options)
    with Image.open(path) as made:
        assert (made.format, made.mode) == ("PNG", "RGB")
        return np.asarray(made).astype(np.int64)


def test_colours_lie_where_the_labels_are_and_no_tissue_is_left_as_it_is(tmp_path: Path) -> None:
    image = np.full((300, 600, 3), (200, 150, 180), np.uint8)
    labels = np.zeros((1200, 2400), np.uint8)
    labels[:, 1200:], labels[600:] = 1, IGNORE
    made = drawn(tmp_path / "a.png", image, labels, strength=0.5)
    assert made.shape[1] == 600
    for (y, x), colour in {(10, 10): FIVE.colours[0], (10, 590): FIVE.colours[1]}.items():
        assert np.abs(made[y, x] - (image[y, x] / 2 + np.array(colour) / 2)).max() <= 1
    assert (made[150:300] == image[150:]).all()


def test_the_legend_names_every_class_in_its_colour(tmp_path: Path, blobs: Blobs) -> None:
    made = drawn(tmp_path / "a.png", np.full((500, 700, 3), 255, np.uint8), blobs(500, 700))
    strip = made[500:]
    for colour in FIVE.colours:
        assert (strip == colour).all(2).sum() > 30
    assert (strip.sum(2) < 200).sum() > 200  # letters


@pytest.mark.parametrize("shape", [(1500, 2500), (9000, 100), (100, 9000), (64, 64), (1, 1)])
def test_the_picture_is_never_larger_than_its_limit(tmp_path: Path, shape: tuple[int, int]) -> None:
    made = drawn(tmp_path / "a.png", np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8))
    assert max(made.shape[:2]) <= module.SIDE
    assert made.shape[1] >= module.NARROWEST


def test_the_bar_is_as_long_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    text = module.ImageDraw.ImageDraw.text

    def noting(draw: Any, at: Any, words: str, *rest: Any, **more: Any) -> None:
        said.append(words)
        text(draw, at, words, *rest, **more)

    monkeypatch.setattr(module.ImageDraw.ImageDraw, "text", noting)
    labels = np.zeros((3000, 6000), np.uint8)
    made = drawn(tmp_path / "a.png", np.full((500, 1000, 3), 255, np.uint8), labels, 0.5)  # 3 µm per px of the picture
    length = float(said[-1].removesuffix(" mm"))
    longest = max(len(run) for row in (made[520:] < 60).all(2) for run in "".join(map(str, row.astype(int))).split("0"))
    assert longest == pytest.approx(1000 * length / 3, abs=3)


@given(st.floats(1e-3, 1e6))
def test_a_round_length_is_1_2_or_5_times_a_power_of_ten(longest: float) -> None:
    made = round_length(longest)
    assert longest / 2.5001 <= made <= longest * 1.0001
    assert f"{made:.0e}"[0] in "125"
    assert made == pytest.approx(float(f"{made:.0e}"))


def test_labels_are_sampled_at_the_middle_of_each_pixel(blobs: Blobs, watched: Any) -> None:
    labels = blobs(90, 120)
    assert np.array_equal(sampled(watched(labels), (40, 30)), labels[1::3, 1::3])
    assert np.array_equal(sampled(labels, (120, 90)), labels)
    assert np.array_equal(sampled(labels, (240, 180)), labels.repeat(2, 0).repeat(2, 1))
