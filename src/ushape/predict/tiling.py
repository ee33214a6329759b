"""Overlapping tiles with reflected margins, blended without seams.

A plan lays square tiles over an image, beyond its border by a margin, neighbours overlapping by two margins. Border
pixels see mirrored tissue (as in U-Net's overlap-tile strategy, Ronneberger et al. 2015, section 2). A tile's
weight falls linearly to its edge over the overlap, so predictions pass smoothly from tile to tile. Tiles are
multiples of a grid apart, so that all of them pool on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRID = 64
"""Tile sizes and distances are multiples of this."""

CELL = 4
"""Side in px of the cells on which `ushape.predict.guided` computes; tiles begin at multiples of it."""

NEAR = 0.95
"""Tiles of another size must save so much: engines take a moment for each size."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """Tiles over an image of height x width: `size` px square, top-left corners `corners` (y, x), may be negative."""

    height: int
    width: int
    size: int
    margin: int
    corners: tuple[tuple[int, int], ...]

    def in_cells(self, side: int) -> Plan:
        """The same tiles over cells of so many px a side, which divides size, margin and corners."""
        corners = tuple((y // side, x // side) for y, x in self.corners)
        return Plan(-(-self.height // side), -(-self.width // side), self.size // side, self.margin // side, corners)


def plan(height: int, width: int, size: int = 512, margin: int = 64, grid: int = GRID) -> Plan:
    """Tiles that cover the image, each pixel at least `margin` from the edge of one of them.

    size: a multiple of `grid`. margin: of half of it, below size / 2; so tiles are multiples of it apart. An image that
    fits into a smaller tile gets a smaller one. ValueError on other sizes.
    """
    if size % grid or 2 * margin % grid or not 0 <= 2 * margin < size or min(height, width) < 1:
        raise ValueError(f"tile size {size} and twice margin {margin} must be multiples of {grid}, this under a tile")
    size, rows, columns = _laid(height, width, size, margin, grid)
    return Plan(height, width, size, margin, tuple((y, x) for y in rows for x in columns))


def thrifty(height: int, width: int, size: int, margin: int, grid: int = GRID) -> int:
    """The side of tiles, at most `size`, with which covering the image computes least; `size` where it is near that.

    Of the last row and column of tiles little may lie inside a small image.
    """

    def cost(side: int) -> int:
        size, rows, columns = _laid(height, width, side, margin, grid)
        return len(rows) * len(columns) * size**2

    least = min(range(size, max(size // 2, 4 * margin, grid - 1), -grid), key=cost, default=size)
    return least if cost(least) < NEAR * cost(size) else size


def _laid(height: int, width: int, size: int, margin: int, grid: int) -> tuple[int, range, range]:
    """The side of the tiles, no larger than the image needs, and their first rows and columns."""
    need = -(-(max(height, width) + 2 * margin) // grid) * grid
    size = min(size, need)
    return size, _starts(height, size, margin), _starts(width, size, margin)


def _starts(length: int, size: int, margin: int) -> range:
    step = size - 2 * margin
    return range(-margin, max(length - margin, -margin + 1), step)


def window(size: int, margin: int) -> Float:
    """Blending weights of a tile, float32 [size, size], above 0: 1 inside, falling to the edge over 2 margins."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5  # [size]
    ramp = np.minimum(distance / max(2 * margin, 1), 1).astype(np.float32)
    weights: Float = np.minimum.outer(ramp, ramp)
    return weights


class Blend:
    """Accumulates weighted tiles and gives their mean."""

    def __init__(self, plan: Plan, channels: int) -> None:
        self.plan = plan
        self._window = window(plan.size, plan.margin)
        self._sum = np.zeros((channels, plan.height, plan.width), np.float32)
        self._weight = np.zeros((plan.height, plan.width), np.float32)

    def add(self, corner: tuple[int, int], tile: Float) -> None:
        """Add what a tile [channels, size, size] at `corner` says of the pixels inside the image."""
        y, x = corner
        size = self.plan.size
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + size, self.plan.height), min(x + size, self.plan.width)
        inner = np.s_[top - y : bottom - y, left - x : right - x]
        outer = np.s_[top:bottom, left:right]
        self._sum[:, *outer] += tile[:, *inner] * self._window[inner]
        self._weight[outer] += self._window[inner]

    def mean(self) -> Float:
        """The blended image, float32 [channels, H, W]."""
        result: Float = self._sum / self._weight
        return result
