"""An abdomen, drawn at random: where organs, vessels and lesions lie, and how dense each is.

Lengths are half body widths (1 is about 100 to 180 mm); x to the left, y to the back, z to the head, 0 in the
middle of the body. HU are those of a portal venous phase, as LiTS mostly has; in some patients vessels are darker than
the liver, so that one slice of a vessel can look like a lesion and only its neighbours tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ushape.lits.phantom.shapes import Ellipsoid, Float, Point, Tube, Waves, smooth_union

LIVER, LESION = 1, 2
DEPTH = 0.72
"""The body's half depth."""
CAVITY = 0.84
"""Of the body's size: the inner side of ribs and muscles."""


@dataclass(frozen=True)
class Lesion:
    """A blob of `contrast` HU against the liver; its surface waves by `roughness` of its radius."""

    shape: Ellipsoid
    contrast: float
    roughness: float
    waves: Waves


@dataclass(frozen=True)
class Anatomy:
    """One patient. Densities in HU."""

    warps: tuple[Waves, Waves, Waves]
    warp: float
    right: Ellipsoid
    left: Ellipsoid
    organs: tuple[tuple[Ellipsoid, float], ...]
    gallbladder: Ellipsoid
    great: tuple[tuple[Tube, float], ...]
    vessels: tuple[Tube, ...]
    vessel_contrast: float
    lesions: tuple[Lesion, ...]
    liver_hu: float
    fat_hu: float
    dome: float
    ribs: float
    gut: Waves
    mottle: Waves


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A patient drawn from `rng`."""

    def near(value: float, spread: float) -> float:
        return float(value + rng.uniform(-spread, spread))

    def organ(centre: Point, radii: Point, move: float = 0.03, grow: float = 0.12) -> Ellipsoid:
        scale = rng.uniform(1 - grow, 1 + grow, 3)
        moved = rng.uniform(-move, move, 3)
        return Ellipsoid(
            (float(centre[0] + moved[0]), float(centre[1] + moved[1]), float(centre[2] + moved[2])),
            (float(radii[0] * scale[0]), float(radii[1] * scale[1]), float(radii[2] * scale[2])),
        )

    right = organ((-0.42, -0.02, 0.0), (0.43, 0.52, 0.48))
    left = organ((-0.02, -0.27, 0.12), (0.42, 0.27, 0.24))
    liver_hu = near(105, 18)
    organs = (
        (organ((0.58, 0.2, 0.08), (0.2, 0.3, 0.33)), liver_hu + near(12, 12)),  # spleen
        (organ((-0.4, 0.38, -0.38), (0.13, 0.15, 0.26)), near(165, 25)),  # kidneys
        (organ((0.4, 0.37, -0.28), (0.13, 0.15, 0.26)), near(165, 25)),
        (organ((0.36, -0.25, 0.12), (0.27, 0.24, 0.27)), near(30, 15)),  # stomach
        (organ((0.12, -0.02, -0.2), (0.26, 0.08, 0.08)), near(85, 12)),  # pancreas
    )
    artery, vein = near(150, 25), liver_hu + near(35, 20)
    great = (
        (Tube((0.08, 0.26, -1.0), (0.06, 0.26, 1.0), near(0.065, 0.01)), artery),
        (Tube((-0.1, 0.24, -1.0), (-0.12, 0.2, 0.6), near(0.075, 0.01)), vein),
    )
    dark = rng.random() < 0.4
    lesions = _lesions(rng, right, left)
    return Anatomy(
        warps=(Waves.draw(rng, 0.7), Waves.draw(rng, 0.7), Waves.draw(rng, 0.7)),
        warp=near(0.03, 0.01),
        right=right,
        left=left,
        organs=organs,
        gallbladder=organ((-0.22, -0.28, -0.3), (0.09, 0.11, 0.16)),
        great=great,
        vessels=(*_tree(rng, (-0.12, -0.02, -0.05), right, left), *_veins(rng)),
        vessel_contrast=near(-30, 10) if dark else near(45, 15),
        lesions=lesions,
        liver_hu=liver_hu,
        fat_hu=near(-100, 12),
        dome=near(0.42, 0.05),
        ribs=near(0.0, 0.12),
        gut=Waves.draw(rng, 2.2, 8),
        mottle=Waves.draw(rng, 3.0, 8),
    )


def _tree(rng: np.random.Generator, hilum: Point, right: Ellipsoid, left: Ellipsoid) -> list[Tube]:
    """The portal tree: from the hilum into both lobes, each branch parting in two, thrice."""
    tubes: list[Tube] = []
    ends = [(hilum, right.centre, 0.036), (hilum, right.centre, 0.034), (hilum, left.centre, 0.03)]
    for generation in range(4):
        grown = []
        for start, towards, radius in ends:
            away = np.subtract(towards, start) + rng.normal(0, 0.13, 3)
            step = away / max(float(np.linalg.norm(away)), 1e-6) * rng.uniform(0.13, 0.24) * 0.9**generation
            end = (float(start[0] + step[0]), float(start[1] + step[1]), float(start[2] + step[2]))
            tubes.append(Tube(start, end, radius))
            for _ in range(2):
                aim = np.add(end, step * 2) + rng.normal(0, 0.22, 3)
                grown.append((end, (float(aim[0]), float(aim[1]), float(aim[2])), radius * 0.74))
        ends = grown
    return tubes


def _veins(rng: np.random.Generator) -> list[Tube]:
    """Three hepatic veins that run down and outwards from the vena cava's upper end, with a bend."""
    tubes = []
    for x, y in ((-0.62, 0.12), (-0.36, -0.28), (0.1, -0.26)):
        start = (-0.12, 0.2, 0.34)
        middle = np.add(start, np.subtract((x, y, 0.1), start) * 0.5) + rng.normal(0, 0.04, 3)
        bend = (float(middle[0]), float(middle[1]), float(middle[2]))
        end = (float(x + rng.normal(0, 0.05)), float(y + rng.normal(0, 0.05)), float(rng.uniform(-0.15, 0.1)))
        tubes += [Tube(start, bend, 0.04), Tube(bend, end, 0.028)]
    return tubes


