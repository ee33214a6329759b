"""What OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, DICOM and others."""

from __future__ import annotations

from itertools import product
from math import ceil, floor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ushape.errors import DataError
from ushape.predict.slides.base import Box, Bytes, Level, Slide, Unreadable, on_white
from ushape.predict.slides.libraries import openslide_module
from ushape.predict.slides.sizes import Claim, choose_mpp

CACHED = 2**27
"""Bytes of decoded tiles that OpenSlide keeps."""

_TILE = 256
"""Where a format does not say what it decodes at once."""


class CannotOpen(DataError):
    """OpenSlide knows the format, but not this file."""


class OpenSlideSlide(Slide):
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        """CannotOpen where OpenSlide cannot open it, DataError where no pixel size is known."""
        self._module = openslide_module()
        self._cache = self._module.OpenSlideCache(CACHED)
        self.path = path
        self._handle = self._opened()
        said: dict[str, str] = dict(self._handle.properties)
        self.levels = tuple(self._level(said, k) for k in range(self._handle.level_count))
        self.mpp, source = choose_mpp(path, _claim(said), mpp)
        kept = {"vendor": "openslide.vendor", "objective_power": "openslide.objective-power"}
        self.metadata = {"reader": f"OpenSlide {self._module.__library_version__}"}
        self.metadata |= {name: said[key] for name, key in kept.items() if key in said}
        self.metadata["pixel_size_from"] = source
        x, y = (int(said.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        self.corner = x, y
        self._lock = Lock()

    def read(self, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        box = top, left, height, width
        self.check(level, box)
        at = self.levels[level]
        if at.downsample == round(at.downsample):
            return self._piece(level, box)
        # OpenSlide wants whole pixels of level 0. Where these are no whole pixels of the level, it mixes neighbours,
        # and how depends on the corner. Whole tiles, each from the same corner always, agree however they are read.
        out = np.empty((height, width, 3), np.uint8)
        for y in range(top - top % at.tile_height, top + height, at.tile_height):
            for x in range(left - left % at.tile_width, left + width, at.tile_width):
                tile = self._piece(level, (y, x, min(at.tile_height, at.height - y), min(at.tile_width, at.width - x)))
                y0, x0 = max(y, top), max(x, left)
                y1, x1 = min(y + len(tile), top + height), min(x + tile.shape[1], left + width)
                out[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def close(self) -> None:
        self._handle.close()

    def _piece(self, level: int, box: Box) -> Bytes:
        corners = self._corners(level, box)
        try:
            return self._region(self._handle, level, corners[0], box)
        except self._module.OpenSlideError:
            with self._lock:
                return self._anew(level, corners, box)

    def _anew(self, level: int, corners: list[tuple[int, int]], box: Box) -> Bytes:
        """With new handles: one that met an error refuses everything from then on, to other threads as well.

        From several corners: a mix of pixels reaches into a neighbour, and that may be the tile which is damaged.
        """
        failed = ""
        for corner in corners:
            fresh = self._opened()
            try:
                region = self._region(fresh, level, corner, box)
            except self._module.OpenSlideError as error:
                failed = failed or " ".join(str(error).split())[:120]
            else:
                self._handle = fresh
                return region
        self._handle = self._opened()
        raise Unreadable(f"{self.path}: a tile of level {level} is damaged ({failed})")

    def _corners(self, level: int, box: Box) -> list[tuple[int, int]]:
        """(x, y) of a region in px of level 0, the best first."""
        at = self.levels[level]
        choices = []
        for start, length, side in ((box[1], box[3], at.width), (box[0], box[2], at.height)):
            exact = start * at.downsample
            near = floor(exact) if start + length == side else round(exact)  # not beyond the edge
            choices.append([near, *({floor(exact), ceil(exact)} - {near})])
        return [(x, y) for x, y in product(*choices)]

    def _region(self, handle: Any, level: int, corner: tuple[int, int], box: Box) -> Bytes:
        image = handle.read_region(corner, level, (box[3], box[2]))
        rgba = np.asarray(image)
        return np.asarray(image.convert("RGB")) if rgba[..., 3].min() == 255 else on_white(rgba)  # the same, sooner

    def _opened(self) -> Any:
        try:
            handle = self._module.OpenSlide(self.path)
        except (self._module.OpenSlideError, OSError) as error:
            line = " ".join(str(error).split())[:120]
            raise CannotOpen(f"{self.path}: cannot be opened as a slide ({line}): copy it again") from error
        handle.set_cache(self._cache)
        return handle

    def _level(self, said: dict[str, str], k: int) -> Level:
        width, height = self._handle.level_dimensions[k]
        tile = [int(said.get(f"openslide.level[{k}].tile-{side}", _TILE)) for side in ("width", "height")]
        return Level(width, height, self._handle.level_downsamples[k], *tile)


def _claim(said: dict[str, str]) -> Claim | None:
    try:
        return Claim(float(said["openslide.mpp-x"]), float(said["openslide.mpp-y"]), True, "its metadata")
    except (KeyError, ValueError):
        return None
