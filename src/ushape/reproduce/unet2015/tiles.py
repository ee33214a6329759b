"""Training tiles: one large tile a step, anywhere in a slice, turned, mirrored, deformed, changed in grey values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ushape.data.deform import draw_coarse, elastic, read
from ushape.reproduce.unet2015.borders import weight_maps
from ushape.reproduce.unet2015.deform import placed
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """`light` float32 [T, T]; `labels` int64 and `weights` float32 [T - shrink, T - shrink], of its middle."""

    light: Float
    labels: NDArray[np.int64]
    weights: Float


class Tiles:
    """Tiles of some slices of a stack. The tile of a step depends on the settings' seed and the step alone."""

    def __init__(self, stack: Stack, slices: Sequence[int], settings: Settings, shrink: int) -> None:
        self.settings, self.shrink = settings, shrink
        chosen = list(slices)
        self._interior = stack.interior[chosen].astype(np.float32)
        self._weights = (
            weight_maps(stack.interior[chosen], settings.w0, settings.sigma)
            if settings.weighted
            else np.ones_like(self._interior)
        )
        # prepared once: cubic spline coefficients stand for the grey values
        self._light = [ndimage.spline_filter(each, 3, np.float32, mode="mirror") for each in stack.light[chosen]]

    def draw(self, step: int) -> Tile:
        """The tile of a step: any slice, its middle anywhere in it, any angle, mirrored or not."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, step))
        number = int(rng.integers(len(self._light)))
        centre = rng.uniform(0, np.array(self._interior.shape[1:]) - 1)
        angle, mirrored = rng.uniform(0, 2 * np.pi), bool(rng.integers(2))
        field = elastic(draw_coarse(rng, settings.deviation), settings.tile) if settings.deviation else None
        where = placed(centre, angle, mirrored, (settings.tile, settings.tile), field)
        half = self.shrink // 2
        middle = where[:, half : settings.tile - half, half : settings.tile - half]
        light = ndimage.map_coordinates(self._light[number], where, np.float32, 3, mode="mirror", prefilter=False)
        light = light * np.float32(rng.uniform(1 - settings.gain, 1 + settings.gain))
        light += np.float32(rng.uniform(-settings.shift, settings.shift))
        labels = read(self._interior[number], middle, 0).astype(np.int64)
        return Tile(light, labels, read(self._weights[number], middle, 1))
