"""Windows of images: what lies beyond the border is mirrored, and no more is read than what is asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ushape.data.windows import cut


def random_image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 1), np.uint8)


@settings(max_examples=200)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    y=st.integers(-150, 89),
    x=st.integers(-150, 89),
    size=st.integers(1, 200),
)
def test_a_tile_is_what_numpy_pads_by_reflection(height: int, width: int, y: int, x: int, size: int) -> None:
    image = random_image(height, width)
    before = (max(0, -y), max(0, -x))
    after = (max(0, y + size - height), max(0, x + size - width))
    padded = np.pad(image, (*zip(before, after, strict=True), (0, 0)), mode="reflect")
    top, left = y + before[0], x + before[1]
    assert np.array_equal(cut(image, (y, x), size), padded[top : top + size, left : left + size])


def test_a_tile_inside_the_image_is_the_image_there() -> None:
    image = random_image(200, 300)
    assert np.array_equal(cut(image, (64, 128), 64), image[64:128, 128:192])


def test_a_mask_without_channels_is_cut_like_an_image() -> None:
    image = random_image(50, 70)
    assert np.array_equal(cut(image[..., 0], (-64, 0), 128), cut(image, (-64, 0), 128)[..., 0])


def test_only_the_part_of_a_mapped_image_under_the_tile_is_read() -> None:
    class Watched(np.ndarray):
        touched: int = 0

        def __getitem__(self, key: object) -> np.ndarray:
            found = np.asarray(super().__getitem__(key))
            Watched.touched = max(Watched.touched, found.size)
            return found

    cut(np.zeros((3000, 3000), np.uint8).view(Watched), (-64, 1000), 512)
    assert Watched.touched <= 512 * 512
