"""Tiles: every pixel well inside one of them, mirrored beyond the border, blended without a seam."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ushape.data.windows import cut
from ushape.predict.tiling import GRID, Blend, Plan, plan, thrifty, window

SIDE = st.integers(1, 700)
TILES = st.sampled_from([(s, m) for s in range(GRID, 577, GRID) for m in range(0, 257, GRID) if 2 * m < s])
"""All tile sizes and margins that are allowed."""


def through(image: NDArray[np.uint8], layout: Plan, network: str = "identity") -> NDArray[np.float32]:
    """An image [H, W, C] through a 'network' that gives each tile back, or a constant."""
    blend = Blend(layout, image.shape[2])
    for corner in layout.corners:
        tile = np.moveaxis(cut(image, corner, layout.size), -1, 0).astype(np.float32)
        blend.add(corner, tile if network == "identity" else np.full_like(tile, 0.3))
    return np.moveaxis(blend.mean(), 0, -1)


def random_image(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8)


# ---- plans -------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(height=SIDE, width=SIDE, tiles=TILES)
def test_every_pixel_has_its_margin_of_context_in_some_tile(height: int, width: int, tiles: tuple[int, int]) -> None:
    layout = plan(height, width, *tiles)
    rows, columns = ({corner[axis] for corner in layout.corners} for axis in (0, 1))
    assert set(layout.corners) == set(itertools.product(rows, columns))  # so that each axis can be looked at alone
    for starts, length in ((rows, height), (columns, width)):
        pixel = np.arange(length)[:, None] - np.array(sorted(starts))[None]
        inside = (pixel >= layout.margin) & (pixel < layout.size - layout.margin)
        assert inside.any(1).all()


@settings(max_examples=200)
@given(height=SIDE, width=SIDE, tiles=TILES)
def test_sizes_margins_and_offsets_lie_on_the_grid(height: int, width: int, tiles: tuple[int, int]) -> None:
    layout = plan(height, width, *tiles)
    assert layout.size % GRID == layout.margin % GRID == 0
    assert all(y % GRID == x % GRID == 0 for y, x in layout.corners)
    assert layout.size <= tiles[0]
    assert layout.margin == tiles[1]


@settings(max_examples=200)
@given(height=SIDE, width=SIDE, tiles=TILES)
def test_no_tile_is_for_nothing(height: int, width: int, tiles: tuple[int, int]) -> None:
    layout = plan(height, width, *tiles)
    assert len(set(layout.corners)) == len(layout.corners)
    step = layout.size - 2 * layout.margin
    assert len(layout.corners) == -(-height // step) * -(-width // step)


def test_a_small_image_gets_one_small_tile_and_a_large_one_the_size_asked_for() -> None:
    assert plan(1, 1) == Plan(1, 1, 192, 64, ((-64, -64),))
    assert plan(300, 100).size == 448
    assert plan(5, 900) == Plan(5, 900, 512, 64, ((-64, -64), (-64, 320), (-64, 704)))


@pytest.mark.parametrize(
    ("size", "margin"), [(500, 64), (512, 60), (512, 256), (512, -64), (0, 0), (-64, 0), (128, 64)]
)
def test_other_tile_sizes_are_refused_with_their_values(size: int, margin: int) -> None:
    with pytest.raises(ValueError, match=f"tile size {size} and twice margin {margin} must be multiples of 64"):
        plan(900, 900, size, margin)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_an_image_without_pixels_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="tile"):
        plan(height, width)


# ---- blending ----------------------------------------------------------------------------------------------


@given(tiles=TILES)
def test_weights_are_positive_symmetric_and_1_inside(tiles: tuple[int, int]) -> None:
    size, margin = tiles
    weights = window(size, margin)
    assert weights.shape == (size, size)
    assert weights.dtype == np.float32
    assert weights.min() > 0
    assert weights.max() <= 1
    for other in (weights[::-1], weights[:, ::-1], weights.T):
        assert np.array_equal(weights, other)
    assert margin == 0 or np.all(weights[2 * margin : size - 2 * margin, 2 * margin : size - 2 * margin] == 1)
    assert np.all(np.diff(weights[: size // 2, size // 2]) >= 0)


def test_the_weights_of_two_neighbours_sum_to_1_over_their_overlap() -> None:
    weights = window(512, 64)[256]
    assert weights[512 - 128 :] + weights[:128] == pytest.approx(np.ones(128))


@settings(max_examples=40)
@given(height=SIDE, width=SIDE, tiles=TILES)
def test_a_constant_stays_constant(height: int, width: int, tiles: tuple[int, int]) -> None:
    made = through(np.zeros((height, width, 1), np.uint8), plan(height, width, *tiles), "constant")
    assert made.shape == (height, width, 1)
    assert np.abs(made - 0.3).max() < 1e-6


@settings(max_examples=40)
@given(height=SIDE, width=SIDE, tiles=TILES)
def test_a_network_that_changes_nothing_gives_the_image_back(height: int, width: int, tiles: tuple[int, int]) -> None:
    image = random_image(height, width)
    made = through(image, plan(height, width, *tiles))
    assert np.abs(made - image).max() < 255e-6
    assert np.array_equal(np.rint(made).astype(np.uint8), image)


def test_tiles_that_disagree_pass_into_each_other_without_a_step() -> None:
    layout = plan(256, 1500)
    blend = Blend(layout, 1)
    for number, corner in enumerate(layout.corners):
        blend.add(corner, np.full((1, layout.size, layout.size), number % 2, np.float32))
    made = blend.mean()[0]
    assert made.min() < 0.01
    assert made.max() > 0.99
    for axis in (0, 1):
        assert np.abs(np.diff(made, axis=axis)).max() < 0.02  # over 128 px, not from one to the next


def test_channels_do_not_mix() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    assert np.array_equal(np.rint(through(image, plan(70, 90, 128, 0))), image)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 64), st.integers(0, 7))
def test_thrifty_tiles_compute_no_more_and_are_tiles(height: int, width: int, units: int, margin: int) -> None:
    grid = 16
    size, margin = max(units, 4 * margin + 1) * grid, margin * grid
    made = thrifty(height, width, size, margin, grid)
    assert made % grid == 0
    assert made <= size
    assert made >= min(size, 4 * margin)
    costs = [len(p.corners) * p.size**2 for p in (plan(height, width, side, margin, grid) for side in (made, size))]
    assert costs[0] <= costs[1]
    assert made == size or costs[0] < 0.95 * costs[1]


def test_a_small_slide_takes_smaller_tiles_and_a_large_one_does_not() -> None:
    assert thrifty(4480, 4480, 1024, 96, 16) == 944
    assert thrifty(100_000, 80_000, 1024, 96, 16) == 1024
