"""What the phantom's tissue is made of: noise, cells, fibres, nuclei, light, and the textures of its classes.

First the tools (fields, cells and nuclei, rings, light), then what a patient's tissue is like (`Look`), the map
of a ROI (`Scene`), and one function a tissue that paints it.

Everything is drawn as amounts of three absorbers, float32 [3, h, w]: haematoxylin, eosin, and the red of blood
cells. `Stain` turns amounts into light by Beer and Lambert's law. Lengths are in pixels unless a name ends in
`_um`; a `Scene` knows how many pixels a µm has. Nothing here calls BLAS: its sums depend on the number of
threads, and a phantom must not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ushape.data.stain import stain_matrix, to_rgb

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Rng = np.random.Generator

F32 = np.float32
H, E, RED = 0, 1, 2
"""Rows of an amounts array."""


# ---- fields ------------------------------------------------------------------------------------------------


def ramp(x: Float, low: float, high: float) -> Float:
    """Smooth step: 0 below `low`, 1 above `high`; falling where low > high. Any shape."""
    t = np.clip((x - F32(low)) / F32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), F32)


def _weights(n: int, scale: float, offset: float) -> tuple[NDArray[np.intp], Float]:
    """Lattice indices [n] and the four cubic B-spline weights [4, n] at pixels 0..n-1."""
    at = np.arange(n) / scale + offset
    i = at.astype(np.intp)
    t = at - i
    w = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return i, w.astype(F32)


def noise(rng: Rng, shape: tuple[int, int], scale: float, octaves: int = 1) -> Float:
    """Smooth random field [h, w], mean 0 and SD about 1, with features of about `scale` pixels."""
    total, power = np.zeros(shape, F32), 0.0
    for octave in range(octaves):
        step, gain = scale / 2**octave, 0.5**octave
        (iy, wy), (ix, wx) = (_weights(n, step, o) for n, o in zip(shape, rng.random(2), strict=True))
        grid = rng.standard_normal((iy[-1] + 4, ix[-1] + 4), F32)
        rows = sum(wy[k][:, None] * grid[iy + k] for k in range(4))  # [h, grid columns]
        total += F32(gain) * sum(wx[k] * rows[:, ix + k] for k in range(4))
        power += gain**2
    return np.asarray(total / F32(0.48 * np.sqrt(power)), F32)  # 0.48: SD of a spline through unit noise


def sample(field: NDArray[Any], y: Float, x: Float) -> NDArray[Any]:
    """Values of `field` at the pixels nearest to (y, x), clamped to the image."""
    iy = np.clip(np.rint(y), 0, field.shape[0] - 1).astype(np.intp)
    ix = np.clip(np.rint(x), 0, field.shape[1] - 1).astype(np.intp)
    return field[iy, ix]


def combed(field: Float, theta: Float, first: float, passes: int) -> Float:
    """Smear a field [h, w] along the directions `theta`, so that grains become fibres; SD about 1.

    Each pass averages three points of the streamline and doubles the step, so the reach grows as 2^passes.
    """
    grid_y, grid_x = np.mgrid[: field.shape[0], : field.shape[1]].astype(F32)
    ty, tx = np.sin(theta), np.cos(theta)
    for k in range(passes):
        step = F32(first * 2**k)
        ahead, behind = (
            ndimage.map_coordinates(field, (grid_y + s * ty, grid_x + s * tx), order=1, mode="reflect")
            for s in (step, -step)
        )
        field = (field + ahead + behind) / 3
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), F32)


# ---- cells and nuclei --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """A tessellation of a region by cells."""

    y: Float  # [n] centres
    x: Float  # [n]
    nearest: NDArray[np.intp]  # [h, w] cell of each pixel; 0 outside the region
    edge: Float  # [h, w] distance to the cell's rounded border; 0 outside the region


def lattice(rng: Rng, shape: tuple[int, int], spacing: float, jitter: float) -> tuple[Float, Float]:
    """Centres (y, x), each [rows, columns], of a shaken hexagonal lattice with a margin of three cells.

    Shaken lattices, not free positions: cells of one kind keep a distance, which gives tissue its rhythm.
    """
    rise = spacing * 0.866
    rows, columns = int(shape[0] / rise) + 7, int(shape[1] / spacing) + 7
    r, c = np.mgrid[:rows, :columns]
    y = (r - 3 + jitter * rng.uniform(-1, 1, r.shape)) * rise
    x = (c - 3 + 0.5 * (r % 2) + jitter * rng.uniform(-1, 1, r.shape)) * spacing
    return y.astype(F32), x.astype(F32)


def tessellate(rng: Rng, region: Bool, spacing: float, jitter: float, rounding: float) -> Cells:
    """Cells of about `spacing` over the pixels of `region` [h, w], corners rounded by about `rounding`.

    Voronoi cells on bent coordinates: straight walls look like crystals, not like tissue.
    """
    shape = (region.shape[0], region.shape[1])
    cy, cx = lattice(rng, shape, spacing, jitter)
    columns = cy.shape[1]
    cy, cx = cy.ravel(), cx.ravel()
    py, px = (
        at.astype(F32) + F32(0.05 * spacing) * noise(rng, shape, 0.45 * spacing)[region]  # [m] pixels
        for at in np.nonzero(region)
    )
    row = np.floor(py / F32(spacing * 0.866)).astype(np.intp) + 3
    best = np.full(py.shape, np.inf, F32)
    near = np.zeros(py.shape, np.intp)
    candidates = []
    for dr in (-1, 0, 1, 2):
        base = np.rint(px / F32(spacing) - 0.5 * ((row + dr) % 2)).astype(np.intp) + 3
        for dc in (-1, 0, 1):
            index = (row + dr) * columns + base + dc  # [m]
            square = (cy[index] - py) ** 2 + (cx[index] - px) ** 2
            closer = square < best
            best, near = np.where(closer, square, best), np.where(closer, index, near)
            candidates.append((index, square))
    ny, nx = cy[near], cx[near]
    # The border is the nearest bisector; a soft minimum over all bisectors rounds the corners.
    soft = np.full(py.shape, 1e-6, F32)
    for index, square in candidates:
        gap = np.hypot(cy[index] - ny, cx[index] - nx)  # [m]
        bisector = (square - best) / (2 * gap + F32(1e-6))
        soft += np.where(index == near, F32(0), np.exp(-bisector / F32(rounding)))
    nearest, edge = np.zeros(region.shape, np.intp), np.zeros(region.shape, F32)
    nearest[region] = near
    edge[region] = np.maximum(-np.log(soft) * F32(rounding), 0)
    return Cells(cy, cx, nearest, edge)


class Nuclei(NamedTuple):
    """Ellipses, one row each; every field float32 [n]."""

    y: Float
    x: Float
    a: Float  # semi-axis along `angle`
    b: Float  # semi-axis across
    angle: Float
    dark: Float  # mean amount of stain
    rim: Float  # 0: even; 1: pale inside a dark membrane, as in vesicular nuclei
    spot: Float  # amount of stain in a nucleolus
    grain: Float  # contrast of chromatin


def nuclei(y: Float, x: Float, **fields: Float | float) -> Nuclei:
    """Nuclei at [n] positions; fields left out are 0, numbers are repeated."""
    given = {"rim": 0.0, "spot": 0.0, "angle": 0.0, "grain": 0.15, **fields}
    columns = (np.broadcast_to(np.asarray(given[name], F32), y.shape) for name in Nuclei._fields[2:])
    return Nuclei(y, x, *columns)


def stamp(rng: Rng, shape: tuple[int, int], drawn: list[Nuclei], grain: Float) -> tuple[Float, Float]:
    """Draw ellipses -> coverage 0..1 and amount of stain, each [h, w]. Overlaps keep the darker value."""
    cover, amount = np.zeros(shape, F32), np.zeros(shape, F32)
    every = Nuclei(*(np.concatenate(column) for column in zip(*drawn, strict=True)))
    order = np.argsort(every.a, kind="stable")
    start = 0
    while start < len(order):
        # Nuclei of similar size share one patch size; at most about 4 M pixels at a time bound the memory.
        half = int(np.ceil(every.a[order[start]] * 1.5)) + 2
        fits = np.searchsorted(every.a[order], (half - 1.5) / 1.3, side="right")
        stop = max(start + 1, min(int(fits), start + 4_000_000 // (2 * half + 1) ** 2))
        part = Nuclei(*(column[order[start:stop], None, None] for column in every))  # each [k, 1, 1]
        start = stop
        span = np.arange(-half, half + 1)
        iy = np.rint(part.y).astype(np.intp) + span[:, None]  # [k, p, 1]
        ix = np.rint(part.x).astype(np.intp) + span  # [k, 1, p]
        dy, dx = iy - part.y, ix - part.x
        cos, sin = np.cos(part.angle), np.sin(part.angle)
        u, v = (dx * cos + dy * sin) / part.a, (dy * cos - dx * sin) / part.b  # [k, p, p]
        radius = np.sqrt(u * u + v * v) + F32(1e-3)
        bend = rng.normal(0, 0.07, (2, *part.y.shape)).astype(F32)
        # cos 3φ and sin 2φ make outlines uneven without a single arctangent.
        radius += bend[0] * u * (u * u - 3 * v * v) / radius**2 + bend[1] * 2 * u * v / radius
        alpha = np.clip((1 - radius) * np.sqrt(part.a * part.b) + F32(0.5), 0, 1)
        at = rng.uniform(-0.35, 0.35, (2, *part.y.shape)).astype(F32)
        nucleolus = np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) * F32(18))
        clump = grain[np.clip(iy, 0, shape[0] - 1), np.clip(ix, 0, shape[1] - 1)]  # [k, p, p]
        inside = 1 + part.rim * (ramp(radius, 0.5, 0.9) - F32(0.55)) + part.grain * clump
        stain = alpha * (part.dark * np.maximum(inside, F32(0.1)) + part.spot * nucleolus)
        seen = (iy >= 0) & (iy < shape[0]) & (ix >= 0) & (ix < shape[1]) & (alpha > 0)
        flat = (iy * shape[1] + ix)[seen]
        np.maximum.at(cover.reshape(-1), flat, alpha[seen])
        np.maximum.at(amount.reshape(-1), flat, stain[seen])
    return cover, amount


# ---- rings: ducts, vessels ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ring:
    """A closed uneven curve around (y, x) and all its shrunken copies: `rho` is 1 on it, 0 at the centre."""

    y: float
    x: float
    radius: float
    stretch: float
    angle: float
    waves: tuple[float, ...]  # amplitudes of harmonics 2, 3, 4
    phases: tuple[float, ...]

    @classmethod
    def random(cls, rng: Rng, y: float, x: float, radius: float, uneven: float = 0.06) -> Ring:
        waves = rng.normal(0, uneven, 3) * np.array([1.0, 0.7, 0.4])
        phases = rng.uniform(0, 2 * np.pi, 3)
        stretch, angle = float(rng.uniform(1.0, 1.3)), float(rng.uniform(0, np.pi))
        return cls(y, x, radius, stretch, angle, tuple(waves.tolist()), tuple(phases.tolist()))

    def _reach(self, phi: Float) -> Float:
        waves = zip((2, 3, 4), self.waves, self.phases, strict=True)
        return np.asarray(F32(self.radius) * (1 + sum(F32(a) * np.cos(k * phi + F32(p)) for k, a, p in waves)))

    def rho(self, shape: tuple[int, int]) -> Float:
        """Relative radius of every pixel [h, w], inf far away."""
        out = np.full(shape, np.inf, F32)
        far = 2.2 * self.radius
        top, left = max(0, int(self.y - far)), max(0, int(self.x - far))
        bottom, right = max(0, int(self.y + far) + 1), max(0, int(self.x + far) + 1)
        view = out[top:bottom, left:right]
        dy = np.arange(top, top + view.shape[0], dtype=F32)[:, None] - F32(self.y)
        dx = np.arange(left, left + view.shape[1], dtype=F32) - F32(self.x)
        cos, sin = F32(np.cos(self.angle)), F32(np.sin(self.angle))
        u, v = (dx * cos + dy * sin) / F32(self.stretch), (dy * cos - dx * sin) * F32(self.stretch)
        view[...] = np.hypot(u, v) / self._reach(np.arctan2(v, u))
        return out

    def along(self, rng: Rng, rho: float, spacing: float) -> tuple[Float, Float, Float]:
        """Points at `rho` about `spacing` apart -> y, x and the tangent's angle, each [n]."""
        n = max(3, int(2 * np.pi * self.radius * rho / spacing))
        turn = (np.arange(n + 1) + rng.uniform(-0.3, 0.3, n + 1)) / n * 2 * np.pi
        phi = turn.astype(F32)

        def place(phi: Float) -> tuple[Float, Float]:
            reach = self._reach(phi) * F32(rho)
            u, v = reach * np.cos(phi) * F32(self.stretch), reach * np.sin(phi) / F32(self.stretch)
            cos, sin = F32(np.cos(self.angle)), F32(np.sin(self.angle))
            return self.y + u * sin + v * cos, self.x + u * cos - v * sin

        (y, x), (y2, x2) = place(phi), place(phi + F32(0.02))
        return y[:-1], x[:-1], np.arctan2(y2 - y, x2 - x)[:-1]


