"""A phantom of BCSS: procedural H&E breast tissue of all five classes with pixel-exact masks.

The data set that is always at hand: no download, no licence, no patient. `phantom_roi` draws one ROI and
`write_phantom` a folder in the layout of BCSS. A ROI is first laid out (which tissue lies where: that map IS the
mask), then painted from the map with the textures of `tissue.py`, then stained. Everything follows from the
seed and the number of the patient, and no patient depends on another.

Codes: `ushape.data.classes`. Layout and naming of files: Amgad et al. 2019 (10.1093/bioinformatics/btz083).
The tissue is invented; colours and sizes were matched by eye to BCSS at 1.2 µm per pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from scipy import ndimage

from ushape.data import texture, tissue
from ushape.data.texture import Bool, Float, Ring, Rng, noise, ramp, sample
from ushape.data.tissue import (
    BLOOD,
    DCIS,
    DUCT,
    FAT,
    LYMPHOCYTES,
    NECROSIS,
    PLASMA,
    SECRETION,
    STROMA,
    TUMOR,
    VESSEL,
    Look,
    Scene,
)
from ushape.errors import LARGEST_SEED, DataError, RunError
from ushape.files import cannot_write, replacing

VERSION = 1
"""Raised whenever the same arguments give other pixels; stands in every file written."""

INSTITUTES = ("P1", "P2", "P3", "P4")


# ---- one ROI -----------------------------------------------------------------------------------------------


def phantom_roi(
    seed: int, patient: int, size: int = 512, mpp: float = 1.2
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One ROI of patient number `patient` (0, 1, ...) of the phantom `seed`.

    `size` is the side in pixels (at least 64), `mpp` the µm per pixel (0.1 to 4). Cells and fibres keep their
    size in µm; fields narrower than about 600 µm get smaller islands, so that all classes still fit.

    Returns RGB uint8 [size, size, 3] and BCSS codes uint8 [size, size]. As in BCSS the annotated region is a
    slightly turned rectangle: beyond it the code is 0 and the tissue goes on. The same arguments give the same
    bytes on one machine; elsewhere NumPy's `exp` or `cos` may round a pixel to the next value.
    Raises DataError for arguments out of range.
    """
    _check(seed, patient, size, mpp)
    institute = np.random.SeedSequence(seed, spawn_key=(0, patient % len(INSTITUTES)))
    own = np.random.SeedSequence(seed, spawn_key=(1, patient))
    # One stream a step: a change in how one thing is drawn leaves the others as they were.
    traits, plan, brush, stain, light = (np.random.default_rng(s) for s in own.spawn(5))
    look = Look.random(traits)
    scene = _lay_out(plan, look, (size, size), mpp)
    amounts = tissue.paint(brush, look, scene)
    rgb = texture.Stain.random(np.random.default_rng(institute), stain).expose(light, amounts, mpp)
    codes = np.where(_annotated(plan, scene.codes.shape), scene.codes, np.uint8(0))
    return rgb, codes


def _check(seed: int, patient: int, size: int, mpp: float) -> None:
    if not 0 <= seed <= LARGEST_SEED or patient < 0:
        raise DataError(
            f"phantom: seed {seed} and patient {patient} must be 0 or more, the seed {LARGEST_SEED} at most"
        )
    if patient > 9999:
        raise DataError(f"phantom: patient {patient} does not fit the four digits of a name; use 0 to 9999")
    if size < 64:
        raise DataError(f"phantom: size {size} is too small to hold tissue; use at least 64 pixels")
    if not 0.1 <= mpp <= 4:
        raise DataError(f"phantom: mpp {mpp} is out of range; use 0.1 to 4 µm per pixel")


# ---- layout: which tissue lies where -----------------------------------------------------------------------


def _highest(score: Float, allowed: Bool, share: float) -> Bool:
    """The `share` of all pixels where `score` is highest within `allowed`, or 60% of it if that is less."""
    values = score[allowed]
    wanted = min(int(share * score.size), int(0.6 * values.size))
    if wanted < 1:
        return np.zeros(score.shape, bool)
    threshold = np.partition(values, values.size - wanted)[values.size - wanted]
    return np.asarray(allowed & (score >= threshold))


def _without_specks(mask: Bool, smallest: float) -> Bool:
    """Drop islands and fill holes of fewer than `smallest` pixels."""
    for value in (True, False):
        label, n = ndimage.label(mask == value)
        small = np.bincount(label.ravel(), minlength=n + 1) < smallest
        small[0] = False
        mask = mask ^ small[label]
    return mask


