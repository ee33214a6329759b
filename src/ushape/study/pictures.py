"""The pictures that a study's report shows: image, truth and predictions of every ROI, at one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import Grouping
from ushape.data.rois import Roi, open_pixels
from ushape.errors import RunError
from ushape.files import replacing
from ushape.predict.colours import save_labels
from ushape.study.design import Study

WIDEST = 1024
"""Pictures are at most this many pixels wide and high."""


def draw_pictures(folder: Path, study: Study, roi: Roi, fold: int, groups: Grouping) -> None:
    """Image, truth and every arm's first-seed prediction of a ROI, at one size, into pictures/."""
    pixels = open_pixels(roi, study.recipe.mpp)
    height, width = pixels.codes.shape
    scale = min(1.0, WIDEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pictures = folder / "pictures"
    with replacing(pictures / f"{roi.name}-image.jpg") as temporary:
        Image.fromarray(np.asarray(pixels.image)).resize(size, Image.Resampling.BOX).save(temporary, "JPEG", quality=88)
    save_labels(pictures / f"{roi.name}-truth.png", _shrunk(groups.labels(pixels.codes), size), groups)
    for arm in study.arms:
        run = folder / study.run_folder(arm, fold, 0)
        try:
            with Image.open(run / "predictions" / f"{roi.name}.png") as image:
                labels = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise RunError(
                f"{run / 'predictions' / f'{roi.name}.png'}: is missing or damaged ({error}): remove {run}, then "
                "`ushape study resume`"
            ) from error
        save_labels(pictures / f"{roi.name}-{arm}.png", _shrunk(labels, size), groups)


def _shrunk(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
