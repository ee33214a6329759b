"""Resampling: space, constants and straight lines are kept; slice by slice equals all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ushape.lits.resample import axis_weights, new_shape, resampled, span

lengths = st.integers(1, 40)


@given(old=lengths, new=lengths)
def test_weights_are_means_and_keep_constants(old: int, new: int) -> None:
    weights = axis_weights(old, new)
    assert weights.shape == (new, old)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)  # neither end is preferred


@given(old=st.integers(4, 40), new=st.integers(4, 40))
def test_a_straight_line_stays_where_it_is_away_from_the_ends(old: int, new: int) -> None:
    line = (np.arange(old) + 0.5) / old
    wanted = (np.arange(new) + 0.5) / new
    inside = np.abs(wanted - 0.5) < 0.5 - 1 / old - 1 / new
    np.testing.assert_allclose(
        (axis_weights(old, new) @ line)[inside], wanted[inside], atol=0.26 / new if new < old else 1e-5
    )


def test_the_same_grid_changes_nothing() -> None:
    np.testing.assert_array_equal(axis_weights(7, 7), np.eye(7, dtype=np.float32))


short = st.integers(1, 12)


@given(st.tuples(short, short, short), st.tuples(short, short, short), st.integers(0, 99))
def test_slice_by_slice_equals_all_at_once(old: tuple[int, ...], new: tuple[int, ...], seed: int) -> None:
    volume = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    read: list[int] = []

    def slice_of(z: int) -> np.ndarray:
        read.append(z)
        return volume[z]

    got = np.stack(list(resampled(slice_of, old, new)))
    whole = np.einsum("zyx,az,by,cx->abc", volume, *map(axis_weights, old, new), optimize=True)
    np.testing.assert_allclose(got, whole, atol=1e-5)
    assert read == sorted(set(read)), "each slice is read once, in order"


@pytest.mark.parametrize("wanted", [(2.5, 1.0, 1.0), (1.0, 0.5, 0.7)])
def test_there_and_back_a_smooth_volume_is_kept(wanted: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    volume = gaussian_filter(rng.normal(size=(24, 40, 44)), (2, 3, 3), mode="nearest").astype(np.float32)
    volume /= volume.std()
    there_shape = new_shape(volume.shape, (1.3, 0.8, 0.8), wanted)
    there = list(resampled(lambda z: volume[z], volume.shape, there_shape))
    back = np.stack(list(resampled(lambda z: there[z], there_shape, volume.shape)))
    assert np.sqrt(np.mean((back - volume) ** 2)) < 0.2


def test_the_new_grid_spans_the_old_one() -> None:
    assert new_shape((100, 512, 512), (1.0, 0.7, 0.7), (2.5, 1, 1)) == (40, 358, 358)
    assert new_shape((1, 2, 3), (0.1, 0.1, 0.1), (2.5, 1, 1)) == (1, 1, 1)


@given(old=lengths, new=lengths, data=st.data())
def test_a_span_covers_what_it_spanned(old: int, new: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, old - 1))
    last = data.draw(st.integers(first + 1, old))
    low, high = span(first, last, old, new)
    assert 0 <= low < high <= new
    assert low / new <= first / old + 1e-9
    assert high / new >= last / old - 1e-9
