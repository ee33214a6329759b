"""What a prediction leaves on disk: label maps with class colours, overlays, composition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import Grouping
from ushape.files import replacing
from ushape.predict.colours import Labels, save_labels


def overlay(image: NDArray[np.uint8], labels: Labels, grouping: Grouping, strength: float = 0.4) -> Image.Image:
    """RGB uint8 [H, W, 3] with class colours laid over it."""
    colours = np.array([*grouping.colours, (255, 255, 255)], np.float32)
    laid = colours[np.minimum(labels, len(grouping.classes))]
    return Image.fromarray((image * (1 - strength) + laid * strength).astype(np.uint8))


def composition(labels: Labels, mpp: float, grouping: Grouping) -> dict[str, Any]:
    """Area in mm² and share of the whole for each class; `mpp`: µm per pixel of the label map."""
    counts = np.bincount(labels.ravel(), minlength=len(grouping.classes))[: len(grouping.classes)]
    area = counts * (mpp / 1000) ** 2
    return {
        c: {"mm2": round(float(a), 6), "share": round(float(a / area.sum()), 6) if area.sum() else None}
        for c, a in zip(grouping.classes, area, strict=True)
    }


def save_prediction(path: Path, labels: Labels, size: tuple[int, int], grouping: Grouping) -> None:
    """Write a label map at the image's own (width, height), nearest neighbour."""
    image = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    save_labels(path, np.asarray(image), grouping)


def save_overlay(path: Path, image: Image.Image, labels: Labels, grouping: Grouping) -> None:
    """Write the image at the label map's size with class colours laid over it, as JPEG."""
    shrunk = np.asarray(image.resize((labels.shape[1], labels.shape[0]), Image.Resampling.BOX))
    with replacing(path) as temporary:
        overlay(shrunk, labels, grouping).save(temporary, format="JPEG", quality=90)
