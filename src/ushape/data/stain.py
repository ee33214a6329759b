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


def amounts(density: Float, matrix: Float | None = None) -> Float:
    """Optical density [..., 3] -> amounts of haematoxylin and eosin, float32 [..., 2].

    matrix: float32 [3, 3], that the density is multiplied by first.
    """
    back = np.linalg.inv(stain_matrix()).astype(np.float32)
    return _times(density, (back if matrix is None else matrix @ back)[:, :2])


def scaling_matrix(scale: Float) -> Float:
    """What multiplies amounts of haematoxylin, eosin and residual by `scale` [3]: density @ matrix, float32 [3, 3]."""
    stains = stain_matrix()  # rows: stains in optical density
    matrix: Float = (np.linalg.inv(stains) @ (scale[:, None] * stains)).astype(np.float32)
    return matrix


def jitter_light(rgb: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> Float:
    """Amounts of haematoxylin, eosin and residual scaled by U(1 - strength, 1 + strength) and shifted a little.

    RGB uint8 [..., 3] -> transmitted light float32 [..., 3], 0 to 1. The shift is U(-1, 1) * strength / 10 of
    optical density. Scaling amounts is linear in optical density, so it is one 3 x 3 matrix per call.
    """
    scale = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    shift = (rng.uniform(-1, 1, 3) * strength / 10).astype(np.float32)
    before = to_density(rgb).reshape(-1, 3)  # [P, 3]
    density = _times(before, scaling_matrix(scale)) + shift @ stain_matrix()
    light: Float = np.minimum(np.exp(density * np.float32(-np.log(10.0))), np.float32(1.0))
    return light.reshape(rgb.shape)


REFERENCE = (1.0, 0.4)
"""Amounts of haematoxylin and eosin that `normalise` gives the darkest hundredth of an image's tissue."""


def normalise(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring an image's stain to a common strength: RGB uint8 [H, W, 3] -> the same shape.

    See `strength_matrix`. An image without tissue is returned as it is.
    """
    return restained(rgb, strength_matrix(rgb))


def restained(rgb: NDArray[np.uint8], matrix: Float) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] with its optical densities times a matrix, float32 [3, 3]; itself with the identity."""
    if np.array_equal(matrix, np.eye(3)):
        return rgb
    out = np.empty_like(rgb)
    for top in range(0, len(rgb), 256):  # bands: densities take twelve times the memory of the image
        band = np.ascontiguousarray(rgb[top : top + 256])
        out[top : top + 256] = to_rgb(_times(to_density(band), matrix))
    return out


def strength_matrix(rgb: NDArray[np.uint8]) -> Float:
    """What brings the stain of RGB uint8 [H, W, 3] to a common strength: density @ matrix, float32 [3, 3].

    The 99th percentiles of the amounts of haematoxylin and eosin over tissue pixels become `REFERENCE`, as Macenko et
    al. 2009 (10.1109/ISBI.2009.5193250, section 4) scale their concentrations; the stain vectors are the fixed ones of
    this module, which an image of one tissue cannot mislead. What is painted black (outside an annotation, say) is no
    tissue. The identity for an image without tissue.
    """
    step = sampling_step(*rgb.shape[:2])
    sampled = to_density(np.ascontiguousarray(rgb[::step, ::step])).reshape(-1, 3)
    tissue = sampled[(sampled.sum(1) > TISSUE_DENSITY) & (sampled.min(1) < BLACK)]
    if len(tissue) < 100:
        return np.eye(3, dtype=np.float32)
    strength = np.maximum(np.percentile(amounts(tissue), 99, axis=0), 0.05)
    both = np.array(REFERENCE) / strength
    scale = np.array([*both, np.sqrt(both.prod())], np.float32)  # what is neither stain follows the two
    return scaling_matrix(scale)


def sampling_step(height: int, width: int) -> int:
    """`strength_matrix` looks at every so manieth row and column: about a million pixels tell the strength."""
    return max(1, int(np.sqrt(height * width / 1e6)))


TISSUE_DENSITY = 0.2
"""Pixels whose optical density, summed over the channels, is above this hold tissue."""


BLACK = 1.16
"""Optical density that no stain reaches in all three channels (brightness of 16 and less): what was blacked out."""


def _times(density: Float, matrix: Float) -> Float:
    """density [..., 3] @ matrix [3, k], spelt out: a threaded matrix product would fight with the other lanes."""
    first, second, third = (density[..., i] for i in range(3))
    out = np.empty((*density.shape[:-1], matrix.shape[1]), density.dtype)
    for k in range(matrix.shape[1]):  # whole planes: a loop over three numbers a pixel takes four times as long
        out[..., k] = first * matrix[0, k] + second * matrix[1, k] + third * matrix[2, k]
    return out
