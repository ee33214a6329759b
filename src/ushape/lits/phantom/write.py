"""The phantom as files in the layout of LiTS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ushape.errors import LARGEST_SEED, DataError
from ushape.files import replacing
from ushape.lits.phantom.anatomy import draw_anatomy
from ushape.lits.phantom.scanner import affine, draw_scan, stored, take
from ushape.lits.volumes import nibabel_module

_VERSION = 1
"""Of what is drawn: a change of the anatomy or the scanner raises it."""


def write_phantom(
    folder: Path,
    volumes: int = 24,
    seed: int = 0,
    size: int = 192,
    pixel: float = 1.1,
    progress: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write volume-0.nii, segmentation-0.nii, ... of as many patients; the paths of the volumes.

    size: px along x and y; pixel: their side in mm, give or take an eighth (size x pixel is the field of view, which
    the body fills). A call that was cut short goes on; the same arguments give the same bytes. DataError for
    arguments out of range, and where the folder holds NIfTI files of another call.
    """
    for name, value, low, high in (
        ("volumes", volumes, 1, 10_000), ("seed", seed, 0, LARGEST_SEED), ("size", size, 32, 2048),
        ("pixel", pixel, 0.2, 8.0),
    ):  # fmt: skip
        if not low <= value <= high:
            raise DataError(f"phantom: {name} {value:g} is out of range: give {low:g} to {high:g}")
    stamp = f"ushape phantom {_VERSION} seed {seed} size {size} pixel {pixel:g}"
    if len(stamp) > 79:
        raise DataError(f"phantom: pixel {pixel!r} has too many digits: round it")
    nibabel = nibabel_module()
    names = {f"{kind}-{i}.nii" for kind in ("volume", "segmentation") for i in range(volumes)}
    for path in sorted(folder.glob("*.nii*")) if folder.is_dir() else ():
        if path.name not in names or _stamp_of(path, nibabel) != stamp:
            raise DataError(f"{folder} holds {path.name}, which this call would not write: choose an empty folder")
    paths = []
    for i in range(volumes):
        paths.append(folder / f"volume-{i}.nii")
        if not (folder / f"segmentation-{i}.nii").exists():  # written last
            _write(folder, i, seed, size, pixel, stamp, nibabel)
        progress()
    return paths


def _write(folder: Path, number: int, seed: int, size: int, pixel: float, stamp: str, nibabel: Any) -> None:
    rng = np.random.default_rng((seed, number))
    anatomy, scan = draw_anatomy(rng), draw_scan(rng, size, pixel)
    taken = [take(anatomy, scan, z, rng) for z in range(scan.slices)]
    for kind, voxels in (("volume", [t[0] for t in taken]), ("segmentation", [t[1] for t in taken])):
        image = nibabel.Nifti1Image(stored(np.stack(voxels), scan), affine(scan))
        image.header.set_xyzt_units("mm")
        image.header["descrip"] = stamp.encode()
        with replacing(folder / f"{kind}-{number}.nii") as temporary, temporary.open("wb") as file:
            file.write(image.to_bytes())


def _stamp_of(path: Path, nibabel: Any) -> str | None:
    try:
        return bytes(nibabel.load(path).header["descrip"].item()).decode(errors="replace")
    except Exception:  # whatever it is, it is not ours
        return None
