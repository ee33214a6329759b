"""Predicted probabilities smoothed over neighbouring pixels: masks are drawn by hand, in regions of several µm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]


def smoothing_reach(sigma: float) -> int:
    """How many px away a pixel still counts: the Gaussian is cut off at 3 standard deviations."""
    return math.ceil(3 * sigma)


def smoothed(probabilities: Float, sigma: float) -> Float:
    """Each class's map weighted by a Gaussian of `sigma` px, 0 for none, mirrored at the borders.

    float32 [classes, H, W], summing to 1 over the classes -> the same.
    """
    if sigma == 0:
        return probabilities
    made: Float = ndimage.gaussian_filter(
        probabilities, sigma, mode="mirror", radius=smoothing_reach(sigma), axes=(1, 2)
    )
    return made
