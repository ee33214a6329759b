from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ushape.reproduce.unet2015.borders import cells
from ushape.reproduce.unet2015.thinning import thinned


def test_a_wide_membrane_becomes_a_line_in_its_middle() -> None:
    interior = np.ones((6, 15), bool)
    interior[:, 4:11] = False  # 7 px wide: the line is at 7, give or take a pixel
    made = thinned(interior)
    line = made == 0
    assert (line.sum(1) == 1).all()
    assert set(np.nonzero(line)[1].tolist()) <= {6, 7, 8}
    assert (made[:, :6] == made[0, 0]).all()
    assert (made[:, 9:] == made[0, -1]).all()


def test_a_membrane_of_one_pixel_stays_as_it_is() -> None:
    interior = np.ones((5, 5), bool)
    interior[2] = False
    np.testing.assert_array_equal(thinned(interior), [[1] * 5, [1] * 5, [0] * 5, [2] * 5, [2] * 5])


def test_what_lies_inside_one_cell_is_filled_and_what_has_no_cell_is_border() -> None:
    interior = np.ones((9, 9), bool)
    interior[3:6, 3:6] = False
    assert (thinned(interior) == 1).all()
    assert (thinned(np.zeros((4, 4), bool)) == 0).all()
    assert (thinned(np.ones((4, 4), bool)) == 1).all()


@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_cells_grow_never_touch_and_leave_no_membrane_that_one_cell_could_take(interior: np.ndarray) -> None:
    before, after = cells(interior), thinned(interior)
    np.testing.assert_array_equal(after[interior], before[interior])
    for axis in (0, 1):
        a, b = np.delete(after, -1, axis), np.delete(after, 0, axis)
        assert not ((a != b) & (a > 0) & (b > 0)).any()
    framed = np.pad(after, 1)
    around = np.stack([framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]])
    for y, x in zip(*np.nonzero(after == 0), strict=True):
        assert len({v for v in around[:, y, x].tolist() if v}) != 1
