"""Outlines are rings of pixel corners that bound exactly their regions and share vertices with their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from ushape.predict.outlines import Rings, regions, trace

shapely = pytest.importorskip("shapely")

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.sampled_from([0, 1, 2, 255]))


def polygons(rings: Rings) -> list[Any]:
    """A polygon for each region, in the order of their numbers."""
    pieces = np.split(rings.corners, rings.starts[1:-1])
    outer = {int(r): piece for r, piece, hole in zip(rings.region, pieces, rings.hole, strict=True) if not hole}
    assert len(outer) == (~rings.hole).sum(), "one outer ring a region"
    holes: dict[int, list[Any]] = {region: [] for region in outer}
    for region, piece, hole in zip(rings.region, pieces, rings.hole, strict=True):
        if hole:
            holes[int(region)].append(piece)
    return [shapely.Polygon(outer[region], holes[region]) for region in sorted(outer)]


@given(MAPS)
def test_regions_hang_together_across_edges_and_have_one_label(labels: Any) -> None:
    found, label_of = regions(labels)
    assert np.array_equal(label_of[found], labels)
    for region in range(len(label_of)):
        assert ndimage.label(found == region)[1] == 1
    neighbours = [(found[1:], found[:-1]), (found[:, 1:], found[:, :-1])]
    for one, other in neighbours:
        assert not ((one != other) & (label_of[one] == label_of[other])).any()


@given(MAPS)
def test_polygons_are_valid_and_cover_exactly_the_pixels_of_their_region(labels: Any) -> None:
    found, label_of = regions(labels)
    made = polygons(trace(found))
    assert len(made) == len(label_of)
    y, x = np.indices(labels.shape) + 0.5
    for region, polygon in enumerate(made):
        assert polygon.is_valid
        assert polygon.area == (found == region).sum()
        assert np.array_equal(shapely.contains_xy(polygon, x, y), found == region)


@given(MAPS)
def test_neighbours_share_every_vertex_of_their_common_border(labels: Any) -> None:
    assert shapely.coverage_is_valid(polygons(trace(regions(labels)[0])))


@given(MAPS)
def test_rings_run_clockwise_on_the_screen_around_regions_and_against_it_around_holes(labels: Any) -> None:
    rings = trace(regions(labels)[0])
    for piece, hole in zip(np.split(rings.corners, rings.starts[1:-1]), rings.hole, strict=True):
        assert shapely.LinearRing(piece).is_ccw != hole  # counter-clockwise where y goes up is clockwise on the screen
        assert shapely.LinearRing(piece).is_simple


def test_straight_borders_have_no_vertex_but_where_three_regions_meet() -> None:
    labels = np.zeros((6, 8), np.uint8)
    labels[3:, :4], labels[3:, 4:] = 1, 2
    upper, lower, right = polygons(trace(regions(labels)[0]))
    assert set(upper.exterior.coords) == {(0, 0), (8, 0), (8, 3), (4, 3), (0, 3)}
    assert set(lower.exterior.coords) == {(0, 3), (4, 3), (4, 6), (0, 6)}
    assert set(right.exterior.coords) == {(4, 3), (8, 3), (8, 6), (4, 6)}


def test_a_region_that_meets_itself_in_a_corner_is_one_polygon_with_a_hole() -> None:
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    made = {int(p.area): p for p in polygons(trace(regions(labels)[0]))}
    assert len(made[7].interiors) == 1
    assert made[7].is_valid
