"""The guided filter over a slide whose cells are on disk: part by part, as if it were filtered whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ushape.predict.canvas import Where, write_pixels
from ushape.predict.guided import enlarged, filtered, reach
from ushape.predict.slides.base import Box
from ushape.predict.store import Store
from ushape.predict.tiling import CELL
from ushape.threads import Lanes

PART = 256
"""Side in cells of what is filtered at once: with what lies around it about 80 MB a lane."""


def filter_cells(
    store: Store,
    tissue: Where,
    radius: int,
    lanes: Lanes,
    broken: Sequence[Box] = (),
    part: int = PART,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Fill the store's labels and probabilities from its cells (see `ushape.predict.guided`); radius in px.

    Cells without tissue, and those of regions that could not be read, count nowhere. Parts are computed and written by
    the lanes; not to be called from one of them. `check` is called now and then; what it raises ends it.
    """
    assert store.cells is not None
    cells, around = store.cells, reach(radius)
    (rows, columns), (height, width) = cells.shape, store.labels.shape

    def pixels(top: int, left: int) -> Box:
        """Top, left, height and width in px of the part that begins there, in cells."""
        end, side = min(height, (top + part) * CELL), min(width, (left + part) * CELL)
        return top * CELL, left * CELL, end - top * CELL, side - left * CELL

    def fill(corner: tuple[int, int]) -> None:
        top, left = corner
        first, begin = max(0, top - around), max(0, left - around)
        last, end = min(rows, top + part + around), min(columns, left + part + around)
        valid = _valid(tissue, first, begin, min(height, last * CELL), min(width, end * CELL), broken)
        made = filtered(cells.read(first, begin, last, end), radius, valid)
        up, aside = min(1, top - first), min(1, left - begin)  # neighbours, between which and these is interpolated
        near = made[:, top - first - up : top - first + part + 1, left - begin - aside : left - begin + part + 1]
        here = pixels(top, left)
        fine = enlarged(np.ascontiguousarray(near), up * CELL + here[2], aside * CELL + here[3])
        write_pixels(store, tissue, *here[:2], fine[:, up * CELL :, aside * CELL :])

    corners = product(range(0, rows, part), range(0, columns, part))
    for _ in lanes.map(fill, (corner for corner in corners if tissue.touches(*pixels(*corner)))):
        check()


def _valid(tissue: Where, first: int, begin: int, bottom: int, right: int, broken: Sequence[Box]) -> NDArray[np.bool_]:
    """Which cells hold tissue that was read, bool [h, w]: from (first, begin), in cells, to (bottom, right), in px."""
    top, left = first * CELL, begin * CELL
    mask = np.array(tissue.crop(top, left, bottom - top, right - left))
    for y, x, height, width in broken:
        mask[max(0, y - top) : max(0, y + height - top), max(0, x - left) : max(0, x + width - left)] = False
    mask = np.pad(mask, [(0, -side % CELL) for side in mask.shape])
    cells: NDArray[np.bool_] = mask.reshape(mask.shape[0] // CELL, CELL, -1, CELL).max((1, 3))
    return cells
