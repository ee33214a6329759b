"""GeoJSON of a label map: exact where nothing is simplified, of equal areas and without gaps where it is."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from ushape.data.classes import IGNORE, grouping
from ushape.errors import DataError, RunError
from ushape.predict import polygons as module
from ushape.predict.coverage import AGREEMENT, Areas
from ushape.predict.coverage import polygons as traced
from ushape.predict.polygons import save_geojson

shapely = pytest.importorskip("shapely")

FIVE = grouping("bcss-5")
VALUES = st.sampled_from([0, 1, 2, 3, 4, IGNORE])
SMALL = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES)
Blobs = Callable[..., Any]

at_leisure = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def features(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    found: list[dict[str, Any]] = content["features"]
    return found


def shapes(path: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Polygons of a file, and the class of each."""
    found = features(path)
    classes = [FIVE.classes.index(f["properties"]["classification"]["name"]) for f in found]
    return np.array([shapely.geometry.shape(f["geometry"]) for f in found], object), np.array(classes, np.int64)


def rasterised(path: Path, shape: tuple[int, int], to_slide: float, origin: tuple[float, float]) -> NDArray[np.uint8]:
    """The label map that polygons stand for, by GDAL."""
    features_module = pytest.importorskip("rasterio.features")
    transform = pytest.importorskip("rasterio.transform").Affine(to_slide, 0, origin[0], 0, to_slide, origin[1])
    made, classes = shapes(path)
    if not len(made):
        return np.full(shape, IGNORE, np.uint8)
    pairs = list(zip(made, classes.tolist(), strict=True))
    back: NDArray[np.uint8] = features_module.rasterize(
        pairs, out_shape=shape, fill=IGNORE, transform=transform, dtype="uint8"
    )
    return back


def areas(path: Path, to_slide: float) -> NDArray[np.float64]:
    """Area of each class in px² of the label map."""
    made, classes = shapes(path)
    return np.bincount(classes, shapely.area(made), minlength=5) / to_slide**2


# -- exactness -------------------------------------------------------------------------------------------------------


@at_leisure
@given(SMALL, st.sampled_from([1.0, 2.0, 4.8123]), st.integers(1, 14))
def test_without_tolerance_polygons_are_the_map(tmp_path: Path, labels: Any, to_slide: float, side: int) -> None:
    origin = (100.0, 7.0)
    save_geojson(tmp_path / "a", labels, 1.0, to_slide, FIVE, None, 0.0, float(side), origin)
    assert np.array_equal(rasterised(tmp_path / "a", labels.shape, to_slide, origin), labels)
    made, classes = shapes(tmp_path / "a")
    assert shapely.is_valid(made).all()
    counts = np.bincount(labels.ravel(), minlength=256)[:5]
    assert np.bincount(classes, shapely.area(made), minlength=5) / to_slide**2 == pytest.approx(counts, rel=1e-3)