def _lesions(rng: np.random.Generator, right: Ellipsoid, left: Ellipsoid) -> tuple[Lesion, ...]:
    """None in one patient of 14, else two to eight: mostly darker than the liver, radii 0.045 to 0.2."""
    if rng.random() < 1 / 14:
        return ()
    made: list[Lesion] = []
    for _ in range(min(1 + int(rng.geometric(0.35)), 8)):
        lobe = right if rng.random() < 0.75 else left
        direction = rng.normal(size=3)
        direction *= rng.uniform(0, 0.7) ** 0.5 / np.linalg.norm(direction)
        centre = np.asarray(lobe.centre) + direction * np.asarray(lobe.radii)
        radius = float(np.exp(rng.uniform(np.log(0.045), np.log(0.2))))
        radii = radius * rng.uniform(0.8, 1.25, 3)
        contrast = rng.uniform(30, 60) if rng.random() < 0.2 else -rng.uniform(28, 85)
        shape = Ellipsoid(
            (float(centre[0]), float(centre[1]), float(centre[2])),
            (float(radii[0]), float(radii[1]), float(radii[2])),
        )
        made.append(Lesion(shape, float(contrast), float(rng.uniform(0.02, 0.15)), Waves.draw(rng, 0.35 / radius)))
    return tuple(made)


def paint(a: Anatomy, x: Float, y: Float, z: float) -> tuple[Float, NDArray[np.uint8]]:
    """HU float32 [H, W] and labels uint8 [H, W] at the points x, y [H, W] of one height z, without blur or noise."""
    ring = np.sqrt(x**2 + (y / np.float32(DEPTH)) ** 2)  # 1 at the skin
    wx, wy, wz = (np.float32(a.warp) * w(x, y, z) for w in a.warps)
    bx, by, bz = x + wx, y + wy, z + float(wz.mean())

    hu = np.where(ring < 1, np.float32(a.fat_hu), np.float32(-1000)).astype(np.float32)
    hu[(ring < 0.93) & (ring >= CAVITY)] = 55  # muscles
    cavity = ring < CAVITY
    hu[cavity & (a.gut(bx, by, bz) > 0.1) & (by < 0.25) & (bz < 0.1)] = 32  # loops of gut in the fat
    for organ, density in a.organs:
        hu[cavity & (organ(bx, by, bz) < 0)] = density

    lung = cavity & (bz > a.dome - 0.55 * (bx**2 + by**2))
    hu[lung] = -850
    lobes = smooth_union(a.right(bx, by, bz), a.left(bx, by, bz), 0.08)
    gallbladder = a.gallbladder(bx, by, bz)
    spared = np.minimum(gallbladder, np.minimum(*(tube(bx, by, bz) for tube, _ in a.great)))
    kidney = a.organs[1][0](bx, by, bz)
    liver = cavity & (lobes < 0) & (spared > 0) & (kidney > 0) & (np.hypot(x, y - np.float32(0.42)) > 0.17)
    hu[liver] = (np.float32(a.liver_hu) + 4 * a.mottle(bx, by, bz))[liver]
    hu[cavity & (gallbladder < 0)] = 8
    labels = liver.astype(np.uint8)

    for vessel in a.vessels:
        if min(vessel.start[2], vessel.end[2]) - 0.1 < bz < max(vessel.start[2], vessel.end[2]) + 0.1:
            hu[liver & (vessel(bx, by, bz) < 0)] = a.liver_hu + a.vessel_contrast
    for lesion in a.lesions:
        if abs(bz - lesion.shape.centre[2]) < 1.5 * lesion.shape.radii[2]:
            rough = lesion.roughness * min(lesion.shape.radii)
            inside = liver & (lesion.shape(bx, by, bz) + rough * lesion.waves(bx, by, bz) < 0)
            hu[inside] = a.liver_hu + lesion.contrast
            labels[inside] = LESION
    for tube, density in a.great:
        hu[cavity & (tube(bx, by, bz) < 0)] = density
    _bones(a, hu, ring, x, y, z)
    return hu, labels


def _bones(a: Anatomy, hu: Float, ring: Float, x: Float, y: Float, z: float) -> None:
    """Spine and ribs, drawn over what is there."""
    body = np.hypot(x, (y - np.float32(0.42)) * np.float32(1.15))
    hu[body < 0.15] = 480
    hu[body < 0.13] = 190 if (z / 0.27) % 1 > 0.18 else 90  # vertebra or disc
    canal = np.hypot(x, y - np.float32(0.6))
    hu[canal < 0.09] = 450
    hu[canal < 0.065] = 30
    slope = z + a.ribs + np.float32(0.22) * (y / np.float32(DEPTH))  # ribs fall to the front
    rib = ((slope / np.float32(0.26)) % 1 < 0.34) & (np.abs(ring - np.float32(0.885)) < 0.026)
    if z > -0.45:
        hu[rib] = 420
