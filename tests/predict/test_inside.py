"""Annotations of QuPath: what lies inside them, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ushape.errors import DataError
from ushape.predict import inside as module
from ushape.predict.inside import Annotation, count_inside, read_annotations

shapely = pytest.importorskip("shapely")

Blobs = Callable[..., Any]
COORDINATE = st.floats(-5, 35).map(lambda value: round(value, 3))


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@given(
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9, unique=True), st.sampled_from([1.0, 2.0, 3.7])
)
def test_pixels_inside_are_those_whose_middle_is(corners: list[tuple[float, float]], to_slide: float) -> None:
    polygon = shapely.make_valid(shapely.Polygon(corners))
    polygons = [p for p in getattr(polygon, "geoms", [polygon]) if p.geom_type == "Polygon" and p.area > 0.01]
    if not polygons:
        return
    parts = tuple(np.hstack([(c := shapely.get_coordinates(p.exterior))[:-1], c[1:]]) for p in polygons)
    labels = np.random.default_rng(0).integers(0, 5, (23, 31), np.uint8)
    y, x = (np.indices(labels.shape) + 0.5) * to_slide
    expected = np.zeros(labels.shape, bool)
    unclear = np.zeros(labels.shape, bool)
    for each in polygons:
        expected |= shapely.contains_xy(shapely.Polygon(each.exterior), x, y)
        unclear |= shapely.distance(each.exterior, shapely.points(x, y)) < 1e-9
    found = count_inside(labels, Annotation("a", parts), to_slide)
    least, most = (np.bincount(labels[mask], minlength=256) for mask in (expected & ~unclear, expected | unclear))
    assert (least <= found).all()
    assert (found <= most).all()


def test_a_ring_that_is_not_closed_holds_what_a_closed_one_does(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint8)
    for ring in ([[4, 4], [24, 4], [24, 24], [4, 24], [4, 4]], [[4, 4], [24, 4], [24, 24], [4, 24]]):
        one = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
        (found,), without = read_annotations(written(tmp_path / "a.geojson", one))
        assert count_inside(labels, found, 1.0).sum() == 400
        assert without == 0


def test_polygons_in_a_collection_are_areas(tmp_path: Path) -> None:
    box, other = shapely.box(4, 4, 24, 24), shapely.MultiPolygon([shapely.box(30, 30, 34, 34)])
    nested = shapely.GeometryCollection([shapely.Point(1, 1), shapely.GeometryCollection([box, other])])
    content = [feature(nested, name="a"), feature(shapely.GeometryCollection([shapely.Point(1, 1)]), name="b")]
    (found,), without = read_annotations(written(tmp_path / "a.geojson", content))
    assert count_inside(np.zeros((40, 40), np.uint8), found, 1.0).sum() == 416
    assert (found.name, without) == ("a", 1)


def test_holes_are_outside_and_areas_of_one_name_count_once(
    tmp_path: Path, blobs: Blobs, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = blobs(80, 100)
    ring = shapely.box(20, 20, 120, 120).difference(shapely.box(40, 60, 80, 90))
    over = shapely.MultiPolygon([shapely.box(100, 100, 140, 150), shapely.box(0, 0, 4, 4)])
    path = written(tmp_path / "a", [feature(ring, name="region"), feature(over, name="region")])
    (annotation,), without = read_annotations(path)
    expected = np.zeros(labels.shape, bool)
    expected[10:60, 10:60] = True
    expected[30:45, 20:40] = False
    expected[50:75, 50:70] = True
    expected[:2, :2] = True
    monkeypatch.setattr(module, "BAND", 7)
    source = watched(labels)
    assert np.array_equal(count_inside(source, annotation, 2.0), np.bincount(labels[expected], minlength=256))
    assert source.largest <= 7 * 70
    assert without == 0


def test_names_are_the_features_own_else_their_class(tmp_path: Path) -> None:
    box = shapely.box(0, 0, 5, 5)
    features = [
        feature(box, name="Biopsy 1", classification={"name": "Tumor"}),
        feature(box, classification={"name": "Tumor", "color": [1, 2, 3]}),
        feature(shapely.Point(1, 1)),
        feature(shapely.LineString([(0, 0), (3, 3)]), name="ruler"),
        feature(box),
    ]
    for content in (features, {"type": "FeatureCollection", "features": features}):
        found, without = read_annotations(written(tmp_path / "a", content))
        assert [one.name for one in found] == ["Biopsy 1", "Tumor", "annotation 5"]
        assert without == 2
    (single,), _ = read_annotations(written(tmp_path / "a", features[0]))
    assert single.name == "Biopsy 1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text", "no GeoJSON of features"),
        ([], "holds no polygon"),
        ([{"type": "Feature", "geometry": None, "properties": None}], "holds no polygon"),
        ([{"type": "Feature"}], "feature 1 is no GeoJSON feature"),
        ([{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}], "feature 1 is no GeoJSON feature"),
        ([{"geometry": {"type": "Polygon", "coordinates": []}}], "feature 1 is no GeoJSON feature"),
        ([3], "feature 1 is no GeoJSON feature"),
    ],
)
def test_what_is_no_annotation_is_told(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_annotations(written(tmp_path / "a.geojson", content))


def test_an_annotation_beside_the_map_has_nothing_in_it(blobs: Blobs) -> None:
    edges = np.array([[900, 900, 950, 900], [950, 900, 950, 950], [950, 950, 900, 900]], float)
    assert count_inside(blobs(50, 50), Annotation("a", (edges,)), 1.0).sum() == 0