def _lay_out(rng: Rng, look: Look, shape: tuple[int, int], mpp: float) -> Scene:
    """Tumor islands in stroma; necrosis within; ducts and vessels; lymphocytes at the border; fat far off."""
    px = 1 / mpp
    zoom = float(np.clip(min(shape) * mpp / 600, 0.3, 1.2))  # small fields get small islands
    s = px * zoom

    def snapped(target: Bool, spacing: float, jitter: float, rounding: float) -> tuple[Bool, texture.Cells]:
        """Tissue consists of whole cells: those whose centre lies in `target`."""
        near = ndimage.maximum_filter(target, size=2 * int(spacing) + 3)
        cells = texture.tessellate(rng, near, spacing, jitter, rounding)
        chosen = sample(target, cells.y, cells.x)
        return near & chosen[cells.nearest], cells

    # Tumor: thresholded noise, bent by other noise so that islands get necks and bays.
    grid = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bent = grid + 20 * s * np.stack([noise(rng, shape, 70 * s) for _ in range(2)])
    wild = noise(rng, shape, 125 * s, octaves=4)
    wild = ndimage.map_coordinates(wild, bent, order=1, mode="reflect")
    target = _highest(wild, np.ones(shape, bool), look.tumor_share)
    target = _without_specks(target, (28 * s) ** 2)
    tumor, tumor_cells = snapped(target, look.cell_um * px, 0.30, 1.2 * px)

    # Necrosis: the middle of islands, where vessels are far.
    depth = np.asarray(ndimage.distance_transform_edt(tumor), np.float32)
    score = noise(rng, shape, 60 * s, octaves=3) + 2.2 * ramp(depth, 5 * s, 55 * s)
    necrosis = _highest(score, tumor & (depth > 14 * s), look.necrosis_share)
    necrosis = _without_specks(necrosis, (22 * s) ** 2)

    codes = np.full(shape, STROMA, np.uint8)
    codes[tumor] = TUMOR
    codes[necrosis] = NECROSIS
    from_tumor = np.asarray(ndimage.distance_transform_edt(~tumor), np.float32) * np.float32(mpp)
    scene = Scene(px, codes, tumor_cells, None, from_tumor)

    room = from_tumor * px  # pixels to the nearest thing that a ring must not touch
    wanted = [(DCIS, 62.0, 80.0)] * look.dcis + [(DUCT, 30.0, 48.0)] + [(VESSEL, 20.0, 32.0)] * 2
    wanted += [(DUCT, 17.0, 30.0)] * (look.ducts - 1) + [(BLOOD, 22.0, 38.0)]
    for code, low, high in wanted:
        radius = float(rng.uniform(low, high)) * s
        free = np.flatnonzero(room > 1.15 * radius + 3 * px)
        while free.size == 0 and radius > 0.5 * low * s:
            radius *= 0.8
            free = np.flatnonzero(room > 1.15 * radius + 3 * px)
        if free.size == 0:
            continue
        y, x = divmod(int(free[rng.integers(free.size)]), shape[1])
        ring = Ring.random(rng, y, x, radius, uneven=0.12 if code == BLOOD else 0.06)
        rho = ring.rho(shape)
        scene.rings.append((code, ring))
        codes[rho < 1] = code
        if code == DUCT:
            codes[rho < tissue.lumen_of(scene, ring)] = SECRETION
        if code == DCIS:
            codes[rho + 0.05 * noise(rng, shape, 14 * px) < 0.42] = NECROSIS
        room = np.minimum(room, np.maximum(rho - 1, 0) * np.float32(radius) * 0.9)

    # Lymphocytes: along the border of tumor, and in clusters of their own.
    score = noise(rng, shape, 38 * s, octaves=3) + 1.3 * np.exp(-from_tumor / np.float32(30 * zoom))
    lymph = _highest(score, (codes == STROMA) & (room > 2 * px), look.lymph_share)
    lymph = _without_specks(lymph, (20 * s) ** 2) & (codes == STROMA)
    codes[lymph] = LYMPHOCYTES
    if look.plasma:
        codes[lymph & (noise(rng, shape, 90 * s) > 0.3)] = PLASMA

    # Fat: whole adipocytes, away from tumor.
    free_stroma = (codes == STROMA) & (room > 4 * px) & (from_tumor > 10 * zoom)
    score = noise(rng, shape, 110 * s, octaves=2) + ramp(from_tumor, 0, 160 * zoom)
    target = _highest(score, free_stroma, look.fat_share)
    if target.any():
        spacing = 48 * px * max(zoom, 0.5)
        fat, scene.fat_cells = snapped(target, spacing, 0.33, 0.05 * spacing)
        codes[fat & np.isin(codes, (STROMA, LYMPHOCYTES, PLASMA)) & (room > 0)] = FAT
    # Cells of a ring's own epithelium lie outside the first tessellation: draw them with their own.
    if any(code == DCIS for code, _ in scene.rings):
        inside = np.isin(codes, (TUMOR, NECROSIS, DCIS))
        scene.tumor_cells = _extended(rng, look, scene, inside)
    return scene


