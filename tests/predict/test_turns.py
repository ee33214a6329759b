"""Turning an image and turning back."""

from __future__ import annotations

import pytest
import torch

from ushape.predict.turns import TTA, View, turn, turn_back, views


@pytest.mark.parametrize("view", TTA["d4"])
def test_turning_back_undoes_turning(view: View) -> None:
    x = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    turned = turn(x, view)
    assert torch.equal(turn_back(turned, view, (5, 7)), x)
    assert torch.equal(turn(turn_back(x, view, (5, 7)), view), x)
    assert view == View() or turned.shape != x.shape or not torch.equal(turned, x)


@pytest.mark.parametrize(("tta", "count"), [("none", 1), ("flips", 4), ("d4", 8), ("zooms", 8)])
def test_every_view_is_another_one(tta: str, count: int) -> None:
    x = torch.arange(36).reshape(1, 1, 6, 6)
    assert len({tuple(turn(x, view).flatten().tolist()) for view in views(tta)}) == count


def test_flips_are_the_four_that_keep_rows_and_columns() -> None:
    x = torch.arange(12).reshape(1, 1, 3, 4)
    made = {tuple(turn(x, view).flatten().tolist()) for view in TTA["flips"]}
    assert made == {tuple(x.flip(dims).flatten().tolist()) for dims in ((), (2,), (3,), (2, 3))}


@pytest.mark.parametrize("view", TTA["d4"])
def test_images_whose_channels_stand_last_are_turned_alike(view: View) -> None:
    x = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    last = turn(x.movedim(1, -1), view, 1, 2)
    assert torch.equal(last, turn(x, view).movedim(1, -1))
    assert torch.equal(turn_back(last, view, (5, 7), 1, 2), x.movedim(1, -1))


@pytest.mark.parametrize("view", TTA["zooms"])
def test_what_is_seen_larger_or_smaller_comes_back_to_its_place(view: View) -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 90), torch.linspace(0, 2, 60), indexing="ij")
    smooth = torch.stack([rows.sin(), columns.cos(), rows * columns])[None]
    seen = turn(smooth, view)
    assert {*seen.shape[2:]} == {round(90 * view.zoom), round(60 * view.zoom)}
    back = turn_back(seen, view, (90, 60))
    assert (back - smooth)[..., 4:-4, 4:-4].abs().max() < 0.01


def test_an_image_of_bytes_is_enlarged_to_bytes_without_overflow() -> None:
    image = torch.zeros(40, 30, 3, dtype=torch.uint8)
    image[10:, 10:] = 255  # an edge, at which a cubic overshoots
    seen = turn(image, View(zoom=1.5), 0, 1)
    assert seen.dtype == torch.uint8
    assert seen.shape == (60, 45, 3)
    assert set(seen[20:, 20:].unique().tolist()) == {255}
    assert set(seen[:10].unique().tolist()) == {0}


def test_the_command_line_names_the_same_augmentations() -> None:
    from ushape.arguments import CELL, MAX_RADIUS
    from ushape.cli import TTA_NAMES
    from ushape.predict import tiling
    from ushape.train.recipe import BOUNDS

    assert tuple(TTA) == TTA_NAMES
    assert BOUNDS["guided"] == (0, MAX_RADIUS)
    assert CELL == tiling.CELL
