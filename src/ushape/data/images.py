"""Images without masks: found in a folder, and their pixels at the pixel size that a network works at.

Images of one slide (one name up to `_`) are brought to a common strength of stain together, as small tiles hold too
little tissue to tell it, and lie in one memory-mapped file of the cache: a thousand tiles of ten slides are ten files.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from ushape.data.augment import Bytes, CropSettings, Float, change, draw_side
from ushape.data.rois import (
    IMAGE_FOLDERS,
    SUFFIXES,
    cache_key,
    check_coarseness,
    check_files,
    check_names,
    image_files,
    image_folder,
    of_any_size,
    patient_of,
    pixel_size,
    read_image,
    resample_image,
    resampled_size,
)
from ushape.data.stain import restained, strength_matrix
from ushape.data.windows import cut
from ushape.errors import DataError, RunError
from ushape.files import cache_folder, cannot_write, content_hash, replacing
from ushape.locks import holding


@dataclass(frozen=True)
class Picture:
    """An image without a mask. `mpp`: the file's pixel size in µm."""

    name: str
    path: Path
    mpp: float

    @property
    def patient(self) -> str:
        return patient_of(self.name)

    @property
    def slide(self) -> str:
        """What stands before the first `_` behind the patient."""
        return self.patient + self.name[len(self.patient) :].split("_")[0]


def find_images(folder: Path, mpp: float | None = None) -> list[Picture]:
    """All images of a folder, or of its folder of images where it has the BCSS layout, sorted by slide and name.

    `mpp`: pixel size where a name does not give it. DataError: no such folder, no image, no pixel size, two
    images of one name, or a name that is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    where = image_folder(folder) if any((folder / name).is_dir() for name in IMAGE_FOLDERS) else folder
    files = image_files(where)
    if not files:
        raise DataError(f"{where}: holds no image ({', '.join(SUFFIXES)})")
    check_files(files.values())
    check_names(where)
    made = [Picture(name, path, pixel_size(name, mpp)) for name, path in files.items()]
    return sorted(made, key=lambda picture: (picture.slide, picture.name))


def fingerprint(pictures: Sequence[Picture]) -> str:
    """SHA-256 over names and contents of images."""
    digest = hashlib.sha256()
    for each in pictures:
        digest.update(f"{each.name}\0{content_hash(each.path)}\0".encode())
    return digest.hexdigest()


def open_images(pictures: Sequence[Picture], mpp: float, normalise: str) -> list[Bytes]:
    """Their pixels at `mpp` µm per pixel, each uint8 [H, W, 3]; `normalise`: `stain`, slide by slide, or `none`.

    In the order of `find_images`. DataError where a file is damaged or its pixels are far too coarse.
    """
    for each in pictures:
        check_coarseness(each.path, each.mpp, mpp)
    made: list[Bytes] = []
    for _, group in groupby(pictures, key=lambda picture: picture.slide):
        made += _open_slide(list(group), mpp, normalise)
    return made


def _open_slide(pictures: list[Picture], mpp: float, normalise: str) -> list[Bytes]:
    def make() -> Bytes:
        images = [resample_image(read_image(p.path), p.mpp, mpp) for p in pictures]
        if normalise == "stain":
            pixels = np.concatenate([image.reshape(-1, 1, 3) for image in images])  # [P, 1, 3]
            matrix = strength_matrix(pixels[:: max(1, len(pixels) // 10**6)])
            images = [restained(image, matrix) for image in images]
        return np.concatenate([image.reshape(-1, 3) for image in images])

    def shape(picture: Picture) -> tuple[int, int]:
        width, height = resampled_size(_size(picture.path), picture.mpp, mpp)
        return height, width

    return kept_together(_cache_file(pictures, mpp, normalise), make, map(shape, pictures))


def kept_together(path: Path, make: Callable[[], Bytes], shapes: Iterable[tuple[int, int]]) -> list[Bytes]:
    """Images in one file of the cache: uint8 [H, W, C] of each of the shapes (H, W), memory-mapped.

    make: called where there is no such file yet, and before `shapes`; all their pixels, one image behind the other,
    uint8 [P, C].
    """
    if not path.is_file():
        turn = path.with_suffix(".lock")
        try:
            turn.parent.mkdir(parents=True, exist_ok=True)
            turn.touch()
        except OSError as error:
            raise RunError(cannot_write(turn.parent, error)) from error
        try:
            with holding(turn, math.inf):  # runs beside this one wait for what it makes
                if not path.is_file():
                    pixels = make()
                    with replacing(path) as temporary, temporary.open("wb") as file:
                        np.save(file, pixels)
        finally:
            turn.unlink(missing_ok=True)
    pixels = cast(Bytes, np.load(path, mmap_mode="r"))
    made, start = [], 0
    for height, width in shapes:
        made.append(pixels[start : start + height * width].reshape(height, width, -1))
        start += height * width
    return made


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an image that was decoded before, from its header alone."""
    with of_any_size(), Image.open(path) as image:
        return image.size


def _cache_file(pictures: list[Picture], mpp: float, normalise: str) -> Path:
    key = cache_key([p.path for p in pictures], f"{mpp:.6g}", normalise, *(f"{p.mpp:.6g}" for p in pictures))
    return cache_folder() / f"{key}-images.npy"


def check_windows(pictures: Sequence[Picture], images: Sequence[Bytes], settings: CropSettings) -> None:
    """DataError where an image is smaller than the smallest window that crops are made of."""
    for picture, image in zip(pictures, images, strict=True):
        if min(image.shape[:2]) < settings.smallest:
            raise DataError(
                f"{picture.path}: is {image.shape[1]} x {image.shape[0]} px at the pixel size of training, smaller "
                f"than the smallest window of {settings.smallest} (crop={settings.size} / (1 + scale)): set crop to "
                "less or scale to more, or move it away"
            )


class ImageCrops:
    """Crops of images without masks: a patient, an image of that patient, a place, each at random.

    `maps`: for each image amounts, uint8 [H, W, C], that are cropped and changed with it. With them an image smaller
    than a window is mirrored beyond its border, so that crops are of all sizes; without, windows are no larger than the
    image, as what is to be restored must not be seen beside. DataError where an image is smaller than the smallest
    window of the zoom.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        images: Sequence[Bytes],
        settings: CropSettings,
        seed: int,
        maps: Sequence[Bytes] | None = None,
    ) -> None:
        self.images, self.settings, self.seed, self.maps = list(images), settings, seed, maps
        check_windows(pictures, images, settings)
        patients = sorted({p.patient for p in pictures})
        self._of = [[i for i, p in enumerate(pictures) if p.patient == patient] for patient in patients]

    def draw(self, step: int, place: int) -> tuple[Float, Bytes | None]:
        """Crop number `place` of the batch of `step`: light float32 [S, S, 3], 0 to 1, and its map uint8 [S, S, C]."""
        at = (self.seed, step, place)
        rng = np.random.default_rng(at)
        images = self._of[rng.integers(len(self._of))]
        number = images[rng.integers(len(images))]
        height, width = self.images[number].shape[:2]
        side = draw_side(self.settings, rng)
        if self.maps is None:
            side = min(side, height, width)
        y, x = (int(rng.integers(min(0, n - side), max(0, n - side) + 1)) for n in (height, width))
        maps = [] if self.maps is None else [cut(self.maps[number], (y, x), side)]
        light, changed = change(cut(self.images[number], (y, x), side), maps, self.settings, rng, at)
        return light, changed[0] if changed else None
