"""Class colours: a label map as a palette, as a PNG, and laid over an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import IGNORE, Grouping
from ushape.files import replacing

Labels = NDArray[np.uint8]


def palette(grouping: Grouping) -> NDArray[np.uint8]:
    """RGB uint8 [256, 3] of every label: class colours, white for ignored pixels, black for what no label is."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(grouping.classes)] = grouping.colours
    colours[IGNORE] = 255
    return colours


def label_image(labels: Labels, grouping: Grouping) -> Image.Image:
    """Labels uint8 [H, W] -> 8-bit palette image: pixel value = class index, ignored pixels white."""
    image = Image.fromarray(labels)
    image.putpalette(palette(grouping).tobytes())
    return image


def save_labels(path: Path, labels: Labels, grouping: Grouping) -> None:
    """Write a label map as PNG; RunError where it cannot be written."""
    with replacing(path) as temporary:
        label_image(labels, grouping).save(temporary, format="PNG")


def blend(image: NDArray[np.uint8], labels: Labels, grouping: Grouping, strength: float = 0.4) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] with class colours laid over it; ignored pixels stay as they are."""
    mixed = image * (1 - strength) + palette(grouping)[labels].astype(np.float32) * strength
    return np.where((labels == IGNORE)[..., None], image, (mixed + 0.5).astype(np.uint8))
