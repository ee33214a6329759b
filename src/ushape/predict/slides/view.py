"""A slide seen as one image of a chosen pixel size, read in parts of any shape, whatever its levels and its damage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from threading import Lock

import numpy as np
from PIL import Image

from ushape.data.rois import check_coarseness, resample_image
from ushape.errors import DataError
from ushape.predict.slides.base import MAX_PIXELS, Box, Bytes, Slide, Unreadable, check_inside
from ushape.predict.slides.image import ImageSlide
from ushape.predict.slides.resample import resample, windows

WHITE = 255
SAME = 0.01
"""A level whose pixel size is this near to the one asked for is taken as it is, as `data.rois.resample_image` does."""

_AT_ONCE = 2**24
"""Pixels of a level that are held at once while they are resampled."""


class View:
    """A slide as if it had one level of `mpp` µm per px. Reads are thread-safe.

    It reads the coarsest level that is not coarser than asked (but for 1%), and brings it to size by the mean over
    the area, or bilinearly where even level 0 is coarser. Levels of which nothing can be decoded are passed over.

    height, width: px. mpp: what a pixel really is; sizes are whole pixels, and a level within 1% is left as it is.
    to_slide: px of level 0 per px, the mean of both axes. level: which one is read. note: a line for the user, or None.
    glance: all of it in little, RGB uint8, once somebody has looked at all of it; reason: why the first broken tile is.
    """

    def __init__(self, slide: Slide, mpp: float) -> None:
        if not mpp > 0:
            raise ValueError(f"a view of {mpp} µm per px")
        full = slide.levels[0]
        height, width = (max(1, round(side * slide.mpp / mpp)) for side in (full.height, full.width))
        fitting = [0]
        for k, level in enumerate(slide.levels[1:], 1):
            coarseness = slide.mpp * level.downsample / mpp
            if abs(coarseness - 1) < SAME or (coarseness < 1 and level.height >= height and level.width >= width):
                fitting.append(k)
        self.slide, self.level, self.note = slide, *_readable(slide, fitting)
        at = slide.levels[self.level]
        as_it_is = abs(slide.mpp * at.downsample / mpp - 1) < SAME
        self.height, self.width = (at.height, at.width) if as_it_is else (height, width)
        pixels = full.height * full.width / (self.height * self.width)  # of level 0 per pixel
        self.to_slide = sqrt(pixels)
        self.mpp = slide.mpp * self.to_slide
        self.note = check_coarseness(slide.path, slide.mpp, mpp) or self.note
        self.reason: str | None = None
        self.glance: Bytes | None = None
        self._broken: set[Box] = set()  # of the level
        self._lock = Lock()
        self._rows, self._columns = windows(at.height, self.height), windows(at.width, self.width)
        self._whole: Bytes | None = None
        if isinstance(slide, ImageSlide) and self.height * self.width <= MAX_PIXELS:
            # what is in memory anyway is made exactly as for training
            same = slide.pixels.shape[:2] == (self.height, self.width)
            self._whole = slide.pixels if same else resample_image(Image.fromarray(slide.pixels), slide.mpp, mpp)

    @property
    def in_memory(self) -> bool:
        """Whether reading costs nothing, since the view was made as a whole."""
        return self._whole is not None

    @property
    def unread(self) -> list[Box]:
        """Tiles of the level (top, left, height, width) that could not be decoded so far, each once."""
        with self._lock:
            return sorted(self._broken)

    def leave_out(self, boxes: Iterable[Sequence[int]]) -> None:
        """Take tiles of the level as undecodable, as `unread` of an earlier view of this slide names them."""
        with self._lock:
            self._broken |= {(top, left, height, width) for top, left, height, width in boxes}

    @property
    def broken(self) -> list[Box]:
        """Regions of the view (top, left, height, width) that could not be decoded so far and are white, each once."""
        at = self.slide.levels[self.level]
        made = []
        for top, left, height, width in self.unread:  # in whole numbers: none may reach beyond the view
            first, start = top * self.height // at.height, left * self.width // at.width
            end, side = -(-(top + height) * self.height // at.height), -(-(left + width) * self.width // at.width)
            made.append((first, start, end - first, side - start))
        return made

    def read(self, top: int, left: int, height: int, width: int) -> Bytes:
        """RGB uint8 [height, width, 3] of a region inside the view; ValueError where it reaches outside."""
        check_inside((top, left, height, width), self.height, self.width)
        if self._whole is not None:
            return self._whole[top : top + height, left : left + width].copy()
        at = self.slide.levels[self.level]
        if (at.height, at.width) == (self.height, self.width):
            return self._mended(top, left, height, width)
        x0, x1 = self._columns.span(left, width)
        step = max(1, int(_AT_ONCE / (x1 - x0) * self.height / at.height))  # rows of the view
        bands = [
            resample(self._rows, self._columns, row, left, min(step, top + height - row), width, self._mended)
            for row in range(top, top + height, step)
        ]
        return bands[0] if len(bands) == 1 else np.concatenate(bands)

    def _mended(self, top: int, left: int, height: int, width: int) -> Bytes:
        """A region of the level; what cannot be decoded is white, by whole tiles of the file, and remembered."""
        at = self.slide.levels[self.level]
        y0, x0, y1, x1 = top // at.tile_height, left // at.tile_width, top + height, left + width
        rows, columns = -(-y1 // at.tile_height) - y0, -(-x1 // at.tile_width) - x0  # tiles
        if not self._touches_broken(top, left, height, width):
            try:
                return self.slide.read(self.level, top, left, height, width)
            except Unreadable as error:
                self.reason = self.reason or str(error)
                if rows == columns == 1:
                    self._remember(y0, x0)
        if rows == columns == 1:
            return np.full((height, width, 3), WHITE, np.uint8)
        if rows >= columns:
            middle = (y0 + rows // 2) * at.tile_height
            parts = self._mended(top, left, middle - top, width), self._mended(middle, left, y1 - middle, width)
            return np.concatenate(parts)
        middle = (x0 + columns // 2) * at.tile_width
        parts = self._mended(top, left, height, middle - left), self._mended(top, middle, height, x1 - middle)
        return np.concatenate(parts, axis=1)

    def _remember(self, row: int, column: int) -> None:
        at = self.slide.levels[self.level]
        top, left = row * at.tile_height, column * at.tile_width
        with self._lock:
            self._broken.add((top, left, min(at.tile_height, at.height - top), min(at.tile_width, at.width - left)))

    def _touches_broken(self, top: int, left: int, height: int, width: int) -> bool:
        with self._lock:
            return any(
                y < top + height and top < y + h and x < left + width and left < x + w for y, x, h, w in self._broken
            )


def _readable(slide: Slide, levels: list[int]) -> tuple[int, str | None]:
    """The last of the levels of which one of nine tiles can be decoded, and a note where it is not the last of all."""
    note, reason = None, ""
    for level in reversed(levels):
        at = slide.levels[level]
        for y, x in ((2, 2), (1, 2), (3, 2), (2, 1), (2, 3), (1, 1), (3, 3), (1, 3), (3, 1)):  # quarters of the sides
            try:
                slide.read(level, at.height * y // 4, at.width * x // 4, 1, 1)
            except Unreadable as error:
                reason = reason or str(error)
            else:
                return level, note
        note = note or f"{slide.path}: nothing of its level {level} can be decoded; a finer one is read, more slowly"
    raise DataError(f"{reason}; nor can eight other places of the slide: write it again in another compression")
