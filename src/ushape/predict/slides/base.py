"""What every reader of slides gives: levels, a pixel size, and regions of RGB."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError

Bytes = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""top, left, height, width in pixels"""

MAX_PIXELS = 2**27
"""What is decoded in one piece (a plain image, a strip of a TIFF) may hold this many pixels, 0.4 GB, not more."""


class Unreadable(DataError):
    """A region that cannot be decoded: lost, but no reason to give up the rest of the slide."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide: its size in px, how much coarser it is than level 0, and the px decoded at once."""

    width: int
    height: int
    downsample: float
    tile_width: int
    tile_height: int


class Slide(ABC):
    """A slide, open for reading. Reads are thread-safe; use as a context manager.

    levels: from the finest, which is level 0. mpp: µm per px of level 0. metadata: plain strings for provenance.
    corner: (x, y) in px of level 0 where the scanned area begins, from which QuPath counts.
    """

    path: Path
    levels: tuple[Level, ...]
    mpp: float
    metadata: dict[str, str]
    corner: tuple[int, int] = (0, 0)

    @abstractmethod
    def read(self, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        """RGB uint8 [height, width, 3] of a region that lies inside the level; what holds no scan is white.

        Unreadable where a part of it cannot be decoded, ValueError where it reaches outside.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def check(self, level: int, box: Box) -> None:
        """ValueError unless the box holds pixels and lies inside the level."""
        size = self.levels[level]
        check_inside(box, size.height, size.width)


def check_inside(box: Box, rows: int, columns: int) -> None:
    """ValueError unless the box holds pixels and lies inside rows x columns."""
    top, left, height, width = box
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise ValueError(f"region {height} x {width} at ({top}, {left}) reaches outside of {rows} x {columns}")


def on_white(rgba: Bytes) -> Bytes:
    """RGBA uint8 [H, W, 4], not premultiplied -> RGB uint8 [H, W, 3] before white: outside of scans alpha is 0."""
    alpha = rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    light = rgba[..., :3].astype(np.uint16) * alpha + np.uint16(255) * (255 - alpha.astype(np.uint16))
    return ((light + 127) // 255).astype(np.uint8)
