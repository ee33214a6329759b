"""A slide while it is predicted: which tiles are left, what a tile shows, and where its result belongs.

Two ways to lay tiles together. `crop`: of each tile its core alone is kept, a margin from its edge; where the margin
is at least what a network sees, that is what the network makes of the whole slide (overlap-tile, Ronneberger et al.
2015, section 2). `blend`: tiles overlap by two margins and weights fade from one to the next, for networks that see
further; the sums of one row of tiles at a time are in memory, in stripes where a row is long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.data.windows import cut_from
from ushape.predict.score import likeliest
from ushape.predict.store import Store
from ushape.predict.tiling import Plan, window

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]

STRIPE = 2**27
"""Bytes that the sums of one row of blended tiles may take."""


class Source(Protocol):
    """What is predicted: `read` gives RGB uint8 [height, width, 3] of a part that lies inside."""

    height: int
    width: int

    def read(self, top: int, left: int, height: int, width: int) -> Bytes: ...


class Where(Protocol):
    """Where there is tissue, in px of the source."""

    def touches(self, top: int, left: int, height: int, width: int) -> bool: ...

    def crop(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Part:
    """A tile to compute: `corner` (y, x) in px of the source, may be negative; `unit`: see `Canvas`."""

    unit: int
    corner: tuple[int, int]


class Canvas(ABC):
    """Tiles of `plan` over a source, in their order; results are taken in that order too.

    `units`: parts that are done or not, as a store counts them. `wants`: "labels", "probabilities" or "cells", what
    `put` takes. cell: side in px of cells; where it is not 1, `put` takes what a tile tells a filter of its cells, for
    the store's cells, and `plan` and corners of parts are in cells.
    """

    units: int
    wants: str

    def __init__(self, plan: Plan, source: Source, tissue: Where, cell: int = 1) -> None:
        self._pixels, self.plan, self.cell = plan, plan.in_cells(cell), cell
        self.source, self.tissue = source, tissue

    def open(self, store: Store) -> None:
        self.store = store

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """What is left to compute."""

    @abstractmethod
    def put(self, part: Part, result: Bytes | Float) -> None:
        """Labels uint8 [S, S], or probabilities or cells float32 [C, S, S] of a part; S: of the plan."""

    def close(self) -> None:  # noqa: B027 - only blending has a last row to write
        """All parts have been put."""

    def tile(self, part: Part) -> Bytes:
        """RGB uint8 [S, S, 3], mirrored beyond the border."""
        y, x = part.corner
        shape, corner = (self._pixels.height, self._pixels.width), (y * self.cell, x * self.cell)
        return cut_from(self.source.read, shape, corner, self._pixels.size)

    def _touches(self, *region: int) -> bool:
        return self.tissue.touches(*(self.cell * each for each in region))

    def _write(self, top: int, left: int, made: Bytes | Float) -> None:
        """To the store what a part says: labels [h, w], or probabilities or cells [C, h, w]."""
        if self.cell == 1:
            write_pixels(self.store, self.tissue, top, left, made)
        else:
            assert self.store.cells is not None
            self.store.cells.write(top, left, made.astype(np.float32, copy=False))


def write_pixels(store: Store, tissue: Where, top: int, left: int, made: Bytes | Float) -> None:
    """To a store labels [h, w] or probabilities [C, h, w], where there is tissue; the mask decides where that ends.

    Where all probabilities are 0, there is nothing.
    """
    labels = np.array(made, np.uint8) if made.ndim == 2 else likeliest(made.astype(np.float32, copy=False))
    outside = ~tissue.crop(top, left, *labels.shape)
    if made.ndim == 3:
        outside |= ~made.any(0)
    labels[outside] = IGNORE
    levels = None
    if made.ndim == 3 and store.probabilities is not None:
        levels = np.rint(made * 255).astype(np.uint8)  # [C, h, w]
        levels[:, outside] = 0
    store.write(top, left, labels, levels)


class Crop(Canvas):
    """The core of each tile; a unit is a tile."""

    def __init__(self, plan: Plan, source: Source, tissue: Where, probabilities: bool = False, cell: int = 1) -> None:
        super().__init__(plan, source, tissue, cell)
        self.units = len(plan.corners)
        self.wants = "cells" if cell > 1 else "probabilities" if probabilities else "labels"

    def parts(self) -> Iterator[Part]:
        for unit, corner in enumerate(self.plan.corners):
            if not self.store.done[unit] and self._touches(*self._core(corner)):
                yield Part(unit, corner)

    def put(self, part: Part, result: Bytes | Float) -> None:
        top, left, height, width = self._core(part.corner)
        inner = np.s_[top - part.corner[0] :, left - part.corner[1] :]
        self._write(top, left, result[(..., *inner)][..., :height, :width])
        self.store.mark(part.unit)

    def _core(self, corner: tuple[int, int]) -> tuple[int, int, int, int]:
        plan, (y, x) = self.plan, corner
        top, left = y + plan.margin, x + plan.margin
        side = plan.size - 2 * plan.margin
        return top, left, min(side, plan.height - top), min(side, plan.width - left)


class Blended(Canvas):
    """Weighted sums; a unit is a row of tiles in a stripe, whose pixels that no later row touches are then written."""

    def __init__(self, plan: Plan, source: Source, tissue: Where, classes: int, cell: int = 1) -> None:
        super().__init__(plan, source, tissue, cell)
        plan = self.plan  # in cells
        self.wants = "cells" if cell > 1 else "probabilities"
        self.rows = sorted({y for y, _ in plan.corners})
        columns = sorted({x for _, x in plan.corners})
        step = plan.size - 2 * plan.margin
        wide = max(1, STRIPE // ((classes + 1) * 4 * plan.size) // step)  # tiles in a stripe
        cuts = [*range(0, len(columns), wide), len(columns)]
        self._before = -(-plan.size // step) - 1  # tiles before one that reach into its first pixels
        self.stripes = [(max(0, a - self._before), a, b) for a, b in pairwise(cuts)]
        self.columns, self.units = columns, len(self.stripes) * len(self.rows)
        self._window = window(plan.size, plan.margin)
        self._classes, self._at = classes, (-1, -1)

    def parts(self) -> Iterator[Part]:
        for stripe, (begin, _, end) in enumerate(self.stripes):
            first = stripe * len(self.rows)
            corners = [
                [(y, x) for x in self.columns[begin:end] if self._touches(*self._inside((y, x)))] for y in self.rows
            ]
            left = [r for r, row in enumerate(corners) if row and not self.store.done[first + r]]
            if not left:
                continue
            for r in range(max(0, left[0] - self._before), len(self.rows)):
                yield from (Part(first + r, corner) for corner in corners[r])

    def put(self, part: Part, result: Bytes | Float) -> None:
        self._go_to(*divmod(part.unit, len(self.rows)))
        top, left, height, width = self._inside(part.corner)
        inner = np.s_[top - part.corner[0] :, left - part.corner[1] :]
        y, x = top - self._top(self._at[1]), left - self._left
        weight = self._window[inner][:height, :width]
        self._sum[:, y : y + height, x : x + width] += result[(..., *inner)][..., :height, :width] * weight
        self._weight[y : y + height, x : x + width] += weight

    def close(self) -> None:
        stripe, row = self._at
        if stripe >= 0:
            self._finish(stripe, row, len(self.rows))

    def _go_to(self, stripe: int, row: int) -> None:
        """Make this row the current one: those before it are complete."""
        if self._at[0] == stripe:
            self._finish(stripe, self._at[1], row)
        else:
            self.close()
            begin, _, end = self.stripes[stripe]
            self._left = max(self.columns[begin], 0)
            right = min(self.columns[end - 1] + self.plan.size, self.plan.width)
            self._sum = np.zeros((self._classes, self.plan.size, right - self._left), np.float32)
            self._weight = np.zeros((self.plan.size, right - self._left), np.float32)
        self._at = (stripe, row)

    def _finish(self, stripe: int, row: int, until: int) -> None:
        """Write the pixels of rows `row` to `until` - 1 that `until` does not touch, and let the sums slide on."""
        for r in range(row, until):
            top = self._top(r)
            bottom = self._top(r + 1) if r + 1 < len(self.rows) else self.plan.height
            _, first, end = self.stripes[stripe]
            left = max(self.columns[first], 0)
            right = self.columns[end] if end < len(self.columns) else self.plan.width
            here = np.s_[: bottom - top, left - self._left : right - self._left]
            weight = self._weight[here]
            mean = (self._sum[:, *here] / np.where(weight > 0, weight, 1)).astype(np.float32)  # [C, h, w]
            if not self.store.done[stripe * len(self.rows) + r]:
                self._write(top, left, mean)
                self.store.mark(stripe * len(self.rows) + r)
            for sums in (self._sum, self._weight):
                sums[..., : -(bottom - top) or None, :] = sums[..., bottom - top :, :].copy()
                sums[..., sums.shape[-2] - (bottom - top) :, :] = 0

    def _top(self, row: int) -> int:
        return max(self.rows[row], 0)

    def _inside(self, corner: tuple[int, int]) -> tuple[int, int, int, int]:
        """The part of a tile that lies in the source: top, left, height, width."""
        (y, x), size = corner, self.plan.size
        top, left = max(y, 0), max(x, 0)
        return top, left, min(y + size, self.plan.height) - top, min(x + size, self.plan.width) - left
