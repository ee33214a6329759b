"""Ways of arrows between boxes that stand in the cells of a table: right-angled, through no box and no text.

Between the columns, and over the rows, there are tracks; a row itself has a few lines, on which arrows leave boxes at
the right and reach them at the left. An arrow may also leave a box at its bottom, and reach one there. Over a box
stands its text, so nothing comes from above. Arrows of one source may share their way; others cross at right angles.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import pairwise

Cell = tuple[int, int]
"""Column and row."""
Point = tuple[int, int]
"""A vertical and a horizontal line, by their numbers."""

GUTTERS, CHANNELS, PORTS = 7, 7, 11
"""Tracks before each column and over each row; lines through a row."""
BEND, CROSS, TOUCH, SHARED = 30.0, 25.0, 400.0, 0.9


class Router:
    """Keeps what is already taken: route the arrows that should be straightest first."""

    def __init__(self, columns: int, rows: int, boxes: Iterable[Cell]) -> None:
        self.xs = _places(columns, GUTTERS, 1, 8.0, 36.0)
        self.ys = _places(rows, CHANNELS, PORTS, 3.0, 44.0)
        self.blocked = {(self.x(column), y) for column, row in boxes for y in range(self.y(row), self.y(row) + PORTS)}
        self.along: dict[tuple[int, int, bool], set[object]] = {}  # from a point to the next one, across or not
        self.at: dict[Point, set[tuple[object, str]]] = {}

    def x(self, column: int) -> int:
        """The vertical line through the middle of a column."""
        return column * (GUTTERS + 1) + GUTTERS

    def y(self, row: int, port: int = 0) -> int:
        """A horizontal line through a row."""
        return row * (CHANNELS + PORTS) + CHANNELS + port

    def route(self, start: Cell, end: Cell, key: object) -> list[Point]:
        """From a box to one in a column further right: the first point, the bends, the last point."""
        goal_x, top, bottom = self.x(end[0]), self.y(end[1]), self.y(end[1], PORTS - 1)
        first_x, last = self.x(start[0]), self.y(start[1], PORTS - 1)
        heap: list[tuple[float, float, int, int, bool]] = []  # bound, cost, x, y, across
        best: dict[tuple[int, int, bool], float] = {}
        came: dict[tuple[int, int, bool], tuple[int, int, bool] | None] = {}

        def left(x: int, y: int, across: bool) -> float:
            far = max(self.ys[top] - self.ys[y], self.ys[y] - self.ys[bottom], 0.0)
            return SHARED * (abs(self.xs[goal_x] - self.xs[x]) + far) + (BEND if far and across else 0.0)

        def offer(x: int, y: int, across: bool, cost: float, before: tuple[int, int, bool] | None) -> None:
            if cost < best.get((x, y, across), float("inf")):
                best[x, y, across], came[x, y, across] = cost, before
                heappush(heap, (cost + left(x, y, across), cost, x, y, across))

        for port in range(PORTS):
            offer(first_x, self.y(start[1], port), True, self._off(port), None)
        offer(first_x, last, False, 0.0, None)
        while heap:
            _, cost, x, y, across = heappop(heap)
            state = (x, y, across)
            if cost > best[state]:
                continue
            if x == goal_x and top <= y <= bottom:
                return self._take(state, came, key)
            starting = came[state] is None
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                to, sideways = (x + dx, y + dy), dx != 0
                if starting and (dx, dy) != ((1, 0) if across else (0, 1)):
                    continue
                if not (0 <= to[0] < len(self.xs) and 0 <= to[1] < len(self.ys)):
                    continue
                arrives = to[0] == goal_x and top <= to[1] <= bottom
                if arrives and not (dx == 1 or (dy == -1 and to[1] == bottom)):
                    continue
                if not arrives and to in self.blocked:
                    continue
                step = self._step(x, y, to, sideways, key) + (
                    0.0 if starting else self._pass(x, y, across, sideways, key)
                )
                if arrives and sideways:
                    step += self._off(to[1] - top)
                offer(to[0], to[1], sideways, cost + step, state)
        raise AssertionError(f"no way from {start} to {end}")  # the outermost tracks are always free

    def _off(self, port: int) -> float:
        return 10.0 * abs(port - PORTS // 2)

    def _step(self, x: int, y: int, to: Point, sideways: bool, key: object) -> float:
        length = abs(self.xs[to[0]] - self.xs[x]) + abs(self.ys[to[1]] - self.ys[y])
        users = self.along.get((min(x, to[0]), min(y, to[1]), sideways))
        if not users:
            return length
        return SHARED * length if users == {key} else length + TOUCH

    def _pass(self, x: int, y: int, across: bool, sideways: bool, key: object) -> float:
        """The cost of a bend at a point, and of who is there already."""
        bend = across != sideways
        cost = BEND if bend else 0.0
        for other, how in self.at.get((x, y), ()):
            if other != key:
                cost += CROSS if not bend and how == ("|" if across else "-") else TOUCH
        return cost

    def _take(
        self,
        state: tuple[int, int, bool],
        came: dict[tuple[int, int, bool], tuple[int, int, bool] | None],
        key: object,
    ) -> list[Point]:
        states = [state]
        while (before := came[states[-1]]) is not None:
            states.append(before)
        states.reverse()
        points: list[Point] = [states[0][:2]]
        for a, b in pairwise(states):
            self.along.setdefault((min(a[0], b[0]), min(a[1], b[1]), b[2]), set()).add(key)
        for a, b in pairwise(states[1:]):
            bend = a[2] != b[2]
            self.at.setdefault(a[:2], set()).add((key, "+" if bend else "-" if a[2] else "|"))
            if bend:
                points.append(a[:2])
        return [*points, state[:2]]


def _places(cells: int, tracks: int, lines: int, near: float, far: float) -> list[float]:
    """Where lines would be if all tracks were used; what stands there in the end depends on which are.

    near: between the lines of a cell; far: from them to the tracks, which are 8 apart.
    """
    places: list[float] = []
    at = 0.0
    for _ in range(cells):
        for number, gap in ((tracks, 8.0), (lines, near)):
            for _ in range(number):
                places.append(at)
                at += gap
            at += far - gap
    return places + [at + 8.0 * track for track in range(tracks)]
