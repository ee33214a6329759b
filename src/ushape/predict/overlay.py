"""A picture of a whole slide with class colours laid over it, a legend and a scale bar."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ushape.data.classes import Grouping
from ushape.files import replacing
from ushape.predict.colours import blend
from ushape.predict.composition import composition
from ushape.predict.store import Grid

SIDE = 2000
"""px: the picture with its legend is at most this wide and high."""

NARROWEST = 420
"""px: a picture is at least this wide, so that its legend can be read; a smaller overview is not enlarged."""

Bytes = NDArray[np.uint8]


def save_overlay(
    path: Path, image: Bytes, labels: Grid, mpp: float, grouping: Grouping, strength: float = 0.45
) -> None:
    """Write a PNG: an overview RGB [h, w, 3] of the slide under the colours of its label map [H, W] at `mpp`.

    Overview and map show the same region. Each pixel has the label at its middle, so colours never mix; what is no
    tissue stays as it is. Below stand the classes with their shares of the tissue, and a bar of a round length.
    RunError where the disk is full.
    """
    shares = composition(labels, mpp, grouping)["classes"]
    entries = [
        (f"{name} {entry['share'] or 0:.1%}", colour)
        for (name, entry), colour in zip(shares.items(), grouping.colours, strict=True)
    ]
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / width, SIDE / height)
    canvas = max(NARROWEST, round(width * scale))
    places, strip, font = _arranged([text for text, _ in entries], canvas)
    scale = min(scale, (SIDE - strip) / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    shown = Image.new("RGB", (max(canvas, size[0]), size[1] + strip), "white")
    shown.paste(Image.fromarray(blend(shrunk, sampled(labels, size), grouping, strength)), (0, 0))
    draw = ImageDraw.Draw(shown)
    for (text, colour), (x, y) in zip(entries, places, strict=True):
        box = (x, size[1] + y, x + font.size, size[1] + y + font.size)
        draw.rectangle(box, fill=colour, outline=(90, 90, 90))
        draw.text((x + 1.4 * font.size, size[1] + y + font.size / 2), text, "black", font, anchor="lm")
    _bar(draw, font, (size[0], size[1] + strip), mpp * labels.shape[1] / size[0])
    with replacing(path) as temporary:
        shown.save(temporary, format="PNG")


def sampled(labels: Grid, size: tuple[int, int]) -> Bytes:
    """A label map [H, W] at (width, height): the label at the middle of each pixel, uint8 [height, width]."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for old, new in zip(labels.shape, reversed(size), strict=True)
    )
    return np.stack([labels[row : row + 1, :][0, columns] for row in rows])


def round_length(longest: float) -> float:
    """The longest length of 1, 2 or 5 times a power of ten that is not above `longest`."""
    power = 10 ** np.floor(np.log10(longest))
    return float(max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9)))


def _arranged(texts: list[str], width: int) -> tuple[list[tuple[int, int]], int, ImageFont.FreeTypeFont]:
    """Where each entry of the legend stands in a strip of this width, the height of the strip, and the font."""
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(max(11, width // 70)))
    line, gap = round(font.size * 1.7), round(font.size)
    places, x, y = [], gap, gap
    for text in texts:
        needed = round(1.4 * font.size + font.getlength(text)) + gap
        if x > gap and x + needed > width:
            x, y = gap, y + line
        places.append((x, y))
        x += needed
    return places, y + 2 * line + gap, font  # the last line is the bar's


def _bar(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, corner: tuple[int, int], micrometres: float) -> None:
    """A scale bar in the lowest line, at most a third as wide as the picture, whose pixel is so many µm wide."""
    width, bottom = corner
    length = round_length(micrometres * max(3, width / 3))
    name = f"{length / 1000:g} mm"  # the font of Pillow has no µ
    left, middle = round(font.size), bottom - round(font.size * 1.35)
    right = left + length / micrometres
    thick, tick = max(1, round(font.size / 8)), round(font.size / 3)
    draw.line([(left, middle), (right, middle)], "black", thick)
    for x in (left, right):
        draw.line([(x, middle - tick), (x, middle + tick)], "black", thick)
    draw.text((right + font.size * 0.6, middle), name, "black", font, anchor="lm")
