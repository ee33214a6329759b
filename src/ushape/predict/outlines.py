"""Outlines of the regions of a label map: rings of pixel corners that neighbours share, traced with numpy alone.

A region is what hangs together across edges (not corners) and has one label. Every ring has a vertex wherever it turns
and wherever three regions meet, and so have the rings on the other side of it: the regions of a block are a coverage,
without gaps and overlaps, which can be simplified as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

Ints = NDArray[np.int64]

# side of a pixel -> (row, column) step to the pixel beyond it; walking with the pixel to the right (y down, so seen
# on the screen clockwise): along the top to the right, along the right side down, the bottom to the left, the left up
_OUT = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
# step along that side, and the corner (row, column) where it begins
_ALONG = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
_BEGIN = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])


@dataclass(frozen=True)
class Rings:
    """Closed rings, one after the other: `corners` int64 [n, 2] as (x, y), each ring's first corner not repeated.

    starts: where each ring begins, with n at the end. region: of each ring. hole: rings around what is not the region.
    """

    corners: Ints
    starts: Ints
    region: Ints
    hole: NDArray[np.bool_]


def regions(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Number of the region of each pixel, int32 [H, W], from 0, and the label of each region, uint8 [regions]."""
    found = np.full(labels.shape, -1, np.int32)
    label_of: list[NDArray[np.uint8]] = []
    count = 0
    for label in np.unique(labels):
        parts, number = ndimage.label(labels == label)
        inside = parts > 0
        found[inside] = parts[inside] + (count - 1)
        label_of.append(np.full(number, label, np.uint8))
        count += number
    return found, np.concatenate(label_of)


def trace(found: NDArray[np.int32]) -> Rings:
    """Rings of all regions [H, W]: one around each, seen on the screen clockwise, one around each of its holes.

    Where a region meets itself in a corner its rings pass each other there: each is simple, and a hole may touch the
    ring around it in single corners, which OGC calls valid.
    """
    padded = np.pad(found, 1, constant_values=-1)
    row, column, side = _edges(padded)
    following = _following(padded, row, column, side)
    begin = np.stack([column, row], 1) + _BEGIN[side][:, ::-1]  # (x, y)
    kept = _kept(padded, begin, side, following)
    order, starts = _cycles(_skip(following, kept))
    edges = np.flatnonzero(kept)[order]
    corners = begin[edges]
    owner = padded[row[edges[starts[:-1]]] + 1, column[edges[starts[:-1]]] + 1].astype(np.int64)
    return Rings(corners, starts, owner, _doubled_area(corners, starts) < 0)


def _edges(padded: NDArray[np.int32]) -> tuple[Ints, Ints, Ints]:
    """Row, column and side of every pixel edge between two regions; it belongs to the pixel on its right hand."""
    inner = padded[1:-1, 1:-1]
    height, width = inner.shape
    parts = []
    for side, (down, right) in enumerate(_OUT):
        beyond = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        row, column = np.nonzero(inner != beyond)
        parts.append((row, column, np.full(len(row), side)))
    rows, columns, sides = (np.concatenate(each).astype(np.int64) for each in zip(*parts, strict=True))
    return rows, columns, sides


def _following(padded: NDArray[np.int32], row: Ints, column: Ints, side: Ints) -> Ints:
    """The edge that a region's ring goes on with after each edge: the outermost turn that stays with the region."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    number = np.full((height, width, 4), -1, np.int32)
    number[row, column, side] = np.arange(len(row), dtype=np.int32)
    own = padded[row + 1, column + 1]
    ahead = np.stack([row, column], 1) + _ALONG[side]
    across = ahead + _OUT[side]
    turns_out = padded[across[:, 0] + 1, across[:, 1] + 1] == own
    straight = ~turns_out & (padded[ahead[:, 0] + 1, ahead[:, 1] + 1] == own)
    then = np.stack([row, column, (side + 1) % 4], 1)
    then[straight] = np.column_stack([ahead, side])[straight]
    then[turns_out] = np.column_stack([across, (side + 3) % 4])[turns_out]
    return number[then[:, 0], then[:, 1], then[:, 2]].astype(np.int64)


def _kept(padded: NDArray[np.int32], begin: Ints, side: Ints, following: Ints) -> NDArray[np.bool_]:
    """Edges that begin at a vertex: where the ring turns, or three regions meet."""
    corners = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, 1:], padded[1:, :-1]]
    borders = np.zeros(corners[0].shape, np.uint8)
    for one, other in zip(corners, corners[1:] + corners[:1], strict=True):
        borders += one != other
    meeting: NDArray[np.bool_] = borders[begin[:, 1], begin[:, 0]] >= 3
    turns = np.empty(len(side), bool)
    turns[following] = side[following] != side
    return turns | meeting


def _skip(following: Ints, kept: NDArray[np.bool_]) -> Ints:
    """For each edge that is kept, numbered among these, the next one of its ring that is."""
    target = following.copy()
    while len(passed := np.flatnonzero(~kept[target])):
        target[passed] = target[target[passed]]  # each round doubles the way
    number = np.cumsum(kept) - 1
    return number[target[kept]]


def _cycles(following: Ints) -> tuple[Ints, Ints]:
    """All elements of a permutation in the order of its cycles, and where each cycle begins (with the end last)."""
    count = len(following)
    graph = csr_array((np.ones(count, np.int8), following, np.arange(count + 1)), shape=(count, count))
    number, cycle = connected_components(graph, directed=False)
    starts = np.concatenate([[0], np.cumsum(np.bincount(cycle, minlength=number))])
    first = np.full(number, count)
    np.minimum.at(first, cycle, np.arange(count))
    before = np.empty(count, np.int64)
    before[following] = np.arange(count)
    chain = following.copy()  # all cycles cut open and joined to one: to walk it is to list them
    chain[before[first[:-1]]] = first[1:]
    last = before[first[-1]]
    graph = csr_array((np.ones(count, np.int8), chain, np.arange(count + 1)), shape=(count, count))
    order = breadth_first_order(graph, first[0], return_predecessors=False)
    assert order[-1] == last
    return order.astype(np.int64), starts


def _doubled_area(corners: Ints, starts: Ints) -> Ints:
    """Twice the area of each ring, positive where it runs clockwise on the screen."""
    x, y = corners.T
    after = np.arange(1, len(corners) + 1)
    after[starts[1:] - 1] = starts[:-1]
    return np.add.reduceat(x * y[after] - x[after] * y, starts[:-1])
