"""Distances of surfaces: by hand, and as MONAI has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import gaussian_filter

from ushape.lits.surface import apart, surface


def _block(shape: tuple[int, int, int], *ranges: tuple[int, int]) -> np.ndarray:
    made = np.zeros(shape, bool)
    made[tuple(slice(*r) for r in ranges)] = True
    return made


def test_one_voxel_each_by_hand() -> None:
    a, b = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    a[0, 0, 0] = b[2, 1, 0] = True
    found = apart(a, b, (2.5, 1.0, 1.0))
    assert found.mean == found.most == pytest.approx(math.hypot(5, 1))


def test_a_row_against_a_longer_row_by_hand() -> None:
    """Truth x 0-1, prediction x 0-4, voxels 2 mm long: distances 0 0 there, 0 0 2 4 6 back."""
    truth, predicted = _block((1, 1, 6), (0, 1), (0, 1), (0, 2)), _block((1, 1, 6), (0, 1), (0, 1), (0, 5))
    found = apart(truth, predicted, (9.0, 9.0, 2.0))
    assert found.mean == pytest.approx(12 / 7)
    assert found.most == pytest.approx(6)


def test_the_inside_is_no_surface() -> None:
    cube = _block((7, 7, 7), (1, 6), (1, 6), (1, 6))
    assert surface(cube).sum() == 5**3 - 3**3
    assert surface(np.ones((3, 3, 3), bool)).sum() == 26  # the volume's border is one


def test_an_empty_solid_has_no_distance() -> None:
    solid, empty = _block((3, 3, 3), (1, 2), (1, 2), (1, 2)), np.zeros((3, 3, 3), bool)
    for pair in ((solid, empty), (empty, solid), (empty, empty)):
        found = apart(*pair, (1.0, 1.0, 1.0))
        assert math.isnan(found.mean)
        assert math.isnan(found.most)


@pytest.mark.filterwarnings("ignore:monai:FutureWarning")
@settings(max_examples=25)
@given(st.integers(0, 999), st.tuples(st.floats(0.5, 5), st.floats(0.5, 2), st.floats(0.5, 2)))
def test_as_monai_has_it(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    a, b = (gaussian_filter(rng.normal(size=(9, 14, 13)), 1.5) > rng.uniform(-0.02, 0.06) for _ in range(2))
    if not a.any() or not b.any():
        return
    tensors = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (b, a)]
    mean = compute_average_surface_distance(*tensors, include_background=True, symmetric=True, spacing=spacing)
    most = compute_hausdorff_distance(*tensors, include_background=True, spacing=spacing)
    found = apart(a, b, spacing)
    assert found.mean == pytest.approx(float(mean), rel=1e-5)
    assert found.most == pytest.approx(float(most), rel=1e-5)
