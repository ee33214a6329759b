"""Test-time augmentation: an image seen turned, mirrored and enlarged, and what was seen brought back to its place."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ushape.errors import RunError


class View(NamedTuple):
    """Quarter turns, whether left and right change places, and how many times as large the image is seen."""

    turns: int = 0
    mirrored: bool = False
    zoom: float = 1.0


D4 = tuple(View(turns, mirrored) for turns, mirrored in product(range(4), (False, True)))

ZOOMS = (0.8, 1.0, 1.25, 1.5, 1.8, 1.5, 1.25, 1.0)
"""Those of `zooms`: pixel sizes of images are often wrong, and nuclei differ in size from patient to patient."""

TTA: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flips": (View(), View(2), View(0, True), View(2, True)),  # left-right, up-down and both
    "d4": D4,
    "zooms": tuple(view._replace(zoom=zoom) for view, zoom in zip(D4, ZOOMS, strict=True)),
}
"""The views whose probabilities are averaged."""


def views(tta: str) -> tuple[View, ...]:
    """The views of a test-time augmentation; RunError where there is none of this name."""
    if tta not in TTA:
        raise RunError(f"tta {tta!r}: give one of {', '.join(TTA)}")
    return TTA[tta]


def turn(x: Tensor, view: View, rows: int = 2, columns: int = 3) -> Tensor:
    """x as the view shows it; rows, columns: its two dimensions of space. Enlarging is bicubic, of uint8 rounded."""
    if view.zoom != 1:
        height, width = (round(x.shape[side] * view.zoom) for side in (rows, columns))
        x = _resized(x, (height, width), rows, columns, "bicubic")
    x = torch.rot90(x, view.turns, (rows, columns))
    return x.flip(columns) if view.mirrored else x


def turn_back(x: Tensor, view: View, size: tuple[int, int], rows: int = 2, columns: int = 3) -> Tensor:
    """What `turn` shows -> x, of height and width `size`; by linear interpolation where it was enlarged."""
    x = x.flip(columns) if view.mirrored else x
    x = torch.rot90(x, -view.turns, (rows, columns))
    return x if view.zoom == 1 else _resized(x, size, rows, columns, "bilinear")


def _resized(x: Tensor, size: tuple[int, int], rows: int, columns: int, how: str) -> Tensor:
    last = x.movedim((rows, columns), (-2, -1))  # [..., H, W]
    flat = last.reshape(1, -1, *last.shape[-2:]).float()
    made = F.interpolate(flat, size, mode=how, align_corners=False, antialias=True)
    if x.dtype == torch.uint8:
        made = made.round().clamp(0, 255).to(torch.uint8)
    return made.reshape(*last.shape[:-2], *size).movedim((-2, -1), (rows, columns))
