"""Connected components of a volume that comes slice by slice: voxels that share a face belong together.

Each slice is labelled alone and joined to the slice before it; so a volume of any depth needs the memory of two slices
and a few numbers a component. What a component is can be asked when the last slice has been seen; slices are then
labelled again, which gives the same numbers.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]


class Components:
    """Add the slices in order, then ask. A component has a size (voxels) and the largest value seen in it."""

    def __init__(self) -> None:
        self._parent, self._size, self._most = array("q"), array("q"), array("f")  # of each piece, small in memory
        self._first: list[int] = []  # number of the first piece of each slice
        self._before: Ids | None = None

    def add(self, mask: Mask, values: NDArray[np.float32] | None = None) -> None:
        """The next slice, bool [y, x], and a value for each of its pixels (0 where None is given)."""
        pieces, count = label(mask)
        base = len(self._parent)
        self._first.append(base)
        self._parent.extend(range(base, base + count))
        self._size.extend(np.bincount(pieces.ravel(), minlength=count + 1)[1:].tolist())
        most = np.zeros(count + 1, np.float32)
        if values is not None:
            np.maximum.at(most, pieces[mask], values[mask])
        self._most.extend(most[1:].tolist())
        now = np.where(mask, pieces + (base - 1), -1).astype(np.int64)
        if self._before is not None:
            touching = mask & (self._before >= 0)
            for a, b in np.unique(np.stack([self._before[touching], now[touching]], 1), axis=0):
                self._join(int(a), int(b))
        self._before = now

    def slice(self, z: int, mask: Mask) -> Ids:
        """The component of each pixel of slice `z`, of which `mask` was added: int64 [y, x], -1 outside."""
        pieces, _ = label(mask)
        roots = np.array([self._root(i) for i in range(self._first[z], self._first[z] + int(pieces.max()))], np.int64)
        made = np.full(mask.shape, -1, np.int64)
        made[mask] = roots[pieces[mask] - 1]
        return made

    def sizes(self) -> dict[int, int]:
        """Voxels of each component."""
        made: dict[int, int] = {}
        for i, size in enumerate(self._size):
            root = self._root(i)
            made[root] = made.get(root, 0) + size
        return made

    def largest(self) -> int | None:
        """The component of most voxels (of equals, the one met first); None where there is none."""
        sizes = self.sizes()
        return max(sizes, key=lambda i: (sizes[i], -i)) if sizes else None

    def most(self) -> dict[int, float]:
        """The largest value in each component."""
        made: dict[int, float] = {}
        for i, most in enumerate(self._most):
            root = self._root(i)
            made[root] = max(made.get(root, most), most)
        return made

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def _join(self, a: int, b: int) -> None:
        a, b = self._root(a), self._root(b)
        self._parent[max(a, b)] = min(a, b)  # the number of a component is that of its first piece