def _extended(rng: Rng, look: Look, scene: Scene, inside: Bool) -> texture.Cells:
    """The tumor's cells plus new ones where `inside` reaches beyond them."""
    old = scene.tumor_cells
    missing = inside & (old.edge == 0) & (scene.from_tumor > 0)
    new = texture.tessellate(rng, missing, look.cell_um * scene.px, 0.30, 1.2 * scene.px)
    return texture.Cells(
        np.concatenate([old.y, new.y]),
        np.concatenate([old.x, new.x]),
        np.where(missing, new.nearest + old.y.size, old.nearest),
        np.where(missing, new.edge, old.edge),
    )


def _annotated(rng: Rng, shape: tuple[int, ...]) -> Bool:
    """The annotated region [h, w]: the largest square, turned a little, within its bounding box."""
    turn = float(rng.uniform(1.5, 6.0) * rng.choice([-1, 1])) * np.pi / 180
    half = shape[0] / 2 / (abs(np.cos(turn)) + abs(np.sin(turn)))
    y, x = np.mgrid[: shape[0], : shape[1]] - (shape[0] - 1) / 2
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.asarray((np.abs(u) <= half) & (np.abs(v) <= half))


# ---- files -------------------------------------------------------------------------------------------------

FOLDERS = ("rgbs_colorNormalized", "masks")
_STAMP = "ushape-phantom"


def phantom_name(patient: int, mpp: float = 1.2) -> str:
    """`PHAN-P2-0001-DX1_xmin0_ymin0_MPP-1.2000`: the first 12 characters are the patient, P2 its institute."""
    institute = INSTITUTES[patient % len(INSTITUTES)]
    return f"PHAN-{institute}-{patient:04d}-DX1_xmin0_ymin0_MPP-{mpp:.4f}"


def write_phantom(
    folder: Path,
    patients: int = 12,
    seed: int = 0,
    size: int = 512,
    mpp: float = 1.2,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write patients 0..`patients`-1, one ROI each, in the layout of BCSS; return the paths of the images.

    `folder/rgbs_colorNormalized/NAME.png` is RGB, `folder/masks/NAME.png` 8-bit codes 0-21; NAME as in
    `phantom_name`. Other arguments as in `phantom_roi`; `progress` is told one line a ROI. A file appears
    complete or not at all, and a call that was cut short goes on where it stopped: what the same call wrote
    before is left alone. Raises DataError for arguments out of range, and where the two folders hold visible
    files that this call would not write; RunError where the disk is full or the folder cannot be written.
    """
    if patients < 1:
        raise DataError(f"phantom: patients {patients} is too few; use at least 1")
    _check(seed, patients - 1, size, mpp)
    folder = Path(folder)
    stamps = {phantom_name(i, mpp) + ".png": _stamp(seed, i, size, mpp) for i in range(patients)}
    for sub in FOLDERS:
        _refuse_foreign(folder / sub, stamps)
    try:
        for sub in FOLDERS:
            (folder / sub).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error
    written = []
    for i, (name, stamp) in enumerate(stamps.items()):
        paths = [folder / sub / name for sub in FOLDERS]
        kept = all(path.exists() for path in paths)
        if not kept:
            for path, pixels in zip(paths, phantom_roi(seed, i, size, mpp), strict=True):
                _write_png(path, pixels, stamp)
        if progress is not None:
            progress(f"phantom {i + 1}/{patients}: {name}{' (already there)' if kept else ''}")
        written.append(paths[0])
    return written


def _stamp(seed: int, patient: int, size: int, mpp: float) -> str:
    """What made a file, written into it: names alone would not tell one seed from another."""
    return f"version={VERSION} seed={seed} patient={patient} size={size} mpp={float(mpp)!r}"


def _refuse_foreign(folder: Path, stamps: dict[str, str]) -> None:
    """DataError where `folder` holds a visible file other than those that `stamps` (name -> stamp) expects."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder: remove it or choose another folder")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.name.startswith("."):  # the system's own, and temporary files of a call that was killed
            continue
        try:
            with Image.open(path) as image:
                found = image.info.get(_STAMP)
        except (UnidentifiedImageError, OSError):
            found = None
        if found is None or stamps.get(path.name) != found:
            made_by = f"from another phantom call ({found})" if found else "not from a phantom"
            raise DataError(f"{folder} holds {path.name}, {made_by}: choose an empty folder, or empty this one")


def _write_png(path: Path, pixels: NDArray[np.uint8], stamp: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(_STAMP, stamp)
    with replacing(path) as beside:
        Image.fromarray(pixels).save(beside, format="PNG", pnginfo=info)
