"""How a window of an image becomes a training crop: zoom, flips, quarter turns, deformation, stain, sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from ushape.data.deform import deformed, draw_coarse, elastic
from ushape.data.stain import jitter_light

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]

_DEFORM = 1
"""Added to a crop's (seed, step, place): displacements have numbers of their own, all else is drawn as without them."""


@dataclass(frozen=True)
class CropSettings:
    """size: side in px. balanced: share of class-balanced crops. stain: strength of the stain jitter (0: none).

    scale: windows are 1 / (1 + scale) to 1 + scale times the crop's side, resampled to it (0: always the side).
    sharpness: reach of `jitter_sharpness` in px (0: none). elastic: standard deviation in px of the displacements of
    an elastic deformation (0: none).
    """

    size: int
    balanced: float
    stain: float
    scale: float = 0.0
    sharpness: float = 0.0
    elastic: float = 0.0

    @property
    def smallest(self) -> int:
        """Side in px of the smallest window that `draw_side` gives."""
        return round(self.size / (1 + self.scale))


def draw_side(settings: CropSettings, rng: np.random.Generator) -> int:
    """Side of a crop's window in px."""
    reach = np.log1p(settings.scale)
    return round(settings.size * float(np.exp(rng.uniform(-reach, reach))))


def change(
    image: Bytes, maps: Sequence[Bytes], settings: CropSettings, rng: np.random.Generator, at: tuple[int, ...]
) -> tuple[Float, list[Bytes]]:
    """A window's image uint8 [W, W, 3] and maps -> light float32 [S, S, 3], 0 to 1, and the maps at its pixels.

    Maps are codes, uint8 [W, W], read at the nearest pixel, or amounts, uint8 [W, W, C], read in between. `at`: what
    the displacements of an elastic deformation are drawn from: (seed, step, place).
    """
    planes = [image, *maps]
    if image.shape[:2] != (settings.size, settings.size):
        planes = [_resized(each, settings.size) for each in planes]
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    planes = [np.rot90(each, turns) for each in planes]
    if flip:
        planes = [each[:, ::-1] for each in planes]
    if settings.elastic:
        where = _places(settings.size, settings.elastic, at)
        planes = [deformed(each, where) for each in planes]
    if settings.stain:
        light = jitter_light(np.ascontiguousarray(planes[0]), settings.stain, rng)
    else:
        light = np.ascontiguousarray(planes[0], dtype=np.float32) / np.float32(255.0)
    if settings.sharpness:
        light = jitter_sharpness(light, settings.sharpness, rng)
    return light, planes[1:]


def jitter_sharpness(light: Float, reach: float, rng: np.random.Generator) -> Float:
    """A quarter of the crops blurred, a quarter sharpened, half left: light [H, W, 3], 0 to 1 -> the same shape.

    The blur is Gaussian with a standard deviation of 0.3 to 1 times `reach` px; sharpening adds what such a blur
    takes away (an unsharp mask of strength 1). Scanners, section thickness and resampling differ between sites.
    """
    kind, sigma = rng.random(), reach * rng.uniform(0.3, 1.0)
    if kind < 0.5:
        return light
    blurred: Float = gaussian_filter(light, (sigma, sigma, 0), mode="nearest")
    return blurred if kind < 0.75 else np.clip(2 * light - blurred, 0, 1)


def _places(size: int, deviation: float, at: tuple[int, ...]) -> NDArray[np.float64]:
    """Where each pixel of a deformed crop comes from, (y, x): [2, size, size]."""
    coarse = draw_coarse(np.random.default_rng((*at, _DEFORM)), deviation)
    y, x = np.arange(size)[:, None], np.arange(size)
    field = elastic(coarse, size)
    field[0] += y
    field[1] += x
    return field


def _resized(plane: Bytes, size: int) -> Bytes:
    """uint8 [W, W] at the nearest pixels, or [W, W, C] by linear interpolation (over the area where it shrinks)."""
    if plane.ndim == 2:
        return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.NEAREST))
    if plane.shape[2] == 3:
        return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))
    each = (Image.fromarray(np.ascontiguousarray(plane[..., i])) for i in range(plane.shape[2]))
    return np.stack([np.asarray(one.resize((size, size), Image.Resampling.BILINEAR)) for one in each], axis=-1)
