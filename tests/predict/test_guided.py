"""The guided filter of predicted probabilities, against regressions solved one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ushape.data.stain import restained, scaling_matrix, stain_matrix, to_rgb
from ushape.predict import guided as module
from ushape.predict.guided import CELL, RIDGE, guided, guided_reach
from ushape.predict.invented import invented_tissue


def maps(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Probabilities of three classes, float32 [3, H, W]."""
    made = np.random.default_rng(seed).dirichlet((0.3, 0.3, 0.3), (height, width))
    return np.ascontiguousarray(made.transpose(2, 0, 1).astype(np.float32))


def tissue(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(invented_tissue(256)[:height, :width])


def regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [3, C] and offsets [C] that minimise mean |x a + b - y|^2 + RIDGE^2 |a|^2 over samples [n, 3], [n, C].

    Solved as one least-squares problem in which the ridge is three more rows.
    """
    ridge = np.hstack([np.eye(3), np.zeros((3, 1))]) * RIDGE * len(x) ** 0.5
    rows = np.vstack([np.hstack([x, np.ones((len(x), 1))]), ridge])
    found = np.linalg.lstsq(rows, np.vstack([y, np.zeros((3, y.shape[1]))]), rcond=None)[0]
    return found[:3], found[3]


def by_hand(p: np.ndarray, guide: np.ndarray, radius: int, y: int, x: int) -> np.ndarray:
    """The mean, over all windows that hold a cell, of what their regressions say of it; no window leaves the map."""
    told = []
    for top in range(y - 2 * radius, y + 1):
        for left in range(x - 2 * radius, x + 1):
            window = (..., slice(top, top + 2 * radius + 1), slice(left, left + 2 * radius + 1))
            slopes, offset = regression(guide[window].reshape(3, -1).T, p[window].reshape(len(p), -1).T)
            told.append(guide[:, y, x] @ slopes + offset)
    return np.mean(told, 0)


@pytest.mark.parametrize("radius", [1, 2])
def test_each_cell_is_the_mean_of_the_regressions_of_the_windows_that_hold_it(radius: int) -> None:
    rng = np.random.default_rng(1)
    p, guide = maps(14, 15).astype(float), rng.uniform(0, 0.6, (3, 14, 15))
    made = module._filtered(p.astype(np.float32), guide.astype(np.float32), radius)
    for y, x in ((6, 7), (7, 5), (8, 8)):
        np.testing.assert_allclose(made[:, y, x], by_hand(p, guide, radius, y, x), atol=1e-6)


def test_the_guide_is_amounts_of_stain_over_a_nucleus_and_how_they_vary() -> None:
    stains = stain_matrix()
    density = np.empty((96, 192, 3), np.float32)
    density[:] = 0.3 * stains[0] + 0.2 * stains[1]
    density[:, 128:] = 0.5 * stains[0]
    density[::2, :32] = 0.2 * stains[0] + 0.2 * stains[1]
    density[1::2, :32] = 0.4 * stains[0] + 0.2 * stains[1]
    guide = module._guide(to_rgb(density), None)
    assert guide.shape == (3, 24, 48)
    np.testing.assert_allclose(guide[:, 12, 1], (0.3, 0.1, 0.2), atol=0.01)  # rows of more and less haematoxylin
    np.testing.assert_allclose(guide[:, 12, 20], (0.3, 0.0, 0.2), atol=0.01)
    np.testing.assert_allclose(guide[:, 12, 44], (0.5, 0.0, 0.0), atol=0.01)


def test_speckles_go_and_a_border_moves_towards_where_the_stain_changes() -> None:
    rng = np.random.default_rng(0)
    density = np.empty((160, 160, 3), np.float32)
    density[:] = 0.1 * stain_matrix()[0] + 0.3 * stain_matrix()[1]
    density[:, 80:] = 0.4 * stain_matrix()[0] + 0.1 * stain_matrix()[1]
    first = np.full((160, 160), 0.7)
    first[:, 96:] = 0.3  # the network sees the border 16 px too far to the right
    first = np.clip(first + rng.normal(0, 0.3, first.shape), 0, 1)  # and speckles: a quarter of the rest is wrong
    p = np.stack([first, 1 - first]).astype(np.float32)
    wrong = np.repeat(np.arange(160)[None] >= 80, 160, 0) != p.argmax(0)
    assert 0.2 < wrong[:, :72].mean() < 0.3
    colourless = np.full((160, 160, 3), 200, np.uint8)
    told, blind = (guided(p, image, 48).argmax(0) != (np.arange(160) >= 80) for image in (to_rgb(density), colourless))
    assert told[:, :72].sum() == told[:, 96:].sum() == 0
    assert blind[:, 80:96].mean() > 0.9
    assert told[:, 80:96].mean() < 0.7


def test_without_a_guide_windows_are_averaged_twice() -> None:
    p, image = maps(80, 80), np.full((80, 80, 3), 200, np.uint8)
    cells = p.reshape(3, 20, CELL, 20, CELL).mean((2, 4))
    box = np.ones(5) / 5
    weights = np.convolve(box, box)
    expected = np.einsum("cyx,y,x->c", cells[:, 6:15, 6:15], weights, weights)
    np.testing.assert_allclose(module._filtered(cells, module._guide(image, None), 2)[:, 10, 10], expected, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 6), st.integers(0, 99))
def test_probabilities_stay_probabilities(height: int, width: int, cells: int, seed: int) -> None:
    made = guided(maps(height, width, seed), tissue(height, width), cells * CELL)
    assert made.dtype == np.float32
    assert made.shape == (3, height, width)
    assert made.min() >= 0
    np.testing.assert_allclose(made.sum(0), 1, atol=1e-5)


def test_no_radius_changes_nothing() -> None:
    given_maps = maps(9, 9)
    assert guided(given_maps, tissue(9, 9), 0) is given_maps
    assert guided_reach(0) == 0


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 99))
def test_a_tile_with_that_margin_has_what_the_whole_image_has(cells: int, down: int, right: int, seed: int) -> None:
    radius, top, left = cells * CELL, down * CELL, right * CELL
    whole, image, reach = maps(200, 208, seed), tissue(200, 208), guided_reach(cells * CELL)
    cut = np.s_[top : top + 180, left : left + 184]
    tile = guided(np.ascontiguousarray(whole[:, *cut]), np.ascontiguousarray(image[cut]), radius)
    inner = np.s_[:, reach:-reach, reach:-reach]
    np.testing.assert_allclose(tile[inner], guided(whole, image, radius)[:, *cut][inner], atol=1e-5)


def test_a_stain_matrix_does_what_changing_the_image_does() -> None:
    image = tissue(120, 100)
    dark = 1 - image.astype(np.float32).mean(2) / 255
    p = np.stack([dark, 1 - dark])
    matrix = scaling_matrix(np.array([1.3, 0.8, 1.0], np.float32))
    np.testing.assert_allclose(guided(p, image, 8, matrix), guided(p, restained(image, matrix), 8), atol=0.003)
    assert np.abs(guided(p, image, 8, matrix) - guided(p, image, 8)).max() > 0.01
