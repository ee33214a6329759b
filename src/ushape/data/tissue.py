"""The phantom's tissues: what a patient's tissue is like (`Look`), a ROI's map (`Scene`), and how each is painted.

Amounts of stain, float32 [3, h, w], are painted from the map with the tools of `texture.py`, a function a tissue. A
`Scene` knows how many pixels a µm has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ushape.data.texture import (
    RED,
    Bool,
    Cells,
    E,
    Float,
    H,
    Nuclei,
    Ring,
    Rng,
    combed,
    lattice,
    noise,
    nuclei,
    ramp,
    sample,
    stamp,
)

# ---- patients and maps -------------------------------------------------------------------------------------

TUMOR, STROMA, LYMPHOCYTES, NECROSIS, SECRETION, BLOOD = 1, 2, 3, 4, 5, 6
FAT, PLASMA, DUCT, VESSEL, DCIS = 9, 10, 13, 18, 20


@dataclass(frozen=True)
class Look:
    """What one patient's tissue is like."""

    tumor_share: float
    necrosis_share: float
    lymph_share: float
    fat_share: float
    ducts: int
    dcis: bool
    plasma: bool
    cell_um: float  # spacing of tumor cells
    pleomorphism: float  # SD of log nuclear size
    vesicular: float
    chromatin: float  # haematoxylin in tumor nuclei
    basophilia: float  # haematoxylin in tumor cytoplasm
    cohesion: float  # 0: many gaps between tumor cells, 1: none
    looseness: float  # share of stroma that is pale and loose
    clefts: float  # white slits between collagen bundles
    collagen: float

    @classmethod
    def random(cls, rng: Rng) -> Look:
        def u(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        return cls(
            tumor_share=u(0.30, 0.46),
            necrosis_share=0.0 if rng.random() < 0.08 else u(0.06, 0.13),
            lymph_share=u(0.09, 0.18),
            fat_share=0.0 if rng.random() < 0.08 else u(0.06, 0.13),
            ducts=int(rng.integers(2, 5)),
            dcis=bool(rng.random() < 0.4),
            plasma=bool(rng.random() < 0.35),
            cell_um=u(10.5, 15.5),
            pleomorphism=u(0.12, 0.24),
            vesicular=u(0.15, 0.65),
            chromatin=u(0.30, 0.56),
            basophilia=u(0.08, 0.25),
            cohesion=u(0.0, 1.0),
            looseness=u(-0.5, 0.5),
            clefts=u(0.0, 1.0),
            collagen=u(0.85, 1.25),
        )


@dataclass
class Scene:
    """The map of one ROI and what painting needs to know of it."""

    px: float  # pixels in a µm
    codes: NDArray[np.uint8]  # [h, w]
    tumor_cells: Cells
    fat_cells: Cells | None
    from_tumor: Float  # [h, w] distance to the nearest tumor, µm; 0 inside
    rings: list[tuple[int, Ring]] = field(default_factory=list)  # code and outer curve

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    def holds(self, y: Float, x: Float, reach: Float | float, *codes: int) -> Bool:
        """Which discs of radius `reach` around points [n] lie within the codes: centre and four points."""
        table: Bool = np.isin(np.arange(256), codes)
        inside: Bool = table[sample(self.codes, y, x)]
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            inside &= table[sample(self.codes, y + reach * dy, x + reach * dx)]
        return inside


def lumen_of(scene: Scene, ring: Ring) -> float:
    """Relative radius of a duct's lumen: epithelium is two cells thick, whatever the duct's size."""
    return max(0.28, 1 - 17 * scene.px / ring.radius)


# ---- painting: amounts of stain from the map ---------------------------------------------------------------


def paint(rng: Rng, look: Look, scene: Scene) -> Float:
    """Amounts of haematoxylin, eosin and blood red, float32 [3, h, w]."""
    shape, px = scene.shape, scene.px
    cells: list[Nuclei] = []  # what haematoxylin stains
    blood: list[Nuclei] = []  # red cells
    chromatin = noise(rng, shape, 0.9 * px) + 0.8 * noise(rng, shape, 2.4 * px)
    amounts = _paint_stroma(rng, look, scene, cells)
    for painter in (_paint_tumor, _paint_necrosis, _paint_immune, _paint_fat):
        painter(rng, look, scene, amounts, cells)
    _paint_rings(rng, scene, amounts, cells, blood)

    if blood:
        cover, red = stamp(rng, shape, blood, chromatin)
        amounts *= 1 - 0.9 * cover
        amounts[RED] += red
    cover, dark = stamp(rng, shape, cells, chromatin)
    amounts[H] *= 1 - 0.8 * cover
    amounts[E] *= 1 - 0.45 * cover
    amounts[H] += dark
    amounts *= 1 + 0.05 * noise(rng, shape, 140 * px)  # sections are nowhere equally thick
    return np.maximum(amounts, 0)


def _thin(rng: Rng, keep: float, *points: Float) -> tuple[Float, ...]:
    """A random share of points, flattened."""
    chosen = rng.random(points[0].shape) < keep
    return tuple(p[chosen] for p in points)


def _paint_stroma(rng: Rng, look: Look, scene: Scene, cells: list[Nuclei]) -> Float:
    """Collagen everywhere, to be painted over by the others -> amounts [3, h, w]."""
    shape, px = scene.shape, scene.px
    # Fibres wrap around islands and otherwise follow a slow field; blended as double angles.
    soft = ndimage.gaussian_filter(scene.from_tumor, 9 * px)
    gy, gx = np.gradient(soft)
    wander = 0.8 * noise(rng, shape, 150 * px) + np.float32(rng.uniform(0, np.pi))
    wrap = np.exp(-scene.from_tumor / np.float32(45)) * np.minimum(np.hypot(gy, gx) * px * 2, 1)
    along = np.arctan2(gx, -gy)
    cos = wrap * np.cos(2 * along) + (1 - wrap) * np.cos(2 * wander)
    sin = wrap * np.sin(2 * along) + (1 - wrap) * np.sin(2 * wander)
    crimp = 0.25 * noise(rng, shape, 18 * px) + 0.22 * noise(rng, shape, 8 * px)
    theta = (np.arctan2(sin, cos) / 2 + crimp).astype(np.float32)

    fibril = combed(noise(rng, shape, 0.9 * px), theta, 1.2 * px, 4)
    bundle = combed(noise(rng, shape, 4.2 * px), theta, 3.5 * px, 4)
    fine = noise(rng, shape, 0.8 * px)
    loose = ramp(noise(rng, shape, 85 * px, octaves=2) + np.float32(look.looseness), -0.6, 0.9)
    dense = 1 - loose
    amounts = np.zeros((3, *shape), np.float32)
    strength = np.float32(look.collagen) * (0.075 + 0.080 * dense)
    amounts[E] = strength * np.maximum(1 + 0.36 * fibril + 0.36 * bundle + 0.10 * fine, 0.08)
    amounts[H] = np.maximum(0.072 + 0.03 * loose + 0.022 * fibril + 0.012 * bundle, 0.01)
    # Hyaline patches have lost their fibres: what is pink and granular need not be necrosis.
    hyaline = ramp(noise(rng, shape, 65 * px, octaves=2), 0.9, 1.5)
    granular = 1 + 0.20 * noise(rng, shape, 2.4 * px) + 0.14 * fine + 0.12 * noise(rng, shape, 9 * px)
    amounts[E] += hyaline * (0.145 * granular - amounts[E])
    amounts[H] += hyaline * (0.06 * granular - amounts[H])
    # Slits open between bundles where the section shrank; loose tissue is full of small ones.
    open_up = noise(rng, shape, 60 * px) * 0.5 + np.float32(look.clefts - 0.5)
    slits = ramp(bundle + 0.25 * fibril - 0.45 * open_up, -1.35, -1.75)
    mesh = ramp(fibril + 0.7 * bundle, -0.5, -1.5) * loose * 0.8
    # Retraction: tumor islands pull away from their bed here and there.
    torn = noise(rng, shape, 40 * px) + 0.5 * noise(rng, shape, 8 * px) + 0.5 * np.float32(look.clefts)
    width = 3.2 * np.maximum(torn - 0.4, 0)
    rim = ramp(scene.from_tumor - width, 1.0, -1.0) * (scene.from_tumor > 0)
    amounts *= 1 - 0.96 * np.maximum(np.maximum(slits, mesh) * (1 - 0.8 * hyaline), rim)

    y, x = _thin(rng, 0.62, *lattice(rng, shape, 18 * px, 0.5))
    n = y.size
    a = rng.normal(6.0, 1.3, n).clip(3.2, 9.0).astype(np.float32) * np.float32(px)
    b = rng.normal(1.55, 0.35, n).clip(0.9, 2.6).astype(np.float32) * np.float32(px)
    angle = sample(theta, y, x) + rng.normal(0, 0.15, n).astype(np.float32)
    dark = rng.normal(0.62, 0.14, n).clip(0.3).astype(np.float32)
    ok = scene.holds(y, x, 2.5 * px, STROMA)
    cells.append(nuclei(y[ok], x[ok], a=a[ok], b=b[ok], angle=angle[ok], dark=dark[ok], rim=0.2))
    # Lone lymphocytes wander through stroma, so that one dark round nucleus does not tell the class.
    y, x = _thin(rng, 1.0, *lattice(rng, shape, 12 * px, 0.5))
    crowd = 0.05 + 0.28 * ramp(sample(noise(rng, shape, 55 * px), y, x), 0.2, 1.8)
    ok = scene.holds(y, x, 3 * px, STROMA) & (rng.random(y.size) < crowd)
    cells.append(_lymphocytes(rng, y[ok], x[ok], px))
    return amounts


def _lymphocytes(rng: Rng, y: Float, x: Float, px: float) -> Nuclei:
    """Small, round, dark, all alike."""
    a = rng.normal(3.3, 0.35, y.size).clip(2.4, 4.3).astype(np.float32) * np.float32(px)
    b = a * rng.uniform(0.78, 1.0, y.size).astype(np.float32)
    angle = rng.uniform(0, np.pi, y.size).astype(np.float32)
    dark = rng.normal(0.82, 0.13, y.size).clip(0.45).astype(np.float32)
    return nuclei(y, x, a=a, b=b, angle=angle, dark=dark, grain=0.2)


def _paint_tumor(rng: Rng, look: Look, scene: Scene, amounts: Float, cells: list[Nuclei]) -> None:
    """Crowded cells with basophilic cytoplasm and large, uneven, often vesicular nuclei."""
    shape, px = scene.shape, scene.px
    region = np.isin(scene.codes, (TUMOR, DCIS))
    tess = scene.tumor_cells
    n = tess.y.size
    tone = rng.normal(1, 0.13, n).astype(np.float32)[tess.nearest]  # cells differ in how much they take up
    cloud = 1 + 0.13 * noise(rng, shape, 45 * px) + 0.10 * noise(rng, shape, 3 * px)
    cloud += 0.10 * noise(rng, shape, 0.9 * px)
    border = 1 - 0.25 * ramp(tess.edge, 0.9 * px, 0.1 * px)
    hollow = rng.random(n) < 0.025
    gap = noise(rng, shape, 20 * px, octaves=2) - np.float32(1.1 + 1.1 * look.cohesion)
    clear = ramp(tess.edge - 2.6 * px * np.maximum(gap, 0), 0.5 * px, -0.5 * px) * (gap > 0)
    clear = np.maximum(clear, hollow[tess.nearest] * ramp(tess.edge, 0.8 * px, 2.2 * px))
    paint = tone * cloud * border * (1 - 0.95 * clear)
    amounts[H][region] = (np.float32(look.basophilia) * paint)[region]
    amounts[E][region] = (0.125 * paint)[region]

    size = 0.335 * look.cell_um * px * np.exp(rng.normal(0, look.pleomorphism, n)).astype(np.float32)
    a = np.clip(size, 2.6 * px, 8.5 * px) * rng.uniform(1.0, 1.4, n).astype(np.float32)
    b = a * rng.uniform(0.62, 0.95, n).astype(np.float32)
    y = tess.y + rng.normal(0, 0.7 * px, n).astype(np.float32)
    x = tess.x + rng.normal(0, 0.7 * px, n).astype(np.float32)
    angle = rng.uniform(0, np.pi, n).astype(np.float32)
    dark = (look.chromatin * np.exp(rng.normal(0, 0.20, n))).astype(np.float32)
    rim = np.clip(rng.normal(look.vesicular, 0.25, n), 0, 0.9).astype(np.float32)
    spot = (rng.uniform(0, 0.5, n) * (rng.random(n) < look.vesicular)).astype(np.float32)
    ok = scene.holds(y, x, 0.55 * b, TUMOR, DCIS) & ~hollow
    for code, ring in scene.rings:
        if code == DCIS:  # its outermost cells stand in a row
            basal = 1 - 0.55 * look.cell_um * px / ring.radius
            ok &= np.abs(sample(ring.rho(shape), y, x) - basal - 0.2) > 0.2 + 3.5 * px / ring.radius
            axes = (0.44 * look.cell_um * px, 0.30 * look.cell_um * px)
            _line(rng, cells, ring, basal, 0.75 * look.cell_um * px, axes, look.chromatin, rim=look.vesicular)
    fields = {"a": a, "b": b, "angle": angle, "dark": dark, "rim": rim, "spot": spot}
    cells.append(nuclei(y[ok], x[ok], **{k: v[ok] for k, v in fields.items()}, grain=0.17))
    # Lymphocytes enter the island, alone and in crowds.
    y, x = _thin(rng, 1.0, *lattice(rng, shape, 13 * px, 0.5))
    crowd = 0.02 + 0.30 * ramp(sample(noise(rng, shape, 45 * px), y, x), 0.5, 2.0)
    ok = scene.holds(y, x, 3 * px, TUMOR, DCIS) & (rng.random(y.size) < crowd)
    cells.append(_lymphocytes(rng, y[ok], x[ok], px))


def _paint_necrosis(rng: Rng, look: Look, scene: Scene, amounts: Float, cells: list[Nuclei]) -> None:
    """Granular pink without cells: ghosts of nuclei, dust of broken ones, cracks."""
    shape, px = scene.shape, scene.px
    region = scene.codes == NECROSIS
    if not region.any():
        return
    grains = noise(rng, shape, 2.4 * px) + 0.8 * noise(rng, shape, 0.9 * px) + 0.7 * noise(rng, shape, 9 * px)
    slow = noise(rng, shape, 45 * px)
    crack = ramp(noise(rng, shape, 11 * px, octaves=3) + 0.4 * slow, 1.35, 1.75)
    paint = np.maximum(1 + 0.24 * grains + 0.16 * slow, 0.12) * (1 - 0.93 * crack)
    amounts[E][region] = (0.150 * paint)[region]
    amounts[H][region] = ((0.055 + 0.02 * slow) * paint)[region]

    y, x = _thin(rng, 0.40, *lattice(rng, shape, 13 * px, 0.5))
    ok = scene.holds(y, x, 3 * px, NECROSIS)
    a = rng.uniform(2.8, 4.8, y.size).astype(np.float32) * np.float32(px)
    cells.append(nuclei(y[ok], x[ok], a=a[ok], b=0.8 * a[ok], dark=0.19, rim=0.3, grain=0.4))
    # Dust lies in swarms.
    y, x = (p.ravel() for p in lattice(rng, shape, 5.5 * px, 0.6))
    swarm = sample(noise(rng, shape, 28 * px), y, x)
    chosen = rng.random(y.size) < 0.30 * ramp(swarm, -0.2, 1.4) + 0.02
    y, x = y[chosen], x[chosen]
    ok = scene.holds(y, x, 2 * px, NECROSIS)
    a = rng.lognormal(0.35, 0.4, y.size).clip(0.7, 3.2).astype(np.float32) * np.float32(px)
    dark = rng.uniform(0.45, 1.0, y.size).astype(np.float32)
    angle = rng.uniform(0, np.pi, y.size).astype(np.float32)
    cells.append(nuclei(y[ok], x[ok], a=a[ok], b=0.75 * a[ok], dark=dark[ok], angle=angle[ok]))


def _paint_immune(rng: Rng, look: Look, scene: Scene, amounts: Float, cells: list[Nuclei]) -> None:
    """Lymphocytes packed in pale tissue; plasma cells wider apart, each in its own violet cytoplasm."""
    shape, px = scene.shape, scene.px
    region = np.isin(scene.codes, (LYMPHOCYTES, PLASMA))
    if not region.any():
        return
    # What remains of the collagen shows between the cells.
    ground = 0.07 + 0.03 * noise(rng, shape, 4 * px) + 0.02 * noise(rng, shape, 30 * px)
    white = ramp(noise(rng, shape, 7 * px, octaves=2), 1.0, 1.7)
    amounts[E][region] = (np.clip(ground + 0.35 * amounts[E], 0.0, 0.3) * (1 - 0.9 * white))[region]
    amounts[H][region] = (0.085 * (1 - 0.9 * white))[region]

    y, x = _thin(rng, 0.96, *lattice(rng, shape, 7.1 * px, 0.42))
    thin_out = sample(noise(rng, shape, 25 * px), y, x)
    ok = scene.holds(y, x, 2.0 * px, LYMPHOCYTES) & (rng.random(y.size) < 0.95 + 0.3 * np.minimum(thin_out, 0))
    cells.append(_lymphocytes(rng, y[ok], x[ok], px))

    y, x = _thin(rng, 0.9, *lattice(rng, shape, 9.6 * px, 0.33))
    ok = scene.holds(y, x, 2.5 * px, PLASMA)
    y, x = y[ok], x[ok]
    if y.size:
        angle = rng.uniform(0, 2 * np.pi, y.size).astype(np.float32)
        shift = np.float32(1.9 * px)
        body = nuclei(y, x, a=np.full_like(y, 5.0 * px), b=3.8 * px, angle=angle, dark=1.0, grain=0.0)
        cover, _ = stamp(rng, shape, [body], np.zeros(shape, np.float32))
        cover = cover * (scene.codes == PLASMA)
        amounts[H] = np.maximum(amounts[H], 0.20 * cover)
        amounts[E] = np.maximum(amounts[E], 0.16 * cover)
        dy, dx = shift * np.sin(angle), shift * np.cos(angle)
        heads = _lymphocytes(rng, np.asarray(y + dy), np.asarray(x + dx), px)
        cells.append(heads._replace(grain=np.full_like(y, 0.35)))


def _paint_fat(rng: Rng, look: Look, scene: Scene, amounts: Float, cells: list[Nuclei]) -> None:
    """Empty cells in thin walls; their flat nuclei are pressed to the wall."""
    region, tess, px = scene.codes == FAT, scene.fat_cells, scene.px
    if tess is None or not region.any():
        return
    wall = ramp(tess.edge + 0.25 * px * noise(rng, scene.shape, 12 * px), 1.3 * px, 0.3 * px)
    amounts[E][region] = (0.115 * wall)[region]
    amounts[H][region] = (0.045 * wall)[region]
    y, x = _thin(rng, 0.6, *lattice(rng, scene.shape, 6 * px, 0.5))
    at_wall = np.abs(sample(tess.edge, y, x) - 1.0 * px) < 0.7 * px
    ok = scene.holds(y, x, 1.5 * px, FAT) & at_wall & (rng.random(y.size) < 0.16)
    gy, gx = np.gradient(ndimage.gaussian_filter(tess.edge, 2 * px))
    angle = np.arctan2(sample(gx, y, x), -sample(gy, y, x))[ok]
    a = rng.uniform(3.0, 5.0, int(ok.sum())).astype(np.float32) * np.float32(px)
    cells.append(nuclei(y[ok], x[ok], a=a, b=1.3 * px, angle=angle, dark=0.6))


def _paint_rings(rng: Rng, scene: Scene, amounts: Float, cells: list[Nuclei], blood: list[Nuclei]) -> None:
    """Ducts in two layers around a lumen, vessels, bleeding, and the collagen that sheathes them."""
    shape, px = scene.shape, scene.px
    secretion = noise(rng, shape, 22 * px, octaves=3)
    fine = noise(rng, shape, 3 * px)
    for code, ring in scene.rings:
        rho = ring.rho(shape)
        out = (rho - 1) * np.float32(ring.radius / px)  # µm outside the curve
        if code != BLOOD:
            sheath = ramp(np.abs(out - 4), 5.0, 1.0) * (scene.codes == STROMA)
            amounts[E] = np.maximum(amounts[E], sheath * (0.17 + 0.03 * fine))
        if code == DUCT:
            lumen = lumen_of(scene, ring)
            wall = (rho < 1) & (rho >= lumen)
            amounts[H][wall] = (0.115 + 0.02 * fine)[wall]
            amounts[E][wall] = (0.145 + 0.02 * fine)[wall]
            hole = rho < lumen
            filled = ramp(secretion, 0.1, 0.5)
            amounts[H][hole] = (0.015 * filled)[hole]
            amounts[E][hole] = ((0.085 + 0.008 * fine) * filled)[hole]
            _line(rng, cells, ring, 1 - 0.60 * (1 - lumen), 6.3 * px, (3.4 * px, 2.7 * px), 0.58, rim=0.3)
            _line(rng, cells, ring, 1 - 0.17 * (1 - lumen), 9.0 * px, (3.6 * px, 1.5 * px), 0.72, rim=0.0)
        elif code == VESSEL:
            wall = (rho < 1) & (rho >= 0.55)
            layers = np.sin(np.minimum(rho, 2) * np.float32(ring.radius / px * 1.3) + fine)
            amounts[E][wall] = (0.185 + 0.035 * layers)[wall]
            amounts[H][wall] = (0.06 + 0.01 * layers)[wall]
            amounts[:, rho < 0.55] = 0
            _line(rng, cells, ring, 0.57, 8.5 * px, (3.6 * px, 1.3 * px), 0.75, rim=0.0)
            _line(rng, cells, ring, 0.82, 13.0 * px, (4.6 * px, 1.2 * px), 0.55, rim=0.0)
        if code in (VESSEL, BLOOD):
            y, x = _thin(rng, 0.9 if code == BLOOD else 0.6, *lattice(rng, shape, 5.4 * px, 0.4))
            ok = sample(rho, y, x) < (1 - 2.2 * px / ring.radius if code == BLOOD else 0.44)
            if code == BLOOD:
                amounts[:, rho < 1] *= 0.6
            red = rng.normal(0.30, 0.05, int(ok.sum())).clip(0.2).astype(np.float32)
            a = np.full_like(red, 2.9 * px)
            blood.append(nuclei(y[ok], x[ok], a=a, b=2.6 * px, dark=red, rim=0.25, grain=0.05))


def _line(
    rng: Rng,
    cells: list[Nuclei],
    ring: Ring,
    rho: float,
    spacing: float,
    axes: tuple[float, float],
    dark: float,
    rim: float,
) -> None:
    """Nuclei in a row around a ring, lying along it."""
    y, x, angle = ring.along(rng, rho, spacing)
    size = np.exp(rng.normal(0, 0.1, y.size)).astype(np.float32)
    tone = (dark * np.exp(rng.normal(0, 0.12, y.size))).astype(np.float32)
    cells.append(nuclei(y, x, a=size * axes[0], b=size * axes[1], angle=angle, dark=tone, rim=rim))
