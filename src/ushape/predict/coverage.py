"""The regions of a block of a label map as polygons, simplified together, so that neighbours stay neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from ushape.predict.outlines import regions, trace

Bytes = NDArray[np.uint8]
Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]

AGREEMENT = 0.005
"""Share of a class's area by which its polygons may differ from the map, over all blocks so far."""

_FINEST = 0.7
"""px: a lower tolerance removes nothing, since the smallest triangle of pixel corners has half a pixel."""


@dataclass
class Areas:
    """Areas in px², float64 [256] by label, of the blocks so far: in the map, and of its polygons."""

    of_map: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    of_polygons: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))

    def plus(self, labels: Bytes, of_map: NDArray[np.float64], of_polygons: NDArray[np.float64]) -> Areas:
        """These areas and those of more regions with these labels."""
        return Areas(
            self.of_map + np.bincount(labels, of_map, minlength=256),
            self.of_polygons + np.bincount(labels, of_polygons, minlength=256),
        )

    @property
    def agree(self) -> bool:
        """Each label has the same area in both, within AGREEMENT."""
        return bool((np.abs(self.of_polygons - self.of_map) <= AGREEMENT * self.of_map + 1e-6).all())


@dataclass(frozen=True)
class Block:
    """Polygons of a block where they were placed, the label of each, and the areas of all blocks up to this one.

    area: of each polygon in px² of the label map.
    """

    polygons: NDArray[Any]
    labels: Bytes
    area: NDArray[np.float64]
    areas: Areas


def polygons(labels: Bytes, tolerance: float, place: Place, areas: Areas, most: int) -> Block:
    """Polygons of the regions of a block of labels [H, W], each placed by `place` (corners [n, 2] -> [n, 2]).

    Simplified by Visvalingam and Whyatt: a vertex goes while the triangle with its neighbours is smaller than
    tolerance² (px²). The border of the block stays, and every vertex where three regions meet. The tolerance is halved,
    to none in the end, until `areas` and this block's agree and all polygons are valid where they were placed. A region
    of more than `most` vertices is cut along pixel edges.
    """
    found, label_of = regions(labels)
    while True:
        raw = _build(found)
        while True:
            made = shapely.coverage_simplify(raw, tolerance, simplify_boundary=False) if tolerance >= _FINEST else raw
            placed, area = shapely.transform(made, place), shapely.area(made)
            after = areas.plus(label_of, shapely.area(raw), area)
            if tolerance < _FINEST or (after.agree and shapely.is_valid(placed).all()):
                break
            tolerance /= 2
        counts = shapely.get_num_coordinates(placed)
        if (counts <= most).all():
            return Block(shapely.orient_polygons(placed), label_of, area, after)
        for region in np.flatnonzero(counts > most).tolist():
            label_of = _cut(found, label_of, region, -(-int(counts[region]) // most))


def _build(found: NDArray[np.int32]) -> NDArray[Any]:
    """One polygon for each region, in the order of their numbers, in px of the block."""
    rings = trace(found)
    lengths = np.diff(rings.starts)
    closed = shapely.linearrings(rings.corners.astype(np.float64), indices=np.repeat(np.arange(len(lengths)), lengths))
    order = np.lexsort((rings.hole, rings.region))  # the outer ring of each region first
    made: NDArray[Any] = shapely.polygons(closed[order], indices=rings.region[order])
    return made


def _cut(found: NDArray[np.int32], label_of: Bytes, region: int, parts: int) -> Bytes:
    """Cut a region into about so many parts, in place; the labels of all regions afterwards."""
    (box,) = ndimage.find_objects((found == region).astype(np.uint8))
    inside = found[box] == region
    height, width = inside.shape
    rows = min(max(1, round((parts * height / width) ** 0.5)), parts, height, 15)
    columns = min(-(-parts // rows), width, 15)
    cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    parted, kind = regions(np.where(inside, cell + 1, 0).astype(np.uint8))
    pieces = np.flatnonzero(kind)
    number = np.zeros(len(kind), np.int32)
    number[pieces] = [region, *range(len(label_of), len(label_of) + len(pieces) - 1)]
    found[box][inside] = number[parted[inside]]
    return np.append(label_of, np.full(len(pieces) - 1, label_of[region]))
