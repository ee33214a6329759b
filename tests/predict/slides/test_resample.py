"""Resampling of parts: as Pillow resamples the whole, and the same in any parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ushape.predict.slides.resample import resample, windows

Bytes = NDArray[np.uint8]
SIDES = st.integers(1, 150)


def part(image: Bytes, to: tuple[int, int], top: int, left: int, height: int, width: int) -> Bytes:
    """A part of the image resampled to `to` = (height, width)."""
    rows, columns = windows(image.shape[0], to[0]), windows(image.shape[1], to[1])

    def read(y: int, x: int, h: int, w: int) -> Bytes:
        assert min(y, x) >= 0
        assert h >= 1
        assert w >= 1
        assert y + h <= image.shape[0]
        assert x + w <= image.shape[1]
        return image[y : y + h, x : x + w]

    return resample(rows, columns, top, left, height, width, read)


def noise(height: int, width: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(SIDES, SIDES, st.integers(1, 100), st.integers(1, 100))
def test_the_mean_over_the_area_is_pillows_to_one_grey_level(height: int, width: int, low: int, narrow: int) -> None:
    to = min(low, height), min(narrow, width)
    image = noise(height, width)
    made = part(image, to, 0, 0, *to)
    expected = np.asarray(Image.fromarray(image).resize(to[::-1], Image.Resampling.BOX))
    assert np.abs(made.astype(int) - expected).max() <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 150), st.integers(1, 150))
def test_enlarging_is_pillows_to_one_grey_level(height: int, width: int, tall: int, wide: int) -> None:
    to = max(tall, height), max(wide, width)
    image = noise(height, width)
    made = part(image, to, 0, 0, *to)
    expected = np.asarray(Image.fromarray(image).resize(to[::-1], Image.Resampling.BILINEAR))
    assert np.abs(made.astype(int) - expected).max() <= 1


@given(st.data(), st.booleans())
def test_any_part_is_that_part_of_the_whole(data: st.DataObject, finer: bool) -> None:
    height, width = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    share = data.draw(st.floats(1, 3) if finer else st.floats(0.03, 1))
    to = max(1, round(height * share)), max(1, round(width * share))
    top, left = data.draw(st.integers(0, to[0] - 1)), data.draw(st.integers(0, to[1] - 1))
    size = data.draw(st.integers(1, to[0] - top)), data.draw(st.integers(1, to[1] - left))
    image = noise(height, width)
    whole = part(image, to, 0, 0, *to)
    assert np.array_equal(part(image, to, top, left, *size), whole[top : top + size[0], left : left + size[1]])


@pytest.mark.parametrize("size", [(999, 1000), (300, 20_000)])
def test_means_over_many_pixels_do_not_overflow(size: tuple[int, int]) -> None:
    white = np.full((*size, 3), 255, np.uint8)
    assert (part(white, (2, 3), 0, 0, 2, 3) == 255).all()


def test_every_pixel_counts_in_one_window_and_once() -> None:
    for size, to in ((1000, 999), (1000, 333), (997, 250), (10, 1), (7, 7)):
        made = windows(size, to)
        assert np.array_equal(made.first[1:], made.last[:-1])
        assert (made.first[0], made.last[-1]) == (0, size)
