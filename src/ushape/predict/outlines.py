"""Outlines of the regions of a label map: rings of pixel corners that neighbours share, traced with numpy alone.

A region is what hangs together across edges (not corners) and has one label. Every ring has a vertex wherever it turns
and wherever three regions meet, and so have the rings on the other side of it: the regions of a block are a coverage,
without gaps and overlaps, which can be simplified as a whole.

Pixels are numbered row after row in the map with a frame of one pixel around it, whose region is -1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rings:
    """Closed rings, one after the other: `corners` int64 [n, 2] as (x, y), each ring's first corner not repeated.

    starts: where each ring begins, with n at the end. region: of each ring. hole: rings around what is not the region.
    """

    corners: Ints
    starts: Ints
    region: Ints
    hole: Flags


@dataclass(frozen=True)
class Edges:
    """Pixel edges between two regions, walked with the region of `pixel` on the right hand (y goes down).

    side: 0 along the pixel's top to the right, 1 down its right side, 2 along the bottom to the left, 3 up the left.
    """

    pixel: Ints
    side: Ints


def regions(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Number of the region of each pixel, int32 [H, W], from 0, and the label of each region, uint8 [regions].

    Rows are cut into runs of one label, and runs that touch are joined: there are far fewer of them than pixels.
    """
    begins = np.ones(labels.shape, bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(begins.ravel(), dtype=np.int32).reshape(labels.shape) - 1
    touch = (labels[1:] == labels[:-1]) & (begins[1:] | begins[:-1])  # where two runs begin to lie side by side
    above, below = run[:-1][touch], run[1:][touch]
    count = int(run[-1, -1]) + 1
    graph = csr_array((np.ones(len(above), np.int8), (above, below)), shape=(count, count))
    number, region = connected_components(graph, directed=False)
    label_of = np.empty(number, np.uint8)
    label_of[region] = labels[begins]
    return region.astype(np.int32)[run], label_of


def trace(found: NDArray[np.int32]) -> Rings:
    """Rings of all regions [H, W]: one around each, seen on the screen clockwise, one around each of its holes.

    Where a region meets itself in a corner its rings pass each other there: each is simple, and a hole may touch the
    ring around it in single corners, which OGC calls valid.
    """
    padded = np.pad(found, 1, constant_values=-1)
    width, flat = padded.shape[1], padded.ravel()
    edges = _edges(flat, width)
    following = _following(flat, width, edges)
    # the pixel to the lower right of the corner where each edge begins
    corner = edges.pixel + np.array([0, 1, width + 1, width])[edges.side]
    kept = _kept(flat, width, edges, corner, following)
    order, starts = _cycles(_skip(following, kept))
    chosen = np.flatnonzero(kept)[order]
    y, x = np.divmod(corner[chosen], width)
    corners = np.column_stack([x - 1, y - 1])
    owner = flat[edges.pixel[chosen[starts[:-1]]]].astype(np.int64)
    return Rings(corners, starts, owner, _doubled_area(corners, starts) < 0)


def _edges(flat: NDArray[np.int32], width: int) -> Edges:
    beside = np.flatnonzero(flat[1:] != flat[:-1])  # from one row's frame to the next one's there is no edge
    below = np.flatnonzero(flat[width:] != flat[:-width])
    pixel = np.concatenate([below + width, beside, below, beside + 1])
    side = np.repeat(np.arange(4), [len(below), len(beside), len(below), len(beside)])
    inside = flat[pixel] >= 0
    return Edges(pixel[inside], side[inside])


def _following(flat: NDArray[np.int32], width: int, edges: Edges) -> Ints:
    """The edge that a region's ring goes on with after each edge: the outermost turn that stays with the region."""
    own = flat[edges.pixel]
    ahead = edges.pixel + np.array([1, width, -1, -width])[edges.side]
    across = ahead + np.array([-width, 1, width, -1])[edges.side]
    outwards = flat[across] == own
    straight = ~outwards & (flat[ahead] == own)
    pixel = np.where(outwards, across, np.where(straight, ahead, edges.pixel))
    turn = np.where(outwards, 3, np.where(straight, 0, 1))
    key = 4 * edges.pixel + edges.side
    order = np.argsort(key)
    return order[np.searchsorted(key, 4 * pixel + (edges.side + turn) % 4, sorter=order)]


def _kept(flat: NDArray[np.int32], width: int, edges: Edges, corner: Ints, following: Ints) -> Flags:
    """Edges that begin at a vertex: where the ring turns, or three regions meet."""
    around = [flat[corner - step] for step in (0, 1, width + 1, width)]
    borders = np.zeros(len(corner), np.uint8)
    for one, other in zip(around, around[1:] + around[:1], strict=True):
        borders += one != other
    turns = np.empty(len(corner), bool)
    turns[following] = edges.side[following] != edges.side
    return turns | (borders >= 3)


def _skip(following: Ints, kept: Flags) -> Ints:
    """For each edge that is kept, numbered among these, the next one of its ring that is."""
    target = following.copy()
    while len(passed := np.flatnonzero(~kept[target])):
        target[passed] = target[target[passed]]  # each round doubles the way
    number = np.cumsum(kept) - 1
    return number[target[kept]]


def _cycles(following: Ints) -> tuple[Ints, Ints]:
    """All elements of a permutation in the order of its cycles, and where each cycle begins (with the end last)."""
    count = len(following)
    number, cycle = connected_components(_arrows(following), directed=False)
    starts = np.concatenate([[0], np.cumsum(np.bincount(cycle, minlength=number))])
    first = np.full(number, count)
    np.minimum.at(first, cycle, np.arange(count))
    before = np.empty(count, np.int64)
    before[following] = np.arange(count)
    chain = following.copy()  # all cycles cut open and joined to one: to walk it is to list them
    chain[before[first[:-1]]] = first[1:]
    order = breadth_first_order(_arrows(chain), first[0], return_predecessors=False)
    return order.astype(np.int64), starts


def _arrows(target: Ints) -> csr_array:
    """The graph in which each element points to one other."""
    count = len(target)
    return csr_array((np.ones(count, np.int8), target, np.arange(count + 1)), shape=(count, count))


def _doubled_area(corners: Ints, starts: Ints) -> Ints:
    """Twice the area of each ring, positive where it runs clockwise on the screen."""
    x, y = corners.T
    after = np.arange(1, len(corners) + 1)
    after[starts[1:] - 1] = starts[:-1]
    return np.add.reduceat(x * y[after] - x[after] * y, starts[:-1])
