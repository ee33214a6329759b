"""Training crops: the right slices, the right place, nothing but what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from ushape.lits.crops import Crops
from ushape.lits.prepare import Prepared
from ushape.lits.window import as_input, neighbours, window


def _case(depth: int = 9, side: int = 40) -> Prepared:
    """HU that tell slice and row; labels 1 and 2 in two corners."""
    image = (
        (np.arange(depth)[:, None, None] * 20 - 100 + np.arange(side)[:, None] // 10).repeat(side, 2).astype(np.int16)
    )
    labels = np.zeros((depth, side, side), np.uint8)
    labels[4, 2:5, 3:6], labels[6, 30:33, 20:23] = 1, 2
    return Prepared("0", image, labels)


@pytest.mark.parametrize(
    ("z", "slices", "wanted"),
    [(5, 5, [3, 4, 5, 6, 7]), (0, 5, [0, 0, 0, 1, 2]), (9, 5, [7, 8, 9, 9, 9]), (4, 1, [4]), (0, 3, [0, 0, 1])],
)
def test_neighbours_stand_again_beyond_the_ends(z: int, slices: int, wanted: list[int]) -> None:
    assert neighbours(z, 10, slices) == wanted


def test_the_window_is_the_papers() -> None:
    np.testing.assert_array_equal(window(np.array([-1000, -200, 50, 3000], np.float32)), [-200, -200, 50, 200])
    np.testing.assert_array_equal(as_input(np.array([-200, 0, 200], np.int16)), [-1, 0, 1])


@pytest.mark.parametrize("slices", [1, 5])
def test_a_crop_is_adjacent_slices_around_that_of_its_labels(slices: int) -> None:
    crops = Crops([_case()], 24, slices, 1.0, seed=0)
    for step in range(60):
        image, labels = crops.draw(step, 0)
        assert image.shape == (slices, 24, 24)
        assert labels.shape == (24, 24)
        z = {1: 4, 2: 6}[int(labels.max())]
        rows = image.max(2)  # of each slice and row
        inside = rows[slices // 2] > -1
        got = np.round((rows[:, inside] - rows[slices // 2, inside]) * 10)
        np.testing.assert_array_equal(got[:, 0], [n - z for n in neighbours(z, 9, slices)])


def test_balanced_crops_show_each_class_as_often() -> None:
    crops = Crops([_case()], 24, 1, 1.0, seed=0)
    seen = [int(crops.draw(step, 0)[1].max()) for step in range(200)]
    assert 70 < seen.count(1) < 130


def test_a_class_that_no_case_has_is_not_drawn() -> None:
    """Lesions alone are labelled in some sets."""
    case = _case()
    crops = Crops([Prepared("0", case.image, np.where(case.labels == 2, case.labels, 0))], 24, 1, 1.0, seed=0)
    assert {int(crops.draw(step, 0)[1].max()) for step in range(20)} == {2}


def test_a_crop_larger_than_the_volume_has_air_around_it() -> None:
    image, labels = Crops([_case(side=20)], 32, 1, 0.0, seed=0).draw(3, 1)
    assert (image[0, :6] == -1).all()
    assert (image[0, -6:] == -1).all()
    assert (image[0, 6:26, 6:26] > -1).all()
    assert not labels[:6].any()


def test_a_crop_depends_on_its_number_alone() -> None:
    crops, again = (Crops([_case()], 16, 5, 0.5, seed=7) for _ in range(2))
    crops.draw(0, 0)
    for pair in zip(crops.draw(11, 3), again.draw(11, 3), strict=True):
        np.testing.assert_array_equal(*pair)
    assert any((crops.draw(11, 3)[0] != crops.draw(11, place)[0]).any() for place in range(3))


def test_left_and_right_are_exchanged_in_half_of_the_crops() -> None:
    case = _case()
    mirrored = Prepared("0", np.broadcast_to(np.arange(40, dtype=np.int16), (9, 40, 40)), case.labels)
    crops = Crops([mirrored], 16, 1, 0.0, seed=0)
    flipped = [bool(crops.draw(step, 0)[0][0, 0, 0] > crops.draw(step, 0)[0][0, 0, 15]) for step in range(100)]
    assert 30 < sum(flipped) < 70
