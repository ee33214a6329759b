"""What OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, tiled TIFF, DICOM and others."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ushape.errors import DataError
from ushape.predict.slides.base import Bytes, Level, Slide, Unreadable, on_white
from ushape.predict.slides.libraries import openslide_module
from ushape.predict.slides.sizes import Claim, choose_mpp

_TILE = 256
"""Where a format does not say what it decodes at once."""


class OpenSlideSlide(Slide):
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path, mpp: float | None) -> None:
        """DataError where OpenSlide cannot open it or no pixel size is known."""
        self._module = openslide_module()
        self.path = path
        self._handle = self._opened()
        said: dict[str, str] = dict(self._handle.properties)
        self.levels = tuple(self._level(said, k) for k in range(self._handle.level_count))
        self.mpp, source = choose_mpp(path, _claim(said), mpp)
        kept = {"vendor": "openslide.vendor", "objective_power": "openslide.objective-power"}
        self.metadata = {"reader": f"OpenSlide {self._module.__library_version__}"}
        self.metadata |= {name: said[key] for name, key in kept.items() if key in said}
        self.metadata["pixel_size_from"] = source
        self._lock = Lock()

    def read(self, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        self.check(level, (top, left, height, width))
        try:
            return self._region(self._handle, level, top, left, height, width)
        except self._module.OpenSlideError:
            # a handle that met an error refuses everything from then on, also to other threads: try with a new one
            with self._lock:
                fresh = self._opened()
                try:
                    region = self._region(fresh, level, top, left, height, width)
                except self._module.OpenSlideError as error:
                    self._handle = self._opened()
                    line = " ".join(str(error).split())[:120]
                    raise Unreadable(f"{self.path}: a tile of level {level} is damaged ({line})") from error
                self._handle = fresh
                return region

    def close(self) -> None:
        self._handle.close()

    def _region(self, handle: Any, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        down = self.levels[level].downsample
        at = round(left * down), round(top * down)
        return on_white(np.asarray(handle.read_region(at, level, (width, height))))

    def _opened(self) -> Any:
        try:
            return self._module.OpenSlide(self.path)
        except (self._module.OpenSlideError, OSError) as error:
            line = " ".join(str(error).split())[:120]
            raise DataError(f"{self.path}: cannot be opened as a slide ({line}): copy it again") from error

    def _level(self, said: dict[str, str], k: int) -> Level:
        width, height = self._handle.level_dimensions[k]
        tile = [int(said.get(f"openslide.level[{k}].tile-{side}", _TILE)) for side in ("width", "height")]
        return Level(width, height, self._handle.level_downsamples[k], *tile)


def _claim(said: dict[str, str]) -> Claim | None:
    try:
        x, y = float(said["openslide.mpp-x"]), float(said["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None
    tags = said.get("openslide.vendor") == "generic-tiff"
    return Claim(x, y, not tags, "its resolution tags" if tags else "its metadata")
