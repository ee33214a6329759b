"""Smoothing of predicted probabilities, against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ushape.predict.smoothing import smoothed, smoothing_reach


def maps(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Probabilities of three classes, float32 [3, H, W]."""
    made = np.random.default_rng(seed).dirichlet((0.3, 0.3, 0.3), (height, width))
    return np.ascontiguousarray(made.transpose(2, 0, 1).astype(np.float32))


def by_hand(image: np.ndarray, sigma: float, y: int, x: int) -> float:
    """The weighted mean around a pixel; what lies beyond the border is mirrored at the border pixel."""
    reach = smoothing_reach(sigma)
    wide = np.pad(image.astype(np.float64), reach, mode="reflect")[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    both = np.outer(weights, weights)
    return float((wide * both).sum() / both.sum())


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.4])
def test_each_pixel_is_the_weighted_mean_of_its_neighbours(sigma: float) -> None:
    given_maps = maps(20, 17)
    made = smoothed(given_maps, sigma)
    for c, y, x in ((0, 10, 8), (1, 0, 0), (2, 19, 16), (0, 3, 16)):
        assert made[c, y, x] == pytest.approx(by_hand(given_maps[c], sigma, y, x), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 8), st.integers(0, 99))
def test_probabilities_stay_probabilities(height: int, width: int, sigma: float, seed: int) -> None:
    made = smoothed(maps(height, width, seed), sigma)
    assert made.dtype == np.float32
    assert made.shape == (3, height, width)
    assert made.min() >= 0
    np.testing.assert_allclose(made.sum(0), 1, atol=1e-5)


def test_no_smoothing_changes_nothing() -> None:
    given_maps = maps(9, 9)
    assert smoothed(given_maps, 0.0) is given_maps


@settings(deadline=None, max_examples=20)
@given(st.floats(0.2, 3), st.integers(0, 99))
def test_a_tile_with_that_margin_has_what_the_whole_image_has(sigma: float, seed: int) -> None:
    whole, reach = maps(50, 60, seed), smoothing_reach(sigma)
    tile = smoothed(np.ascontiguousarray(whole[:, 5:45, 10:55]), sigma)
    inner = np.s_[:, reach : 40 - reach, reach : 45 - reach]
    np.testing.assert_allclose(tile[inner], smoothed(whole, sigma)[:, 5:45, 10:55][inner], atol=1e-6)
