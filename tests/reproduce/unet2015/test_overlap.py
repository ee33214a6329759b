from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ushape.errors import SpecError
from ushape.nets.unet import Network
from ushape.reproduce.unet2015.loop import start_network
from ushape.reproduce.unet2015.overlap import mirrored, output_size, overlap_tile
from ushape.reproduce.unet2015.settings import Settings


@pytest.fixture(scope="module")
def net() -> Network:
    return start_network(Settings(width=2)).eval()


def _scores(net: Network, tile: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        made: np.ndarray = net(torch.from_numpy(np.ascontiguousarray(tile))[None, None])[0].numpy()
    return made


@settings(max_examples=10)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(12, 24), st.integers(0, 2**16))
def test_tiles_give_what_the_whole_mirrored_image_gives(
    net: Network, height: int, width: int, sixteens: int, seed: int
) -> None:
    """In double precision far below 1e-5; in single, to 1e-5 of the largest score (up to about 30 here)."""
    drawn = np.random.default_rng(seed).normal(size=(height, width))
    for made_net, image, allowed in ((net, drawn.astype(np.float32), 1e-5), (_double(net), drawn, 1e-10)):
        whole = _scores(made_net, mirrored(image, net))[:, :height, :width]
        tiles: list[tuple[int, ...]] = []

        def run(tile: np.ndarray, to: list[tuple[int, ...]] = tiles, by: Network = made_net) -> np.ndarray:
            to.append(tile.shape)
            return _scores(by, tile)

        made = overlap_tile(run, net, image, 16 * sixteens + 60)
        assert made.dtype == image.dtype
        np.testing.assert_allclose(made, whole, rtol=0, atol=allowed * abs(whole).max())
        assert max(max(shape) for shape in tiles) <= 16 * sixteens + 60
        assert (len(tiles) > 1) == (max(mirrored(image, net).shape) > 16 * sixteens + 60)


def _double(net: Network) -> Network:
    return copy.deepcopy(net).double()


def test_mirrored_borders_are_what_the_network_loses(net: Network) -> None:
    image = np.arange(20.0 * 30, dtype=np.float32).reshape(20, 30)
    made = mirrored(image, net)
    assert made.shape == (output_size(net, 20) + 184, output_size(net, 30) + 184) == (204, 220)
    np.testing.assert_array_equal(made[92:112, 92:122], image)
    np.testing.assert_array_equal(made[91, 92:122], image[1])
    np.testing.assert_array_equal(made[92:112, 122], image[:, -2])


def test_a_slice_of_the_challenge_takes_four_tiles_of_the_papers_size_or_less(net: Network) -> None:
    shapes = []

    def run(tile: np.ndarray) -> np.ndarray:
        shapes.append(tile.shape)
        return np.zeros((2, tile.shape[0] - 184, tile.shape[1] - 184), np.float32)

    overlap_tile(run, net, np.zeros((512, 512), np.float32))
    assert shapes == [(444, 444)] * 4


@pytest.mark.parametrize("size", [188 - 16, 187, 301])
def test_a_tile_that_the_network_cannot_take_is_refused(net: Network, size: int) -> None:
    with pytest.raises(SpecError, match="give"):
        overlap_tile(lambda tile: tile[None], net, np.zeros((9, 9), np.float32), size)
