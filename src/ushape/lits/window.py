"""HU to what the networks see: clipped to the paper's [-200, 200], in which liver and lesions lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 200
"""HU: what is denser or thinner than this is clipped."""

Float = NDArray[np.float32]


def window(hu: Float) -> Float:
    """HU of any shape -> HU within [-200, 200]."""
    return np.clip(hu, -WINDOW, WINDOW)


def as_input(windowed: NDArray[np.generic]) -> Float:
    """HU within the window -> float32 from -1 to 1, the networks' scale (the paper names none: our assumption)."""
    return windowed.astype(np.float32) / np.float32(WINDOW)


def neighbours(z: int, depth: int, slices: int) -> list[int]:
    """The `slices` adjacent slices around `z`, feet first; beyond the volume its last slice stands again.

    `slices` is odd. The paper does not say what stands beyond the ends: our assumption.
    """
    reach = slices // 2
    return [min(max(i, 0), depth - 1) for i in range(z - reach, z + reach + 1)]
