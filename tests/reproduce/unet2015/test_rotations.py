from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from ushape.reproduce.unet2015.loop import start_network
from ushape.reproduce.unet2015.rotations import Seer
from ushape.reproduce.unet2015.settings import Settings


class Through(Seer):
    """What it is shown it sees."""

    def interior(self, light: np.ndarray) -> np.ndarray:
        return light


@pytest.fixture
def light() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(50, 64)), 4).astype(np.float32)


def test_what_was_turned_is_turned_back_to_its_place(light: np.ndarray) -> None:
    made = Through(start_network(Settings(width=1)), torch.device("cpu"), 188).rotated(light, 7)
    assert made.shape == (7, 50, 64)
    np.testing.assert_array_equal(made[0], light)
    for each in made[1:]:
        np.testing.assert_allclose(each, light, atol=0.02 * float(np.ptp(light)))


def test_a_real_network_sees_the_slice_from_all_sides(light: np.ndarray) -> None:
    seer = Seer(start_network(Settings(width=2)), torch.device("cpu"), 252)
    made = seer.rotated(light, 3)
    np.testing.assert_array_equal(made[0], seer.interior(light))
    assert ((made >= 0) & (made <= 1)).all()
    assert abs(made[1] - made[0]).max() > 0.01  # the network is not symmetrical
