"""A slide at a glance, and the strength of its stain."""

from __future__ import annotations

from ushape.predict.slides.base import Bytes
from ushape.predict.slides.view import View


def coarse(view: View, mpp: float) -> View:
    """The same slide at a coarser pixel size, or the view itself where it is that coarse already."""
    return View(view.slide, mpp) if mpp > view.mpp else view


def overview(view: View, side: int = 2048) -> Bytes:
    """The whole slide, RGB uint8, its longer side `side` px or, if it is smaller, as it is."""
    small = coarse(view, view.mpp * max(view.height, view.width) / side)
    return small.read(0, 0, small.height, small.width)
