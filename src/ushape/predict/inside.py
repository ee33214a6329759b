"""Annotations drawn in QuPath (GeoJSON), and how much of which tissue lies inside each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.files import read_json
from ushape.predict.store import Grid

Edges = NDArray[np.float64]

BAND = 512
"""Rows of the label map that are looked at together."""


@dataclass(frozen=True)
class Annotation:
    """Areas of one name. parts: for each polygon or multi-polygon the edges of all its rings, [n, 4] as x0, y0, x1, y1.

    A point is inside a part if a ray from it crosses an odd number of its edges, so that holes count as outside, and
    inside the annotation if it is in any part. Coordinates are px of the slide's level 0,
    from the corner of its scanned area.
    """

    name: str
    parts: tuple[Edges, ...]


def read_annotations(path: Path) -> tuple[list[Annotation], int]:
    """Annotations with an area of a GeoJSON file, those of one name together, and how many features have none.

    The name is the feature's own, else its classification's, else `annotation N`. DataError where the file is no
    GeoJSON, or holds no area.
    """
    found: dict[str, list[Edges]] = {}
    features = _features(path)
    without = 0
    for number, feature in enumerate(features, 1):
        try:
            about = feature.get("properties") or {}
            parts = _parts(feature["geometry"] or {})
            if not parts:
                without += 1
                continue
            name = about.get("name") or (about.get("classification") or {}).get("name") or f"annotation {number}"
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"{path}: feature {number} is no GeoJSON feature: export it from QuPath again") from error
        found.setdefault(str(name), []).extend(parts)
    if not found:
        raise DataError(f"{path}: holds no polygon: draw an area in QuPath and export it as GeoJSON")
    return [Annotation(name, tuple(parts)) for name, parts in found.items()], without


def count_inside(
    labels: Grid, annotation: Annotation, to_slide: float, corner: tuple[int, int] = (0, 0)
) -> NDArray[np.int64]:
    """Pixels of each label, int64 [256], whose middle lies inside an annotation.

    labels: uint8 [H, W]. to_slide: level-0 px of the slide per px of the map. corner: (x, y) in px of level 0 where the
    annotation's coordinates begin. Read band by band.
    """
    height, width = labels.shape
    counts = np.zeros(256, np.int64)
    parts = [(edges + np.array(corner * 2)) / to_slide for edges in annotation.parts]
    every = np.concatenate(parts)
    first, last = (int(np.clip(end, 0, height)) for end in (every[:, 1::2].min(), np.ceil(every[:, 1::2].max())))
    left, right = (int(np.clip(end, 0, width)) for end in (every[:, ::2].min(), np.ceil(every[:, ::2].max())))
    for top in range(first, last, BAND):
        bottom = min(top + BAND, last)
        mask = np.zeros((bottom - top, right - left), bool)
        for edges in parts:
            mask |= _inside(edges - np.array([left, top, left, top]), *mask.shape)
        counts += np.bincount(labels[top:bottom, left:right][mask], minlength=256)
    return counts


def _inside(edges: Edges, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels [height, width] whose middle the edges enclose, by the even-odd rule."""
    x0, y0, x1, y1 = edges.T
    # rows whose middle the edge crosses: from the one below its upper end to the one above its lower end
    begin = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    length = end - begin
    edge = np.repeat(np.arange(len(edges)), length)
    row = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + begin[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)  # the first pixel whose middle is to its right
    crossings = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(crossings, (row, column), 1)
    return np.bitwise_xor.accumulate(crossings, axis=1)[:, :width].astype(bool)


def _parts(geometry: Any) -> list[Edges]:
    """The parts that a geometry has, those of the geometries in a collection together; none for points and lines."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        return [part for each in geometry["geometries"] for part in _parts(each)]
    if kind not in ("Polygon", "MultiPolygon"):
        return []
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    return [np.concatenate([_edges(ring) for polygon in polygons for ring in polygon])]


def _edges(ring: Any) -> Edges:
    """The edges of a ring; one that does not end where it begins, as GeoJSON demands, is closed."""
    corners = np.asarray(ring, np.float64)[:, :2]
    if not np.array_equal(corners[0], corners[-1]):
        corners = np.vstack([corners, corners[:1]])
    if len(corners) < 4 or not np.isfinite(corners).all():
        raise ValueError
    return np.hstack([corners[:-1], corners[1:]])


def _features(path: Path) -> list[Any]:
    """Features of a collection, a list or a single one, as QuPath exports all three."""
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    if not isinstance(content, list):
        raise DataError(f"{path}: is no GeoJSON of features: export annotations from QuPath as GeoJSON")
    return content
