"""Crops of tissue that int8 is calibrated on: of images that the user names, or that the run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ushape.data.rois import MASK_FOLDER, image_files, image_folder, named_pixel_size
from ushape.data.stain import restained
from ushape.errors import DataError
from ushape.files import read_yaml
from ushape.predict.slides import View, find_slides, open_slide
from ushape.predict.slides.base import Bytes
from ushape.predict.strength import slide_strength
from ushape.predict.tissue import find_tissue

CROPS, SIDE = 48, 256
"""Crops that calibrate, and their side in px."""


def calibration_crops(
    folder: Path,
    mpp: float,
    normalise: str,
    given: float | None = None,
    only: Collection[str] | None = None,
    count: int = CROPS,
    seed: int = 0,
) -> list[Bytes]:
    """Crops of tissue as a network sees them: at `mpp` µm per px and with the stain that `normalise` gives.

    folder: of slides or images, also in the BCSS layout, or one file. given: pixel size of those that do not say it.
    only: names, without suffix, of those taken of a folder in the BCSS layout, None for all. As many crops from each
    slide, at random places of its tissue: RGB uint8 [SIDE, SIDE, 3], less where a slide is; with more slides than
    `count`, one from each of as many, drawn. DataError where there is no tissue.
    """
    rng = np.random.default_rng(seed)
    paths = _slides(folder, only)
    if len(paths) > count:
        paths = [paths[i] for i in sorted(rng.choice(len(paths), count, replace=False))]
    crops: list[Bytes] = []
    for i, path in enumerate(paths):
        with open_slide(path, None if named_pixel_size(path.name) else given) as slide:
            view = View(slide, mpp)
            tissue = find_tissue(view)
            rows, columns = np.nonzero(tissue.mask)
            if not len(rows):
                continue
            stain = slide_strength(view, tissue) if normalise == "stain" else None
            height, width = min(SIDE, view.height), min(SIDE, view.width)
            for at in rng.integers(len(rows), size=len(range(i, count, len(paths)))):
                top, left = (
                    int(np.clip((place + rng.random()) * scale - side / 2, 0, length - side))
                    for place, scale, side, length in zip(
                        (rows[at], columns[at]), tissue.scale, (height, width), (view.height, view.width), strict=True
                    )
                )
                crop = view.read(top, left, height, width)
                crops.append(crop if stain is None else restained(crop, stain))
    if not crops:
        raise DataError(f"{folder}: no tissue was found to calibrate int8 on: name other images")
    return crops


def training_images(run: Path) -> tuple[Path, float | None, list[str]]:
    """The folder that a run was trained on, the pixel size given for it, and the names of the images trained on.

    DataError where `run` is a file of weights, which does not say, or where the folder is gone.
    """
    remedy = "name images with --calibrate, or leave int8 out"
    if not (run / "run.yaml").exists():
        raise DataError(f"int8 needs images to calibrate on, and {run} is no run's folder that names some: {remedy}")
    plan = read_yaml(run / "run.yaml")
    folder = Path(plan["data"])
    if not folder.is_dir():
        raise DataError(f"int8 needs images to calibrate on, and those of {run} are gone ({folder}): {remedy}")
    return folder, plan["mpp"], plan["rois"]["train"]


def crops_for(run: Path, calibrate: Path | None, about: dict[str, Any], mpp: float | None = None) -> list[Bytes]:
    """The crops that int8 of a run is calibrated on: from `calibrate`, with its `mpp`, or from its training images."""
    folder, given, only = (calibrate, mpp, None) if calibrate else training_images(run)
    return calibration_crops(folder, about["mpp"], about["normalise"], given, only)


def fingerprint(crops: Sequence[Bytes]) -> str:
    """What tells sets of crops apart."""
    made = hashlib.sha256()
    for crop in crops:
        made.update(repr(crop.shape).encode() + crop.tobytes())
    return made.hexdigest()[:16]


def _slides(folder: Path, only: Collection[str] | None) -> list[Path]:
    if (folder / MASK_FOLDER).is_dir():
        return [path for name, path in image_files(image_folder(folder)).items() if only is None or name in only]
    return find_slides([folder])
