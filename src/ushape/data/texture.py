"""What drawn tissue is made of: smooth noise, cells, nuclei, rings, and light through stain.

Everything is drawn as amounts of three absorbers, float32 [3, h, w]: haematoxylin, eosin, and the red of blood
cells. `Stain` turns amounts into light by Beer and Lambert's law. Lengths are in pixels unless a name ends in
`_um`. Nothing here calls BLAS: its sums depend on the number of threads, and a phantom must not.
"""

from __future__ import annotations

from dataclasses import dataclass
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
