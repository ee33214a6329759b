"""Thumbnails, label maps and error maps as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.errors import RunError
from ushape.report.results import REMEDY

U8 = NDArray[np.uint8]

IGNORE = 255
"""Label of a pixel that counts nowhere."""

PALE = 0.35
"""How much of its contrast the tissue keeps behind errors: even a grey class must stand out."""

WHITE, LINE, BLACK = (255, 255, 255), (188, 188, 188), (0, 0, 0)


def open_image(study: Path, name: str) -> Image.Image:
    """The RGB picture at `name` inside the study."""
    return _open(study, name).convert("RGB")


def open_labels(study: Path, name: str, classes: int) -> U8:
    """The label map at `name`, uint8 [h, w]: class indices or IGNORE."""
    picture = _open(study, name)
    if picture.mode not in ("L", "P"):
        raise RunError(f"{study / name} is no 8-bit label map but {picture.mode}; {REMEDY}")
    labels = np.asarray(picture, np.uint8)
    foreign = np.unique(labels[(labels >= classes) & (labels != IGNORE)])
    if foreign.size:
        raise RunError(f"{study / name} has label {foreign[0]}, but there are {classes} classes; {REMEDY}")
    return labels


def _open(study: Path, name: str) -> Image.Image:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise RunError(f"{study / 'results.json'} names a picture outside the study: {name!r}; {REMEDY}")
    try:
        with Image.open(study / name) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise RunError(f"{study / name} is missing; {REMEDY}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(f"{study / name} cannot be read ({error}); {REMEDY}") from None


def fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) scaled so that neither exceeds `side`; never enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def hatch(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Diagonal lines, bool [height, width]."""
    x, y = np.arange(size[0]), np.arange(size[1])
    return np.asarray((x[None, :] + y[:, None]) % 7 == 0)


def error_map(image: U8, truth: U8, prediction: U8, colours: Sequence[Sequence[int]]) -> U8:
    """Wrong pixels in the colour of the class predicted, over pale grey tissue.

    Image uint8 [h, w, 3], truth and prediction uint8 [h, w] -> uint8 [h, w, 3]. Where truth is IGNORE, nothing is
    wrong and the picture is white.
    """
    grey = image @ np.array([0.299, 0.587, 0.114])  # [h, w]
    out = np.repeat((255 - PALE * (255 - grey))[..., None], 3, axis=2).astype(np.uint8)  # [h, w, 3]
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = np.asarray(colours, np.uint8)
    wrong = (truth != prediction) & (truth != IGNORE)
    out[wrong] = table[prediction[wrong]]
    out[truth == IGNORE] = WHITE
    return out


def jpeg(picture: Image.Image, size: tuple[int, int]) -> str:
    """A photograph, reduced to `size`, as a data URI."""
    return _uri(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=80, subsampling=0)


def error_jpeg(errors: U8, truth: U8, size: tuple[int, int]) -> str:
    """An error map as a data URI; ignored pixels are hatched after reduction, so that the lines stay lines."""
    small = np.array(Image.fromarray(errors).resize(size, Image.Resampling.BOX))  # [h, w, 3]
    ignored = np.asarray(Image.fromarray(truth).resize(size, Image.Resampling.NEAREST)) == IGNORE
    small[ignored & hatch(size)] = LINE
    return _uri(Image.fromarray(small), "JPEG", quality=80, subsampling=0)


def label_png(labels: U8, colours: Sequence[Sequence[int]], size: tuple[int, int]) -> str:
    """A label map in the colours of its classes as a palette PNG; ignored pixels white and hatched."""
    small = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))  # [h, w]
    ignored = small == IGNORE
    small[ignored] = len(colours)
    small[ignored & hatch(size)] = len(colours) + 1
    picture = Image.fromarray(small).convert("P")
    picture.putpalette([int(v) for colour in (*colours, WHITE, LINE) for v in colour])
    return _uri(picture, "PNG", optimize=True)


def _uri(picture: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
