"""From a folder of LiTS to what training reads: arrays of windowed HU and labels that can be memory-mapped.

OUT/prepared.json                       the cases and a fingerprint of their files
OUT/N/case.json                         its files and their hashes, spacing and slices
OUT/N/liver-image.npy, liver-labels.npy     int16 and uint8 [z, y, x], voxels of about 2.5 x 1 x 1 mm, labels 0, 1
OUT/N/lesion-image.npy, lesion-labels.npy   the volume's own voxels, labels 0, 1, 2, slices with liver and two beside
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.files import content_hash, read_json, remove_parts, replacing, write_json
from ushape.lits.folder import Case, find_cases, label_slice, open_labels
from ushape.lits.recipe import BESIDE, SPACING, Stage
from ushape.lits.resample import new_shape, resampled
from ushape.lits.volumes import open_volume
from ushape.lits.window import window
from ushape.locks import holding
from ushape.train.run import is_empty


@dataclass(frozen=True)
class Prepared:
    """One case for one network: image int16 [z, y, x] in HU within the window, labels uint8 of the same shape."""

    name: str
    image: NDArray[np.int16]
    labels: NDArray[np.uint8]


def prepare(folder: Path, out: Path, progress: Callable[[], None] = lambda: None) -> list[str]:
    """Prepare all cases of a folder; their names. Goes on where it was stopped.

    DataError where a case is wrong, or its files are others than those it was prepared from; RunError where another
    process is at work.
    """
    cases = find_cases(folder)
    about = {"data": str(folder.resolve()), "cases": [c.name for c in cases]}
    if (out / "prepared.json").exists():
        there = read_json(out / "prepared.json")
        if {k: there.get(k) for k in about} != about:
            raise DataError(f"{out} holds other cases than {folder}: choose another --out, or empty it")
    elif out.exists() and not is_empty(out):
        raise DataError(f"{out} is not empty and holds nothing prepared: choose another --out, or empty it")
    else:
        write_json(out / "prepared.json", {**about, "done": False})
    with holding(out / "prepared.json"):
        remove_parts(out)
        together = hashlib.sha256()
        for case in cases:
            made = _case(case, out / case.name)
            together.update(f"{case.name} {made['hashes']}".encode())
            progress()
        write_json(out / "prepared.json", {**about, "done": True, "fingerprint": together.hexdigest()[:16]})
    return [c.name for c in cases]


def _case(case: Case, folder: Path) -> dict[str, Any]:
    """What case.json says of a case, which is prepared where it is not yet."""
    assert case.segmentation is not None  # find_cases asks for labels
    hashes = [content_hash(path) for path in (case.volume, case.segmentation)]
    if not (folder / "case.json").exists():
        write_json(folder / "case.json", _prepare_case(case, folder) | {"hashes": hashes})
    made: dict[str, Any] = read_json(folder / "case.json")
    if made.get("hashes") != hashes:
        raise DataError(
            f"{folder}: was prepared from other files than {case.volume} and its labels: remove this folder, or choose "
            "another --out"
        )
    return made


def _prepare_case(case: Case, folder: Path) -> dict[str, Any]:
    volume = open_volume(case.volume)
    assert case.segmentation is not None  # find_cases asks for labels
    labels = open_labels(case.segmentation, volume)
    liver = [z for z in range(volume.shape[0]) if label_slice(labels, z).any()]
    if not liver:
        raise DataError(f"{labels.path}: no voxel is labelled liver: leave this volume out")
    first, last = max(liver[0] - BESIDE, 0), min(liver[-1] + BESIDE + 1, volume.shape[0])
    fine = (last - first, *volume.shape[1:])
    _write(folder / "lesion-image.npy", np.int16, fine, (np.round(window(volume.slice(z))) for z in range(first, last)))
    _write(folder / "lesion-labels.npy", np.uint8, fine, (label_slice(labels, z) for z in range(first, last)))
    coarse = new_shape(volume.shape, volume.spacing, SPACING)
    image = resampled(lambda z: window(volume.slice(z)), volume.shape, coarse)
    share = resampled(lambda z: (label_slice(labels, z) > 0).astype(np.float32), volume.shape, coarse)
    _write(folder / "liver-image.npy", np.int16, coarse, map(np.round, image))
    _write(folder / "liver-labels.npy", np.uint8, coarse, (s >= 0.5 for s in share))
    if not np.load(folder / "liver-labels.npy", mmap_mode="r").any():
        sides = " x ".join(f"{side:g}" for side in SPACING)
        raise DataError(f"{labels.path}: its liver is lost on voxels of {sides} mm: leave this volume out")
    return {"volume": str(case.volume), "shape": volume.shape, "spacing": volume.spacing, "slices": [first, last]}


def _write(path: Path, kind: type, shape: tuple[int, ...], slices: Iterable[NDArray[np.generic]]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
        )
        for each in slices:
            file.write(each.astype(kind).tobytes())


def open_prepared(folder: Path, stage: Stage) -> list[Prepared]:
    """The cases of a prepared folder, mapped; DataError where it is none or not complete."""
    if not (folder / "prepared.json").exists():
        raise DataError(f"{folder}: holds nothing prepared: `ushape lits prepare DATA --out {folder}` first")
    about = read_json(folder / "prepared.json")
    if not about.get("done"):
        raise DataError(f"{folder}: was not prepared to the end: repeat `ushape lits prepare`")
    made = []
    for name in about["cases"]:
        try:
            arrays = [np.load(folder / name / f"{stage}-{part}.npy", mmap_mode="r") for part in ("image", "labels")]
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / name}: is damaged ({error}): remove it and prepare again") from error
        made.append(Prepared(name, arrays[0], arrays[1]))
    return made
