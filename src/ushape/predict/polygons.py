"""The regions of a label map as GeoJSON that QuPath imports as annotations, with class names and colours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import shapely
from numpy.typing import NDArray

from ushape.data.classes import IGNORE, Grouping
from ushape.errors import DataError, nearest
from ushape.files import replacing
from ushape.predict.coverage import Areas, Block, polygons
from ushape.predict.store import Grid

MOST_VERTICES = 20_000
"""A feature with more is cut: QuPath draws and edits it slowly."""

WIDEST = 2048
"""px: blocks are no larger than this whatever the size in µm, since tracing one needs about 150 bytes a pixel."""

SMALL = 2500.0
"""µm²: regions of a class that are smaller (50 µm square) stand together in one feature a block: there are thousands in
a slide, and QuPath is slow with so many objects."""

_BORDERS = 2**21
"""A block with more pixel edges between regions than this is quartered first: noise, which takes memory to trace."""


def save_geojson(
    path: Path,
    labels: Grid,
    mpp: float,
    to_slide: float,
    grouping: Grouping,
    classes: Sequence[str] | None = None,
    tolerance_um: float = 2.0,
    max_side_um: float = 4000.0,
    origin: tuple[float, float] = (0.0, 0.0),
    most_vertices: int = MOST_VERTICES,
) -> int:
    """Write the regions of a label map uint8 [H, W] at `mpp` µm per px; the number of features written.

    to_slide: level-0 px of the slide per px of the map. origin: (x, y) of the map's corner in level-0 px. classes: only
    these, where given. tolerance_um: outlines lose detail below this size, see `coverage.polygons`; 0 keeps every
    pixel. The map is cut into blocks of at most `max_side_um`, at whose borders regions end and go on in the next. A
    feature is a region, or all regions of a class below SMALL in a block.

    Areas of polygons and of the map agree for every class within `coverage.AGREEMENT`, regions do not overlap, and
    between neighbours there is no gap. DataError where a class is unknown, or where the map has labels that the
    grouping has not; RunError where the disk is full.
    """
    wanted = _wanted(grouping, classes)
    side = max(1, min(WIDEST, int(max_side_um / mpp)))
    areas, count = Areas(), 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for top, left, block in _blocks(labels, side):
            if not _present(path, block, grouping)[wanted].any():
                continue

            def place(corners: NDArray[np.float64], top: int = top, left: int = left) -> NDArray[np.float64]:
                return np.round((corners + np.array([left, top])) * to_slide + origin, 4)

            made = polygons(block, tolerance_um / mpp, place, areas, most_vertices)
            areas = made.areas
            count = _write(file, made, wanted, grouping, mpp, most_vertices, count)
        file.write("\n]}\n")
    return count


def _blocks(labels: Grid, side: int) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Blocks of a map with their top and left; those with very many borders come as quarters."""
    height, width = labels.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield from _quartered(top, left, labels[top : top + side, left : left + side])


def _quartered(top: int, left: int, block: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    borders = np.count_nonzero(block[1:] != block[:-1]) + np.count_nonzero(block[:, 1:] != block[:, :-1])
    if borders <= _BORDERS:
        yield top, left, block
        return
    height, width = (-(-size // 2) for size in block.shape)
    for y in range(0, block.shape[0], height):
        for x in range(0, block.shape[1], width):
            yield from _quartered(top + y, left + x, block[y : y + height, x : x + width])


def _write(
    file: TextIO, made: Block, wanted: NDArray[np.intp], grouping: Grouping, mpp: float, most: int, count: int
) -> int:
    """Append the features of a block; the number of all features so far."""
    written = np.flatnonzero(np.isin(made.labels, wanted))
    small = written[made.area[written] * mpp**2 < SMALL]
    alone = np.setdiff1d(written, small, assume_unique=True)
    parts = _together(made.labels[small], shapely.get_num_coordinates(made.polygons[small]), most)
    ordered = made.polygons[small][parts.order]
    joined = shapely.multipolygons(ordered, indices=parts.number)
    lonely = np.bincount(parts.number)[parts.number] == 1
    joined[parts.number[lonely]] = ordered[lonely]  # a polygon, not a collection of one
    shapes = shapely.to_geojson(np.concatenate([made.polygons[alone], joined]))
    labels = np.concatenate([made.labels[alone], parts.labels])
    areas = np.concatenate([made.area[alone], np.bincount(parts.number, made.area[small][parts.order])])
    for shape, label, area in zip(shapes, labels.tolist(), (areas * mpp**2).tolist(), strict=True):
        about = _properties(grouping, label, area)
        separator = "," if count else ""
        file.write(f'{separator}\n{{"type": "Feature", "geometry": {shape}, "properties": {about}}}')
        count += 1
    return count


@dataclass(frozen=True)
class _Parts:
    """Polygons put together: their `order`, the `number` of the feature of each in that order, each feature's label."""

    order: NDArray[np.intp]
    number: NDArray[np.intp]
    labels: NDArray[np.uint8]


def _together(labels: NDArray[np.uint8], vertices: NDArray[np.int32], most: int) -> _Parts:
    """Small polygons with their labels and vertices -> features of one label with at most `most` vertices."""
    order = np.argsort(labels, kind="stable")
    begins = np.zeros(len(order), bool)
    label, room = -1, 0
    for i, (one, size) in enumerate(zip(labels[order].tolist(), vertices[order].tolist(), strict=True)):
        begins[i] = one != label or size > room
        label, room = one, (most if begins[i] else room) - size
    return _Parts(order, np.cumsum(begins) - 1, labels[order][begins])


def _properties(grouping: Grouping, label: int, area: float) -> str:
    """A feature's properties as QuPath 0.4 and later reads them; `area` in µm²."""
    name = grouping.classes[label]
    about: dict[str, Any] = {"objectType": "annotation", "name": name}
    about["classification"] = {"name": name, "color": list(grouping.colours[label])}
    about["measurements"] = {"Area µm^2": round(area, 2)}
    return json.dumps(about, ensure_ascii=False)


def _wanted(grouping: Grouping, classes: Sequence[str] | None) -> NDArray[np.intp]:
    """Indices of the classes that are written."""
    known = list(grouping.classes)
    for name in classes or ():
        if name not in known:
            raise DataError(f"unknown class {name!r}{nearest(name, known)} ({grouping.id}: {', '.join(known)})")
    return np.array([known.index(name) for name in (known if classes is None else classes)], np.intp)


def _present(path: Path, block: NDArray[np.uint8], grouping: Grouping) -> NDArray[np.bool_]:
    """Which labels a block has, bool [256]; DataError where one of them is no class."""
    present = np.zeros(256, bool)
    present[block.ravel()] = True
    foreign = np.flatnonzero(present[len(grouping.classes) : IGNORE]) + len(grouping.classes)
    if len(foreign):
        raise DataError(f"{path}: the label map has label {foreign[0]}, which {grouping.id} has not: predict it again")
    return present
