"""A slide at a glance, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ushape.predict.slides.base import Bytes
from ushape.predict.slides.resample import resample, windows
from ushape.predict.slides.view import View

if TYPE_CHECKING:
    from ushape.threads import Lanes

_AT_ONCE = 2**20
"""Pixels of a view that are read at once where all of it is."""


def coarse(view: View, mpp: float) -> View:
    """The same slide at a coarser pixel size, or the view itself where it is that coarse already."""
    return View(view.slide, mpp) if mpp > view.mpp else view


def overview(view: View, side: int = 2048) -> Bytes:
    """The whole slide, RGB uint8, its longer side `side` px or, if it is smaller, as it is.

    Made of `view.glance` where that is large enough, which spares a slide without coarse levels a second reading.
    """
    longer = max(view.height, view.width)
    share = min(1.0, side / longer)
    seen = view.glance
    if seen is not None and max(seen.shape) >= share * longer:
        rows, columns = (
            windows(there, min(there, max(1, round(length * share))))
            for there, length in zip(seen.shape[:2], (view.height, view.width), strict=True)
        )
        height, width = len(rows.first), len(columns.first)
        return resample(rows, columns, 0, 0, height, width, lambda y, x, h, w: seen[y : y + h, x : x + w])
    small = coarse(view, view.mpp / share)
    made = np.empty((small.height, small.width, 3), np.uint8)
    for top, band in in_bands(small, None):
        made[top : top + len(band)] = band
    return made


def in_bands(view: View, lanes: Lanes | None, multiple: int = 1) -> Iterator[tuple[int, Bytes]]:
    """The whole view in bands of rows, from the top: (first row, RGB uint8 [h, width, 3]), h a multiple of `multiple`.

    At most a few bands are held: two a lane.
    """
    rows = max(1, _AT_ONCE // (view.width * multiple)) * multiple

    def read(top: int) -> tuple[int, Bytes]:
        return top, view.read(top, 0, min(rows, view.height - top), view.width)

    tops = range(0, view.height, rows)
    return map(read, tops) if lanes is None else lanes.map(read, tops)
