from __future__ import annotations

from dataclasses import replace

import numpy as np

from ushape.reproduce.unet2015.borders import weight_maps
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack
from ushape.reproduce.unet2015.tiles import Tiles


def test_a_step_gives_one_tile_and_always_the_same(stack: Stack, small: Settings) -> None:
    tiles, again = (Tiles(stack, range(4), small, 184) for _ in range(2))
    one, same, other = tiles.draw(5), again.draw(5), tiles.draw(6)
    assert one.light.shape == (284, 284)
    assert one.light.dtype == one.weights.dtype == np.float32
    assert one.labels.shape == one.weights.shape == (100, 100)
    assert set(np.unique(one.labels).tolist()) == {0, 1}
    for name in ("light", "labels", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert (getattr(one, name) != getattr(other, name)).any()
    assert (Tiles(stack, range(4), replace(small, seed=1), 184).draw(5).light != one.light).any()


def test_image_labels_and_weights_are_deformed_alike(stack: Stack, small: Settings) -> None:
    """A slice whose grey values are its labels, and weights that follow them, stay so in every tile."""
    same = Stack(stack.interior.astype(np.float32), stack.interior, stack.names, "")
    tiles = Tiles(same, range(4), replace(small, gain=0, shift=0, w0=0), 184)
    membrane, inside = weight_maps(same.interior[:4], 0)[[0, 0], *np.array([[0, 0], [4, 4]]).T]
    for step in range(4):
        made = tiles.draw(step)
        middle = made.light[92:-92, 92:-92]
        assert ((middle > 0.5) == made.labels).mean() > 0.98
        clear = abs(middle - 0.5) > 0.6
        np.testing.assert_allclose(made.weights[clear], np.where(made.labels, inside, membrane)[clear], rtol=0.05)


def test_only_the_slices_given_are_seen(stack: Stack, small: Settings) -> None:
    dark = stack.light.copy()
    dark[4:] = np.nan
    tiles = Tiles(replace(stack, light=dark), range(4), small, 184)
    assert all(np.isfinite(tiles.draw(step).light).all() for step in range(12))


def test_ingredients_can_be_left_out(stack: Stack, small: Settings) -> None:
    assert (Tiles(stack, range(4), replace(small, weighted=False), 184).draw(0).weights == 1).all()
    rigid = replace(small, deviation=0.0)
    assert (Tiles(stack, range(4), rigid, 184).draw(0).light != Tiles(stack, range(4), small, 184).draw(0).light).any()
