"""What is wrong with a folder of images and masks, all of it at once, file by file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ushape.data.classes import CODES, Grouping
from ushape.data.duplicates import Signature, look_alike, signature
from ushape.data.rois import (
    MASK_FOLDER,
    image_files,
    image_folder,
    patient_of,
    pixel_size,
    printable,
    read_image,
    read_mask,
    same_names,
    twice_spelt,
    wrong_name,
)
from ushape.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the file or patient, and what to do about it."""

    about: str
    problem: str


@dataclass
class Inventory:
    """What a folder holds, filled while `check_folder` goes through it. `pixels`: count of each mask code."""

    images: int = 0
    patients: int = 0
    pixels: dict[int, int] | None = None

    def shares(self, grouping: Grouping) -> dict[str, float]:
        """Share of each class among the pixels that count; empty where none counts."""
        counts = [sum((self.pixels or {}).get(code, 0) for code in group) for group in grouping.groups]
        total = sum(counts)
        return {c: n / total for c, n in zip(grouping.classes, counts, strict=True)} if total else {}


def check_folder(folder: Path, mpp: float | None = None, inventory: Inventory | None = None) -> Iterator[Finding]:
    """Go through a folder and yield what is wrong, in the order of the files.

    Missing and extra masks, damaged files, wrong modes, sizes that differ, unknown codes, an image given twice (equal
    pixels, or the same tissue under two patients' names as `look_alike` finds it), a patient spelt two ways, no pixel
    size. DataError where there is no such folder or no image in it.
    """
    images = image_files(image_folder(folder))
    masks = image_files(folder / MASK_FOLDER) if (folder / MASK_FOLDER).is_dir() else {}
    inventory = inventory or Inventory()
    inventory.images, inventory.patients = len(images), len({patient_of(n) for n in images})
    counts = np.zeros(256, np.int64)
    if not images:
        raise DataError(f"{image_folder(folder)}: holds no image")
    seen: dict[str, str] = {}
    signatures: dict[str, Signature] = {}
    for name, path in images.items():
        size = None
        size_um = None
        for file in filter(None, (path, masks.get(name))):
            if wrong := wrong_name(file):
                yield Finding(printable(file), wrong)
        try:
            size_um = pixel_size(name, mpp)
        except DataError as error:
            yield Finding(str(path), str(error).removeprefix(f"{name}: "))
        try:
            image = read_image(path)
            size = image.size
            digest = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
            if digest in seen:
                yield Finding(str(path), f"is the same image as {seen[digest]}: remove one of them")
            else:
                signatures[name] = signature(np.asarray(image), size_um)
            seen.setdefault(digest, name)
        except DataError as error:
            yield _finding(path, error)
        if name not in masks:
            yield Finding(str(path), f"has no mask {folder / MASK_FOLDER / name}.png: add it, or move the image away")
            continue
        try:
            mask = read_mask(masks[name])
        except DataError as error:
            yield _finding(masks[name], error)
            continue
        counts += np.bincount(np.asarray(mask).ravel(), minlength=256)
        if size is not None and mask.size != size:
            yield Finding(
                str(masks[name]),
                f"is {mask.size[0]} x {mask.size[1]} px but its image is {size[0]} x {size[1]} px: export both again",
            )
    for name in masks:
        if name not in images:
            yield Finding(
                str(masks[name]), f"has no image {image_folder(folder) / name}.png: add it or remove the mask"
            )
    for part in (image_folder(folder), folder / MASK_FOLDER):
        for first, second in same_names(part) if part.is_dir() else []:
            yield Finding(str(second), f"has the same name as {first.name}: remove one of them")
    for pair in look_alike(signatures, {name: patient_of(name) for name in signatures}):
        yield Finding(
            str(images[pair.other]),
            f"looks like the same tissue as {images[pair.one].name}, of another patient ({pair.windows} windows "
            "agree): remove one of them, or give both the name of one patient",
        )
    for one, other in twice_spelt(images):
        yield Finding(one, f"and {other} look like one patient spelt two ways: rename the files")
    inventory.pixels = {code: int(counts[code]) for code in CODES if counts[code]}
    if inventory.pixels.keys() == {0}:
        yield Finding(str(folder / MASK_FOLDER), "all pixels of all masks are of code 0: nothing is annotated")


def _finding(path: Path, error: DataError) -> Finding:
    return Finding(str(path), str(error).removeprefix(f"{path}: "))
