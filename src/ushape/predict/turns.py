"""Test-time augmentation: an image seen turned and mirrored, and what was seen brought back to its place."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from ushape.errors import RunError

View = tuple[int, bool]
"""Quarter turns, then whether left and right change places."""

TTA: dict[str, tuple[View, ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (2, False), (0, True), (2, True)),  # left-right, up-down and both
    "d4": tuple(product(range(4), (False, True))),
}
"""The views whose probabilities are averaged."""


def views(tta: str) -> tuple[View, ...]:
    """The views of a test-time augmentation; RunError where there is none of this name."""
    if tta not in TTA:
        raise RunError(f"tta {tta!r}: give one of {', '.join(TTA)}")
    return TTA[tta]


def turn(x: Tensor, view: View, rows: int = 2, columns: int = 3) -> Tensor:
    """x as the view shows it; rows, columns: its two dimensions of space."""
    x = torch.rot90(x, view[0], (rows, columns))
    return x.flip(columns) if view[1] else x


def turn_back(x: Tensor, view: View, rows: int = 2, columns: int = 3) -> Tensor:
    """What `turn` shows -> x."""
    x = x.flip(columns) if view[1] else x
    return torch.rot90(x, -view[0], (rows, columns))
