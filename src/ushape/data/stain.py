"""Stain in optical density: what haematoxylin and eosin absorb, and a jitter of both for training.

Light passes a stained section by Beer and Lambert's law: OD = -log10(I / I0) is linear in the amount of each
stain. Stain vectors: Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291), normalised to unit length.
Perturbing the amounts is the augmentation of Tellez et al. 2018 (10.1109/TMI.2018.2820199).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

HAEMATOXYLIN: tuple[float, float, float] = (0.650, 0.704, 0.286)
EOSIN: tuple[float, float, float] = (0.072, 0.990, 0.105)


@lru_cache(maxsize=1)
def stain_matrix() -> Float:
    """Rows haematoxylin, eosin, residual (orthogonal to both), unit length: float32 [3, 3]."""
    h, e = np.array(HAEMATOXYLIN), np.array(EOSIN)
    rows = np.stack([h, e, np.cross(h, e)])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def to_density(rgb: NDArray[np.uint8]) -> Float:
    """RGB uint8 [..., 3] -> optical density float32 [..., 3], 0 for white; (v + 1) / 256 keeps black finite."""
    density: Float = _DENSITY[rgb]
    return density


def to_rgb(density: Float) -> NDArray[np.uint8]:
    """Optical density float32 [..., 3] -> RGB uint8 [..., 3]; densities below 0 become white."""
    light = np.exp(density * np.float32(-np.log(10.0))) * np.float32(256.0) - np.float32(1.0)
    return np.clip(light + np.float32(0.5), 0, 255).astype(np.uint8)


_DENSITY: Float = (-np.log10((np.arange(256) + 1.0) / 256.0)).astype(np.float32)


def jitter_light(rgb: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> Float:
    """Amounts of haematoxylin, eosin and residual scaled by U(1 - strength, 1 + strength) and shifted a little.

    RGB uint8 [..., 3] -> transmitted light float32 [..., 3], 0 to 1. The shift is U(-1, 1) * strength / 10 of
    optical density. Scaling amounts is linear in optical density, so it is one 3 x 3 matrix per call.
    """
    scale = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    shift = (rng.uniform(-1, 1, 3) * strength / 10).astype(np.float32)
    stains = stain_matrix()  # rows: stains in optical density
    matrix = (np.linalg.inv(stains) @ (scale[:, None] * stains)).astype(np.float32)  # density -> density
    before = to_density(rgb).reshape(-1, 3)  # [P, 3]
    # spelt out, not `before @ matrix`: a threaded matrix product would fight with the other lanes
    density = before[:, :1] * matrix[0] + before[:, 1:2] * matrix[1] + before[:, 2:] * matrix[2] + shift @ stains
    light: Float = np.minimum(np.exp(density * np.float32(-np.log(10.0))), np.float32(1.0))
    return light.reshape(rgb.shape)
