"""Label maps for the tests of what a prediction leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ushape.data.classes import IGNORE

Labels = NDArray[np.uint8]


def make_blobs(height: int, width: int, seed: int = 0, size: float = 6.0) -> Labels:
    """Regions of five classes about `size` px wide, uint8 [height, width], with no tissue along the left."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), size)
    labels = np.digitize(field, np.quantile(field, [0.3, 0.6, 0.75, 0.9])).astype(np.uint8)
    labels[:, : width // 6] = IGNORE
    return labels


@pytest.fixture(scope="session")
def blobs() -> Callable[..., Labels]:
    return make_blobs


class Watched:
    """A label map that remembers the largest piece it was asked for, in bytes, and gives nothing but slices."""

    def __init__(self, labels: Labels) -> None:
        self._labels, self.shape, self.largest = labels, labels.shape, 0

    def __getitem__(self, cut: slice | tuple[slice, ...]) -> Labels:
        assert all(isinstance(one, slice) for one in (cut if isinstance(cut, tuple) else (cut,)))
        made = self._labels[cut].copy()
        self.largest = max(self.largest, made.nbytes)
        return made


@pytest.fixture
def watched() -> type[Watched]:
    return Watched
