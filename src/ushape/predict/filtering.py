"""The guided filter over a slide whose cells are on disk: part by part, as if it were filtered whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ushape.predict.canvas import Where, write_pixels
from ushape.predict.guided import CELL, enlarged, filtered, reach
from ushape.predict.store import Store

PART = 384
"""Side in cells of what is filtered at once: with what lies around it about 150 MB."""


def filter_cells(
    store: Store, tissue: Where, radius: int, broken: Sequence[tuple[int, int, int, int]] = (), part: int = PART
) -> None:
    """Fill the store's labels and probabilities from its cells (see `ushape.predict.guided`); radius in px.

    Cells without tissue, and those of regions that could not be read (top, left, height, width), count nowhere.
    """
    assert store.cells is not None
    rows, columns = store.cells.shape
    height, width = store.labels.shape
    around = reach(radius)
    for top, left in product(range(0, rows, part), range(0, columns, part)):
        bottom, right = min(rows, top + part), min(columns, left + part)
        here = top * CELL, left * CELL, min(height, bottom * CELL) - top * CELL, min(width, right * CELL) - left * CELL
        if not tissue.touches(*here):
            continue
        first, begin = max(0, top - around), max(0, left - around)
        last, end = min(rows, bottom + around), min(columns, right + around)
        valid = _valid(tissue, first, begin, min(height, last * CELL), min(width, end * CELL), broken)
        made = filtered(store.cells.read(first, begin, last, end), radius, valid)
        up, to_left = min(1, top - first), min(1, left - begin)  # a neighbour, between which and these is interpolated
        near = made[:, top - first - up : bottom - first + 1, left - begin - to_left : right - begin + 1]
        fine = enlarged(np.ascontiguousarray(near), up * CELL + here[2], to_left * CELL + here[3])
        write_pixels(store, tissue, *here[:2], fine[:, up * CELL :, to_left * CELL :])


def _valid(
    tissue: Where, first: int, begin: int, bottom: int, right: int, broken: Sequence[tuple[int, int, int, int]]
) -> NDArray[np.bool_]:
    """Which cells hold tissue that was read, bool [h, w]: from (first, begin), in cells, to (bottom, right), in px."""
    top, left = first * CELL, begin * CELL
    mask = np.array(tissue.crop(top, left, bottom - top, right - left))
    for y, x, height, width in broken:
        mask[max(0, y - top) : max(0, y + height - top), max(0, x - left) : max(0, x + width - left)] = False
    mask = np.pad(mask, [(0, -side % CELL) for side in mask.shape])
    cells: NDArray[np.bool_] = mask.reshape(mask.shape[0] // CELL, CELL, -1, CELL).max((1, 3))
    return cells
