"""The electron-microscopy stack of the ISBI 2012 challenge: grey slices, and where the cells' interiors are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.errors import DataError

MEMBRANE, INTERIOR = 0, 1
"""The classes, as the network orders them."""


@dataclass(frozen=True)
class Stack:
    """Neighbouring slices in order. `light` float32 [S, H, W], each slice of mean 0 and deviation 1; `interior` bool
    [S, H, W], true inside a cell; `names` of the files without their ending."""

    light: NDArray[np.float32]
    interior: NDArray[np.bool_]
    names: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Parts:
    """Slices, by number, that are trained on and that are scored."""

    train: tuple[int, ...]
    test: tuple[int, ...]


def read_stack(folder: Path) -> Stack:
    """Read `images/NN.png` and `labels/NN.png` (0 membrane, 255 interior), in the order of the numbers in their names.

    Slices differ in brightness and contrast, which the paper leaves open: each is brought to mean 0, deviation 1.
    DataError for a missing folder or label, other names, files that are no grey images, labels of other values or
    sizes, and slices without any membrane or interior.
    """
    for part in ("images", "labels"):
        if not (folder / part).is_dir():
            raise DataError(f"{folder / part}: no such folder: give the folder that holds images/ and labels/")
    images = sorted((folder / "images").glob("*.png"), key=_in_order)
    if not images:
        raise DataError(f"{folder / 'images'}: holds no PNG files: write each slice as images/NN.png, labels/NN.png")
    light: list[NDArray[np.float32]] = []
    interior: list[NDArray[np.bool_]] = []
    hashed = hashlib.sha256()
    for file in images:
        grey, labels = _read(file), _read(folder / "labels" / file.name)
        want = light[0].shape if light else grey.shape
        if {labels.shape, grey.shape} != {want}:
            raise DataError(f"{file.name}: image {grey.shape}, labels {labels.shape}: all should be {want}")
        values = np.unique(labels).tolist()
        if values != [0, 255]:
            shown = ", ".join(map(str, values[:5]))
            raise DataError(f"{folder / 'labels' / file.name}: values {shown}: give 0 for membrane, 255 for interior")
        if grey.min() == grey.max():
            raise DataError(f"{file}: every pixel is {grey.min()}: this is no micrograph")
        for array in (grey, labels):
            hashed.update(array.tobytes())
        light.append(((grey - grey.mean()) / grey.std()).astype(np.float32))
        interior.append(labels == 255)
    names = tuple(file.stem for file in images)
    return Stack(np.stack(light), np.stack(interior), names, f"sha256:{hashed.hexdigest()}")


def parts(slices: int, validate: bool = False) -> Parts:
    """The first three quarters to train on, the last to test: of 24 slices 0 to 17, and 18 to 23.

    validate: the test slices are left alone; the last sixth of the training slices (of 24: 15 to 17) is scored
    instead, and not trained on. Anything that is chosen is chosen so. DataError for fewer than 8 slices.
    """
    if slices < 8:
        raise DataError(f"{slices} slices: training, choosing and testing apart need at least 8")
    tested = slices // 4
    train = tuple(range(slices - tested))
    if not validate:
        return Parts(train, tuple(range(slices - tested, slices)))
    held = max(2, len(train) // 6)
    return Parts(train[:-held], train[-held:])


def _in_order(file: Path) -> tuple[list[str | int], str]:
    """What sorts 9.png before 10.png; 9.png and 09.png by name."""
    parts = re.split(r"(\d+)", file.stem)  # words and numbers by turns
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], file.stem


def _read(file: Path) -> NDArray[np.uint8]:
    """A grey 8-bit image [H, W]."""
    try:
        with Image.open(file) as image:
            if image.mode not in ("L", "1"):
                raise DataError(f"{file}: is of mode {image.mode}: give 8-bit grey images (mode L)")
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError) as error:  # what Pillow raises on damage
        raise DataError(f"{file}: cannot be read as an image ({str(error).splitlines()[0]})") from error
