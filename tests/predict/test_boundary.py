"""Borders: squares worked out by hand, another implementation, and what never counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.predict.boundary import borders

Labels = NDArray[np.uint8]
maps = arrays(np.uint8, (9, 11), elements=st.integers(0, 2))
masks = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2, IGNORE]))


def square(left: int, side: int = 8) -> Labels:
    labels = np.zeros((40, 40), np.uint8)
    labels[10 : 10 + side, left : left + side] = 1
    return labels


def test_a_square_moved_by_three_pixels() -> None:
    """All pairs of edges, measured one by one: both squares have 8 edges on each side."""
    found = borders(square(10), square(13), 2, 2.0, 4.0)
    ours = [(y + 0.5, x) for y in (9, 17) for x in range(10, 18)]
    ours += [(y, x + 0.5) for y in range(10, 18) for x in (9, 17)]
    theirs = [(y, x + 3) for y, x in ours]
    there = [min(np.hypot(a - c, b - d) for c, d in theirs) * 2 for a, b in ours]
    back = [min(np.hypot(a - c, b - d) for c, d in ours) * 2 for a, b in theirs]
    near = sum(d <= 4 for d in there + back)
    assert 0 < near < 64
    for each in found:  # two classes share one border
        assert each.surface_dice == pytest.approx(near / 64)
    assert found[1].hausdorff95 == pytest.approx(6.0)  # 3 px of 2 um


def test_equal_maps_are_perfect_and_tolerance_is_in_micrometres() -> None:
    assert borders(square(10), square(10), 2, 0.5)[1] == borders(square(10), square(10), 2, 7.0)[1]
    assert borders(square(10), square(10), 2, 1.0)[1].surface_dice == 1
    assert borders(square(10), square(10), 2, 1.0)[1].hausdorff95 == 0
    shifted = [borders(square(10), square(12), 2, mpp, 4.0)[1].surface_dice for mpp in (1.0, 2.0, 4.0)]
    assert shifted[0] == shifted[1] == 1
    assert shifted[2] < 1


def test_a_class_in_one_map_alone_and_in_neither() -> None:
    empty = np.zeros((40, 40), np.uint8)
    for truth, predicted in ((square(10), empty), (empty, square(10))):
        alone = borders(truth, predicted, 2, 1.0)[1]
        assert alone.surface_dice == 0
        assert np.isnan(alone.hausdorff95)
    neither = borders(empty, empty, 2, 1.0)
    assert all(np.isnan([each.surface_dice, each.hausdorff95]).all() for each in neither)


@settings(max_examples=40)
@given(masks, maps, maps)
def test_ignored_pixels_never_count(truth: Labels, predicted: Labels, other: Labels) -> None:
    changed = np.where(truth == IGNORE, other, predicted)
    np.testing.assert_equal(
        [vars(b) for b in borders(truth, predicted, 3, 1.0, 1.5)],
        [vars(b) for b in borders(truth, changed, 3, 1.0, 1.5)],
    )


@settings(max_examples=40)
@given(maps, maps)
def test_it_is_symmetric_and_turns_with_the_image(one: Labels, other: Labels) -> None:
    found = [vars(b) for b in borders(one, other, 3, 1.0, 1.5)]
    turned = [vars(b) for b in borders(np.rot90(one), np.rot90(other), 3, 1.0, 1.5)]
    for back in ([vars(b) for b in borders(other, one, 3, 1.0, 1.5)], turned):
        for a, b in zip(found, back, strict=True):
            assert a == pytest.approx(b, nan_ok=True)
    assert all(0 <= a["surface_dice"] <= 1 for a in found if a["surface_dice"] == a["surface_dice"])


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own
def test_distances_are_those_of_monai_within_a_pixel() -> None:
    """MONAI measures between pixels inside the class, here between edges: half a pixel on either side."""
    metrics = pytest.importorskip("monai.metrics", reason="the extra `parity` is not installed")
    import torch
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((120, 150)), 8)
    truth = (field > 0).astype(np.uint8)
    predicted = (np.roll(field, 3, 1) + 0.3 * gaussian_filter(rng.standard_normal(field.shape), 8) > 0).astype(np.uint8)
    ours = borders(truth, predicted, 2, 1.0, 4.0)[1]
    theirs = [torch.from_numpy(np.stack([1 - m, m])[None]) for m in (predicted, truth)]
    far = float(metrics.compute_hausdorff_distance(*theirs, percentile=95)[0, 0])
    assert ours.hausdorff95 == pytest.approx(far, abs=1.0)
    low, high = (float(metrics.compute_surface_dice(*theirs, class_thresholds=[t])[0, 0]) for t in (3.0, 5.0))
    assert low <= ours.surface_dice <= high
