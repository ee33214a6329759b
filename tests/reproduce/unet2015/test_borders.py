from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ushape.reproduce.unet2015.borders import border_weights, cells, class_weights, nearest_two, weight_maps


def test_cells_join_by_edges_and_not_by_corners() -> None:
    interior = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], bool)
    made = cells(interior)
    assert made.max() == 3
    assert made[0, 0] == made[1, 0] != made[2, 1] == made[2, 2]
    assert (made[~interior] == 0).all()


def test_weights_of_a_border_by_hand() -> None:
    """Cells on either side of a membrane of 3 px: d1 + d2 is 1 + 3, 2 + 2, 3 + 1 across it."""
    interior = np.ones((9, 11), bool)
    interior[:, 4:7] = False
    np.testing.assert_allclose(border_weights(interior)[4, 4:7], 10 * np.exp(-(4**2) / 50), rtol=1e-6)
    interior[:, 6] = True  # now 2 px: 1 + 2 and 2 + 1
    np.testing.assert_allclose(border_weights(interior)[4, 4:6], 10 * np.exp(-(3**2) / 50), rtol=1e-6)
    np.testing.assert_allclose(border_weights(interior, w0=4, sigma=2)[4, 4], 4 * np.exp(-9 / 8), rtol=1e-6)


def test_inside_cells_and_far_from_a_second_cell_there_is_no_border_term() -> None:
    interior = np.zeros((20, 90), bool)
    interior[5:15, 2:6] = interior[5:15, 80:85] = True
    weights = border_weights(interior)
    assert (weights[interior] == 0).all()
    assert weights.max() < 1e-6  # the cells are 74 px apart
    assert (border_weights(np.pad(np.ones((4, 4), bool), 3)) == 0).all()  # no second cell at all


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_to_every_cell_looked_at_in_turn(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 70)), 2)
    instances = cells(noise > 0.05)
    every = np.stack([ndimage.distance_transform_edt(instances != i) for i in range(1, instances.max() + 1)])
    every[every > 12] = np.inf
    every.sort(0)
    for mine, true in zip(nearest_two(instances, 12), every, strict=False):
        np.testing.assert_array_equal(mine, true)


def test_both_classes_weigh_the_same_over_all_slices() -> None:
    interior = np.random.default_rng(0).random((3, 40, 40)) > 0.2
    membrane, inside = class_weights(interior)
    assert membrane * (~interior).sum() == pytest.approx(inside * interior.sum()) == pytest.approx(interior.size / 2)
    maps = weight_maps(interior, w0=0)
    np.testing.assert_allclose(maps, np.where(interior, inside, membrane), rtol=1e-6)
    with_borders = weight_maps(interior)
    np.testing.assert_allclose(with_borders - maps, np.stack([border_weights(i) for i in interior]), atol=1e-5)