@settings(at_leisure, max_examples=25)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.8, 2.5]), st.sampled_from([1.0, 3.0, 20.0]), st.integers(25, 60)
)
def test_areas_agree_with_the_map_at_any_tolerance(
    tmp_path: Path, blobs: Blobs, seed: int, size: float, tolerance: float, side: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = blobs(40, 60, seed, size)
    labels[tuple(rng.integers(0, (40, 60), (20, 2)).T)] = 3  # specks of a pixel
    save_geojson(tmp_path / "a", labels, 2.0, 4.0, FIVE, None, 2.0 * tolerance, 2.0 * side)
    counts = np.bincount(labels.ravel(), minlength=256)[:5]
    assert (np.abs(areas(tmp_path / "a", 4.0) - counts) <= AGREEMENT * counts + 1e-4).all()
    made, _ = shapes(tmp_path / "a")
    assert shapely.is_valid(made).all()


@pytest.mark.parametrize("tolerance", [2.0, 5.0])
def test_simplified_neighbours_neither_overlap_nor_leave_gaps(tmp_path: Path, blobs: Blobs, tolerance: float) -> None:
    labels = blobs(230, 310, size=8)
    labels[labels == IGNORE] = 0
    save_geojson(tmp_path / "a", labels, 1.0, 3.3, FIVE, None, tolerance, 100.0)
    save_geojson(tmp_path / "exact", labels, 1.0, 3.3, FIVE, None, 0.0, 100.0)
    made, _ = shapes(tmp_path / "a")
    whole = 230 * 310 * 3.3**2
    assert shapely.area(made).sum() == pytest.approx(whole, rel=1e-6)
    assert shapely.union_all(made).area == pytest.approx(whole, rel=1e-6)
    assert (tmp_path / "a").stat().st_size < 0.6 * (tmp_path / "exact").stat().st_size


def test_simplified_outlines_stay_near_the_map(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(200, 300, size=8)
    save_geojson(tmp_path / "a", labels, 1.0, 1.0, FIVE, None, 2.0)
    moved = rasterised(tmp_path / "a", labels.shape, 1.0, (0, 0)) != labels
    assert 0 < moved.mean() < 0.03
    y, x = np.nonzero(moved)
    for dy, dx in zip(y, x, strict=True):  # what changed its class lies beside a border
        near = labels[max(0, dy - 2) : dy + 3, max(0, dx - 2) : dx + 3]
        assert len(np.unique(near)) > 1


# -- the file --------------------------------------------------------------------------------------------------------


def test_features_are_what_qupath_imports(tmp_path: Path) -> None:
    labels = np.full((9, 9), IGNORE, np.uint8)
    labels[1:8, 1:8] = 1
    labels[3:5, 3:5] = 2
    assert save_geojson(tmp_path / "a", labels, 0.5, 2.0, FIVE, tolerance_um=0, origin=(10, 20)) == 2
    stroma, inflammatory = features(tmp_path / "a")
    assert stroma["type"] == "Feature"
    assert stroma["properties"] == {
        "objectType": "annotation",
        "name": "stroma",
        "classification": {"name": "stroma", "color": [102, 194, 165]},
        "measurements": {"Area µm^2": (49 - 4) * 0.25},
    }
    assert inflammatory["properties"]["classification"] == {"name": "inflammatory", "color": [94, 79, 162]}
    outer, hole = stroma["geometry"]["coordinates"]
    assert stroma["geometry"]["type"] == "Polygon"
    assert outer[0] == outer[-1]
    assert {tuple(p) for p in outer} == {(12, 22), (26, 22), (26, 36), (12, 36)}
    assert {tuple(p) for p in hole} == {(16, 26), (20, 26), (20, 30), (16, 30)}
    assert shapely.LinearRing(outer).is_ccw  # RFC 7946, 3.1.6
    assert not shapely.LinearRing(hole).is_ccw


def test_a_map_without_tissue_is_an_empty_collection(tmp_path: Path) -> None:
    assert save_geojson(tmp_path / "a", np.full((5, 5), IGNORE, np.uint8), 1.0, 1.0, FIVE) == 0
    assert features(tmp_path / "a") == []


def test_only_the_classes_asked_for_are_written(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(60, 60)
    count = save_geojson(tmp_path / "a", labels, 1.0, 1.0, FIVE, ["necrosis", "tumor"], 0.0)
    _, classes = shapes(tmp_path / "a")
    assert len(classes) == count
    assert set(classes.tolist()) == {0, 3}
    assert areas(tmp_path / "a", 1.0)[[0, 3]] == pytest.approx([(labels == 0).sum(), (labels == 3).sum()])


def test_a_region_of_too_many_vertices_is_cut_along_pixels(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(120, 200, size=2)
    counts = []
    for most in (10_000, 60):
        counts.append(save_geojson(tmp_path / "a", labels, 1.0, 1.0, FIVE, None, 1.0, most_vertices=most))
        made, _ = shapes(tmp_path / "a")
        assert shapely.get_num_coordinates(made).max() <= most
        assert (np.abs(areas(tmp_path / "a", 1.0) / np.bincount(labels.ravel())[:5] - 1) <= AGREEMENT).all()
    assert counts[1] > counts[0]
    save_geojson(tmp_path / "a", labels, 1.0, 1.0, FIVE, None, 0.0, most_vertices=60)
    assert np.array_equal(rasterised(tmp_path / "a", labels.shape, 1.0, (0, 0)), labels)


def test_noise_is_traced_in_smaller_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (64, 50), np.uint8)
    monkeypatch.setattr(module, "_BORDERS", 500)
    seen: list[tuple[int, ...]] = []

    def watching(block: Any, *rest: Any) -> Any:
        seen.append(block.shape)
        return traced(block, *rest)

    monkeypatch.setattr(module, "polygons", watching)
    save_geojson(tmp_path / "a", labels, 1.0, 1.0, FIVE, tolerance_um=0)
    assert max(h * w for h, w in seen) < 500
    assert np.array_equal(rasterised(tmp_path / "a", labels.shape, 1.0, (0, 0)), labels)


def test_the_map_is_read_in_blocks_no_larger_than_asked(tmp_path: Path, blobs: Blobs, watched: Any) -> None:
    source = watched(blobs(300, 400))
    save_geojson(tmp_path / "a", source, 0.5, 1.0, FIVE, max_side_um=30)
    assert source.largest == 60 * 60


def test_areas_are_kept_over_all_blocks_not_in_each() -> None:
    square = np.zeros((4, 4), np.uint8)
    square[1:3, 1:3] = 1
    strict = traced(square, 2.0, lambda corners: corners, Areas(), 100)
    assert strict.area.sum() == 16
    assert strict.area[strict.labels == 1].sum() == 4  # alone, the speck must keep its area
    spacious = Areas(np.full(256, 1e4), np.full(256, 1e4))
    assert traced(square, 2.0, lambda corners: corners, spacious, 100).area[strict.labels == 1].sum() < 4


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_an_unknown_class_is_refused_with_the_nearest(tmp_path: Path, blobs: Blobs) -> None:
    with pytest.raises(DataError, match="unknown class 'tumour'; did you mean 'tumor'"):
        save_geojson(tmp_path / "a", blobs(20, 20), 1.0, 1.0, FIVE, ["tumour"])


def test_a_label_of_no_class_is_refused_and_nothing_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has label 9"):
        save_geojson(tmp_path / "a", np.full((5, 5), 9, np.uint8), 1.0, 1.0, FIVE)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(RunError, match="free some space"):
        save_geojson(tmp_path / "a", blobs(60, 60), 1.0, 1.0, FIVE)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]