# ---- light -------------------------------------------------------------------------------------------------

_MEASURED = np.array([[1.0, 0.16, 0.18], [0.45, 1.0, 0.42], [0.38, 1.0, 0.50]])
"""Haematoxylin, eosin and blood as they look in BCSS images, in the basis of `stain_matrix()`: rows [3, 3].

Fitted to the mean density of the darkest and of the pinkest pixels; Ruifrok's eosin alone is too violet.
"""


@dataclass(frozen=True)
class Stain:
    """How one patient's section was stained and scanned."""

    vectors: Float  # [3 absorbers, 3 channels] optical density of one unit
    tint: Float  # [3] optical density of empty glass
    blur_um: float
    noise: float  # SD in optical density

    @classmethod
    def random(cls, institute: Rng, patient: Rng) -> Stain:
        """Both levels vary direction and strength: the laboratory more in hue, the patient more in strength."""
        basis = stain_matrix().astype(np.float64)
        mix = _MEASURED.copy()
        gain = np.ones(3)
        for rng, hue, strength in ((institute, 0.07, 0.12), (patient, 0.06, 0.17)):
            mix += rng.normal(0, hue, (3, 3)) * np.array([1.0, 1.0, 0.35])
            gain *= np.exp(rng.normal(0, strength, 3))
        rows = (mix[:, :, None] * basis).sum(axis=1) * gain[:, None]  # [3, 3]
        tint = np.abs(patient.normal(0, [0.004, 0.010, 0.006])) + 0.006
        blur, grain = float(patient.uniform(0.20, 0.40)), float(patient.uniform(0.006, 0.012))
        return cls(np.maximum(rows, 0.0).astype(F32), tint.astype(F32), blur, grain)

    def expose(self, rng: Rng, amounts: Float, mpp: float) -> NDArray[np.uint8]:
        """Amounts [3, h, w] -> RGB uint8 [h, w, 3]."""
        sharp = ndimage.gaussian_filter(amounts, (0, self.blur_um / mpp, self.blur_um / mpp))
        density = np.empty((*sharp.shape[1:], 3), F32)
        for channel in range(3):
            light = self.tint[channel] + sum(sharp[k] * self.vectors[k, channel] for k in range(3))
            shot = rng.standard_normal(sharp.shape[1:], F32) * F32(self.noise)
            # Shot noise grows with density, because fewer photons arrive.
            density[..., channel] = light + shot * (F32(0.4) + light)
        return to_rgb(density)


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
