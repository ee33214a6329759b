from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ushape.data.deform import draw_coarse, elastic, read
from ushape.reproduce.unet2015.deform import placed


@pytest.fixture
def image() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(41, 41)), 3)


def test_the_field_goes_through_what_was_drawn_at_the_coarse_grid() -> None:
    coarse = draw_coarse(np.random.default_rng(0), 10)
    field = elastic(coarse, 101)
    assert field.shape == (2, 101, 101)
    np.testing.assert_allclose(field[:, ::50, ::50], coarse, atol=1e-9)


def test_the_field_is_smooth_between_and_leaves_a_common_shift_alone() -> None:
    field = elastic(draw_coarse(np.random.default_rng(0), 10), 101)
    assert abs(np.diff(field, 2, 1)).max() < 0.1
    np.testing.assert_allclose(elastic(np.full((2, 3, 3), 4.0), 50), 4.0, atol=1e-9)
    tilted = np.broadcast_to(np.array([-5.0, 0, 5])[:, None], (2, 3, 3))
    np.testing.assert_allclose(elastic(tilted, 51)[0], np.linspace(-5, 5, 51)[:, None].repeat(51, 1), atol=1e-9)


def test_displacements_are_normal_with_the_papers_deviation() -> None:
    drawn = np.concatenate([draw_coarse(np.random.default_rng(i), 10).ravel() for i in range(400)])
    assert drawn.std() == pytest.approx(10, rel=0.03)
    assert abs(drawn.mean()) < 0.4


def test_a_tile_as_large_as_the_slice_unturned_is_the_slice(image: np.ndarray) -> None:
    for order in (0, 1, 3):
        np.testing.assert_allclose(read(image, placed((20, 20), 0, False, (41, 41)), order), image, atol=1e-6)


@pytest.mark.parametrize("turns", range(1, 4))
def test_quarter_turns_and_mirroring_are_exact(image: np.ndarray, turns: int) -> None:
    turned = read(image, placed((20, 20), turns * np.pi / 2, False, (41, 41)), 3)
    np.testing.assert_allclose(turned, np.rot90(image, turns), atol=1e-5)
    both = read(image, placed((20, 20), turns * np.pi / 2, True, (41, 41)), 3)
    np.testing.assert_allclose(both, np.rot90(image, turns)[:, ::-1], atol=1e-5)


def test_a_displacement_moves_what_is_read(image: np.ndarray) -> None:
    field = np.zeros((2, 9, 9))
    field[0], field[1] = 3, -2
    moved = read(image, placed((20, 20), 0, False, (9, 9), field), 3)
    np.testing.assert_allclose(moved, image[19:28, 14:23], atol=1e-5)


def test_the_middle_lies_where_it_was_put_and_angles_undo_each_other() -> None:
    where = placed((10.5, -3), 0.7, True, (5, 7))
    np.testing.assert_allclose(where[:, 2, 3], (10.5, -3))
    there = placed((0, 0), 0.7, False, (5, 7))
    sin, cos = np.sin(-0.7), np.cos(-0.7)  # the formula of `placed`, by the other angle
    y, x = sin * there[1] + cos * there[0], cos * there[1] - sin * there[0]
    np.testing.assert_allclose([y, x], placed((0, 0), 0, False, (5, 7)), atol=1e-12)


def test_beyond_the_border_the_slice_is_mirrored(image: np.ndarray) -> None:
    wide = read(image, placed((20, 20), 0, False, (61, 61)), 1)
    np.testing.assert_allclose(wide, np.pad(image, 10, mode="reflect"), atol=1e-6)
