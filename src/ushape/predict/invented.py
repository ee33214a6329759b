"""A tile of invented tissue, for what must be measured before the first real one is read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ushape.data.phantom import phantom_roi

PATCH = 256


@lru_cache(maxsize=2)
def invented_tissue(side: int) -> NDArray[np.uint8]:
    """RGB uint8 [side, side, 3]: one patch of tissue, mirrored again and again; always the same."""
    patch, _ = phantom_roi(0, 0, PATCH)
    times = -(-side // (2 * PATCH))
    both = np.concatenate([patch, patch[::-1]])
    return np.ascontiguousarray(np.tile(np.concatenate([both, both[:, ::-1]], 1), (times, times, 1))[:side, :side])
