"""The guided filter of predicted probabilities, against regressions solved one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ushape.data.stain import restained, scaling_matrix, stain_matrix, to_rgb
from ushape.predict import guided as module
from ushape.predict.guided import RIDGE, cells, enlarged, filtered, guided, reach
from ushape.predict.invented import invented_tissue
from ushape.predict.tiling import CELL


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
    made = module._fitted(p, guide, np.ones((14, 15)), radius)
    for y, x in ((6, 7), (7, 5), (8, 8)):
        np.testing.assert_allclose(made[:, y, x], by_hand(p, guide, radius, y, x), atol=1e-6)


def test_cells_that_do_not_count_are_in_no_regression() -> None:
    rng = np.random.default_rng(2)
    p, guide, n = maps(20, 20).astype(float), rng.uniform(0, 0.6, (3, 20, 20)), np.ones((20, 20))
    n[:, 10:] = 0
    made = module._fitted(p * n, guide * n, n, 2)
    told, weights = [], []
    for top in range(6, 11):  # windows that hold cell (10, 8)
        for left in range(4, 9):
            window = (..., slice(top, top + 5), slice(left, min(left + 5, 10)))
            slopes, offset = regression(guide[window].reshape(3, -1).T, p[window].reshape(3, -1).T)
            told.append(guide[:, 10, 8] @ slopes + offset)
            weights.append(guide[window][0].size)
    np.testing.assert_allclose(made[:, 10, 8], np.average(told, 0, weights), atol=1e-6)


def test_a_tile_tells_of_stains_and_classes_and_the_guide_is_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stains = stain_matrix()
    density = np.empty((96, 192, 3), np.float32)
    density[:] = 0.3 * stains[0] + 0.2 * stains[1]
    density[:, 128:] = 0.5 * stains[0]
    density[::2, :32] = 0.2 * stains[0] + 0.2 * stains[1]
    density[1::2, :32] = 0.4 * stains[0] + 0.2 * stains[1]
    p = maps(96, 192)
    told = cells(p, to_rgb(density))
    np.testing.assert_allclose(told[:3], p.reshape(3, 24, 4, 48, 4).mean((2, 4)), atol=1e-6)
    np.testing.assert_allclose(told[3:, 12, 1], (0.3, 0.1, 0.2), atol=0.01)  # the mean square of 0.2 and 0.4 is 0.1
    np.testing.assert_allclose(told[3:, 12, 44], (0.5, 0.25, 0.0), atol=0.01)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(module, "_fitted", lambda p, guide, *_: seen.append(guide))
    filtered(told, 8)
    np.testing.assert_allclose(seen[0][:, 12, 1], (0.3, 0.1, 0.2), atol=0.01)  # rows of more and less haematoxylin
    np.testing.assert_allclose(seen[0][:, 12, 20], (0.3, 0.0, 0.2), atol=0.01)
    np.testing.assert_allclose(seen[0][:, 12, 44], (0.5, 0.0, 0.0), atol=0.01)


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
    means = p.reshape(3, 20, CELL, 20, CELL).mean((2, 4))
    box = np.ones(5) / 5
    weights = np.convolve(box, box)
    expected = np.einsum("cyx,y,x->c", means[:, 6:15, 6:15], weights, weights)
    np.testing.assert_allclose(filtered(cells(p, image), 8)[:, 10, 10], expected, atol=1e-6)


def test_cells_are_enlarged_linearly_and_to_probabilities() -> None:
    made = np.array([[[0.0, 1.0]], [[1.0, 0.0]]], np.float32)  # two classes, two cells
    fine = enlarged(made, 4, 8)
    np.testing.assert_allclose(fine[0, 2], (0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1), atol=1e-6)
    assert enlarged(made, 3, 5).shape == (2, 3, 5)
    outside = enlarged(np.array([[[-0.1]], [[1.1]]], np.float32), 4, 4)
    assert np.array_equal(outside[:, 0, 0], (0, 1))
    assert not enlarged(np.zeros((2, 1, 1), np.float32), 4, 4).any()  # nothing is known


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 6), st.integers(0, 99))
def test_probabilities_stay_probabilities(height: int, width: int, radius: int, seed: int) -> None:
    made = guided(maps(height, width, seed), tissue(height, width), radius * CELL)
    assert made.dtype == np.float32
    assert made.shape == (3, height, width)
    assert made.min() >= 0
    np.testing.assert_allclose(made.sum(0), 1, atol=1e-5)


def test_no_radius_changes_nothing() -> None:
    given_maps = maps(9, 9)
    assert guided(given_maps, tissue(9, 9), 0) is given_maps


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 99))
def test_a_part_with_that_margin_has_what_the_whole_has(radius: int, down: int, right: int, seed: int) -> None:
    told, around = cells(maps(200, 208, seed), tissue(200, 208)), reach(radius * CELL)
    cut = np.s_[:, down : down + 46, right : right + 48]
    part, whole = (filtered(each, radius * CELL) for each in (told[cut], told))
    inner = np.s_[:, around:-around, around:-around]
    np.testing.assert_allclose(part[inner], whole[cut][inner], atol=1e-6)


def test_a_stain_matrix_does_what_changing_the_image_does() -> None:
    image = tissue(120, 100)
    matrix = scaling_matrix(np.array([1.3, 0.8, 1.0], np.float32))
    told, plain = cells(maps(120, 100), image, matrix), cells(maps(120, 100), image)
    np.testing.assert_allclose(told, cells(maps(120, 100), restained(image, matrix)), atol=0.01)
    assert np.abs(told - plain).max() > 0.05
