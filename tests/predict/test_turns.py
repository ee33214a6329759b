"""Turning an image and turning back."""

from __future__ import annotations

import pytest
import torch

from ushape.predict.turns import TTA, View, turn, turn_back, views


@pytest.mark.parametrize("view", TTA["d4"])
def test_turning_back_undoes_turning(view: View) -> None:
    x = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    turned = turn(x, view)
    assert torch.equal(turn_back(turned, view), x)
    assert torch.equal(turn(turn_back(x, view), view), x)
    assert view == (0, False) or turned.shape != x.shape or not torch.equal(turned, x)


@pytest.mark.parametrize(("tta", "count"), [("none", 1), ("flips", 4), ("d4", 8)])
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
    assert torch.equal(turn_back(last, view, 1, 2), x.movedim(1, -1))


def test_the_command_line_names_the_same_augmentations() -> None:
    from ushape.cli import TTA_NAMES

    assert tuple(TTA) == TTA_NAMES
