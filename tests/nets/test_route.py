"""Ways of arrows: right-angled, from the right or bottom of a box to the left or bottom of another, through none."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ushape.nets.route import PORTS, Router

CELLS = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=10)


@settings(max_examples=15, deadline=None)
@given(CELLS, st.data())
def test_ways(boxes: set[tuple[int, int]], data: st.DataObject) -> None:
    router = Router(5, 4, boxes)
    pairs = sorted((a, b) for a in boxes for b in boxes if a[0] < b[0])
    chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=5, unique=True)) if pairs else []
    for start, end in chosen:
        way = router.route(start, end, start)
        assert way[0][0] == router.x(start[0])
        assert router.y(start[1]) <= way[0][1] < router.y(start[1]) + PORTS
        assert way[-1][0] == router.x(end[0])
        assert router.y(end[1]) <= way[-1][1] < router.y(end[1]) + PORTS
        for (x, y), (x2, y2) in pairwise(way):
            assert (x == x2) != (y == y2)
        assert way[1][0] > way[0][0] or way[1][1] > way[0][1]
        (x, y), (x2, y2) = way[-2:]
        assert x < x2 or y > y2  # from the left or from below
        points = {
            (x, y)
            for (a, b), (c, d) in pairwise(way)
            for x in range(min(a, c), max(a, c) + 1)
            for y in range(min(b, d), max(b, d) + 1)
        }
        assert points & router.blocked <= {way[0], way[-1]}


def test_what_is_free_is_straight_and_shared() -> None:
    boxes = [(0, 0), (1, 1), (2, 0), (3, 0)]
    router = Router(4, 2, boxes)
    middle = router.y(0, PORTS // 2)
    assert router.route((0, 0), (2, 0), "a") == [(router.x(0), middle), (router.x(2), middle)]
    assert len(router.route((0, 0), (1, 1), "b")) == 3  # down and to the right
    assert len(router.route((1, 1), (2, 0), "c")) == 3  # to the right and up
    other = router.route((0, 0), (3, 0), "a")
    assert other[0] == (router.x(0), middle)  # leaves with the first of its source
