"""Solids as functions of points: below 0 inside, above 0 outside, roughly the distance near the surface.

Points are x, y [H, W] and one z of a slice, in half body widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Point = tuple[float, float, float]
"""(x, y, z)"""


@dataclass(frozen=True)
class Ellipsoid:
    centre: Point
    radii: Point

    def __call__(self, x: Float, y: Float, z: float) -> Float:
        (cx, cy, cz), (rx, ry, rz) = self.centre, self.radii
        away = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + np.float32(((z - cz) / rz) ** 2))
        made: Float = (away - 1) * np.float32(min(self.radii))
        return made


@dataclass(frozen=True)
class Tube:
    """A straight piece of a vessel from `start` to `end` with round ends."""

    start: Point
    end: Point
    radius: float

    def __call__(self, x: Float, y: Float, z: float) -> Float:
        (ax, ay, az), along = self.start, np.subtract(self.end, self.start)
        t = ((x - ax) * along[0] + (y - ay) * along[1] + (z - az) * along[2]) / max(float(along @ along), 1e-9)
        t = np.clip(t, 0, 1).astype(np.float32)
        dx, dy, dz = x - ax - t * along[0], y - ay - t * along[1], z - az - t * along[2]
        made: Float = np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(self.radius)
        return made


@dataclass(frozen=True)
class Waves:
    """A smooth random field: sines of `vectors` [n, 3] radians a half width and `phases` [n], about -1 to 1."""

    vectors: Float
    phases: Float

    @classmethod
    def draw(cls, rng: np.random.Generator, frequency: float, count: int = 6) -> Waves:
        """Waves of about `frequency` periods across a half body width."""
        directions = rng.normal(size=(count, 3))
        directions *= (2 * np.pi * frequency / np.linalg.norm(directions, axis=1))[:, None]
        directions *= rng.uniform(0.6, 1.4, (count, 1))
        return cls(directions.astype(np.float32), rng.uniform(0, 2 * np.pi, count).astype(np.float32))

    def __call__(self, x: Float, y: Float, z: float) -> Float:
        made = np.zeros_like(x)
        for (u, v, w), phase in zip(self.vectors, self.phases, strict=True):
            made += np.sin(u * x + v * y + (w * np.float32(z) + phase))
        return made / np.float32(np.sqrt(len(self.phases)))


def smooth_union(a: Float, b: Float, width: float) -> Float:
    """The union of two solids whose seam is rounded over `width`."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    made: Float = b + (a - b) * h - width * h * (1 - h)
    return made
