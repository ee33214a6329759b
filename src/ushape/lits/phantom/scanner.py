"""The scanner: what slices of some thickness, blur and noise make of an anatomy; and where its voxels lie in space."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ushape.lits.phantom.anatomy import Anatomy, paint

Float = NDArray[np.float32]
AIR, DENSEST = -1024, 3071
"""HU: the range of a scanner's numbers."""


@dataclass(frozen=True)
class Scan:
    """How a volume is taken: voxel sides in mm, half body width in mm, noise in HU, the file's axes.

    slices: their number, middle of the body in the middle. order: file axis of each of (x, y, z). flips: whether each
    file axis runs against L, P, S. tilt: radians about x, y and z of the whole volume in space.
    """

    size: int
    slices: int
    pixel: float
    thickness: float
    half_width: float
    noise: float
    grain: float
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    tilt: tuple[float, float, float]


def draw_scan(rng: np.random.Generator, size: int, pixel: float) -> Scan:
    """A scan of `size` px whose pixels measure about `pixel` mm; 1 to 5 mm thick slices; any order of axes."""
    side = float(pixel * rng.uniform(0.88, 1.12))
    thickness = float(rng.choice((1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)))
    half = side * size / 2 * float(rng.uniform(0.88, 0.97))
    first, second, third = (int(v) for v in rng.permutation(3))
    tilt = rng.uniform(-0.04, 0.04, 3)
    flips = rng.random(3) < 0.5
    return Scan(
        size=size,
        slices=max(5, round(1.45 * half / thickness)),
        pixel=side,
        thickness=thickness,
        half_width=half,
        noise=float(rng.uniform(11, 19) * math.sqrt(2.5 / thickness)),
        grain=float(rng.uniform(0.5, 0.8)),
        order=(first, second, third),
        flips=(bool(flips[0]), bool(flips[1]), bool(flips[2])),
        tilt=(float(tilt[0]), float(tilt[1]), float(tilt[2])),
    )


def take(anatomy: Anatomy, scan: Scan, z: int, rng: np.random.Generator) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Slice `z`, counted from the feet: HU int16 [y, x] and labels uint8 [y, x].

    A slice is the mean of the heights that it covers, a label what most of them say.
    """
    row = ((np.arange(scan.size) - (scan.size - 1) / 2) * scan.pixel / scan.half_width).astype(np.float32)
    x, y = np.meshgrid(row, row)
    parts = max(1, round(scan.thickness / 1.25))
    total, liver, lesion = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for i in range(parts):
        height = (z - (scan.slices - 1) / 2 + (i + 0.5) / parts - 0.5) * scan.thickness / scan.half_width
        hu, labels = paint(anatomy, x, y, height)
        total += hu
        liver += labels > 0
        lesion += labels == 2
    made = gaussian_filter(total / parts, 0.6)
    noise = gaussian_filter(rng.standard_normal(x.shape, np.float32), scan.grain)
    made += noise * np.float32(scan.noise / noise.std())
    labels = (2 * liver > parts).astype(np.uint8)
    labels[(labels > 0) & (2 * lesion > parts)] = 2
    return np.clip(np.round(made), AIR, DENSEST).astype(np.int16), labels


def affine(scan: Scan) -> NDArray[np.float64]:
    """Voxel of the file -> mm to the right, front and head (NIfTI's axes), float64 [4, 4]."""
    steps = np.zeros((3, 3))
    sides = (-scan.pixel, -scan.pixel, scan.thickness)  # towards L, P, S in NIfTI's R, A, S
    for world, axis in enumerate(scan.order):
        steps[world, axis] = sides[world] * (-1 if scan.flips[axis] else 1)
    (a, b, c) = scan.tilt
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    made = np.eye(4)
    made[:3, :3] = about_x @ about_y @ about_z @ steps
    counts = [0, 0, 0]
    for world, axis in enumerate(scan.order):
        counts[axis] = (scan.size, scan.size, scan.slices)[world]
    made[:3, 3] = -made[:3, :3] @ ((np.array(counts) - 1) / 2)  # the middle of the body at 0
    return made


def stored(seen: NDArray[np.generic], scan: Scan) -> NDArray[np.generic]:
    """Voxels [z, y, x] in the file's own order of axes; the inverse of what `volumes` sees."""
    x, y, z = scan.order
    axes = [0, 0, 0]
    axes[x], axes[y], axes[z] = 2, 1, 0
    turned = seen.transpose(axes)
    return turned[tuple(slice(None, None, -1 if flip else 1) for flip in scan.flips)]
