"""What is known of a slide so far, on disk: a label map without compression, and which parts of it are done.

Everything is read and written through the file descriptor. Mapped pages would count as this process's memory, and a
mapped write on a full disk ends the process; here the room is taken before the first tile is computed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.errors import RunError
from ushape.files import cannot_write

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
Cut = slice | tuple[slice, ...]


class Grid(Protocol):
    """A label map uint8 [H, W]: an array, or a file that is read where slices ask for it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, cut: Any, /) -> Any: ...


class Raw:
    """A file of uint8 [H, W], row after row. Indexed by slices of step 1, it reads just those: `raw[a:b, c:d]`.

    is_new: it was made now, as there was none of this size.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, height: int, width: int, fill: int = 0) -> None:
        """Open the file, or make it full of `fill`; RunError where the disk has no room for it."""
        self.path, self.shape = path, (height, width)
        try:
            self.is_new = not path.exists() or path.stat().st_size != height * width
            if self.is_new:
                _make(path, height, width, fill)
            self._file = os.open(path, os.O_RDWR)
        except OSError as error:
            raise RunError(cannot_write(path, error)) from error

    def __getitem__(self, cut: Cut) -> Bytes:
        rows, columns = (*cut, slice(None))[:2] if isinstance(cut, tuple) else (cut, slice(None))
        top, bottom, step = rows.indices(self.shape[0])
        left, right, other = columns.indices(self.shape[1])
        if (step, other) != (1, 1):
            raise IndexError("a file is read in steps of 1")
        height, width = max(0, bottom - top), max(0, right - left)
        out = np.empty((height, width), np.uint8)
        if not out.size:
            return out
        if width == self.shape[1]:
            _read(self._file, out, top * width)
        else:
            for row in range(height):
                _read(self._file, out[row], (top + row) * self.shape[1] + left)
        return out

    def write(self, top: int, left: int, block: Bytes) -> None:
        """Put a block [h, w] at its place; ValueError where it reaches outside, RunError where the disk refuses."""
        bottom, right = top + block.shape[0], left + block.shape[1]
        if not (0 <= top <= bottom <= self.shape[0] and 0 <= left <= right <= self.shape[1]):
            raise ValueError(f"({top}, {left}) to ({bottom}, {right}) reaches outside {self.shape}")
        try:
            for row, line in enumerate(np.ascontiguousarray(block)):
                written = os.pwrite(self._file, line.data, (top + row) * self.shape[1] + left)
                if written != line.nbytes:
                    raise OSError(28, os.strerror(28))
        except OSError as error:
            raise RunError(cannot_write(self.path, error)) from error

    def flush(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise RunError(cannot_write(self.path, error)) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Stack:
    """Files of one size as uint8 [C, H, W]: `stack[c]` is one of them, `stack[c, a:b, x:y]` a part of it."""

    dtype = np.dtype(np.uint8)

    def __init__(self, layers: list[Raw]) -> None:
        self.layers = layers
        self.shape = (len(layers), *layers[0].shape)

    def __getitem__(self, cut: Any) -> Any:
        if isinstance(cut, tuple):
            return self.layers[cut[0]][cut[1:]]
        return self.layers[cut]


class Cells:
    """Files of float32 [planes, height, width]: what tiles tell of their cells (see `ushape.predict.guided`)."""

    def __init__(self, folder: Path, planes: int, height: int, width: int) -> None:
        self.layers = [Raw(folder / f"cells{i}.raw", height, 4 * width) for i in range(planes)]
        self.shape = (height, width)

    def write(self, top: int, left: int, block: Float) -> None:
        """Put a block [planes, h, w] at its place."""
        for layer, plane in zip(self.layers, block, strict=True):
            layer.write(top, 4 * left, np.ascontiguousarray(plane, np.float32).view(np.uint8))

    def read(self, top: int, left: int, bottom: int, right: int) -> Float:
        """The block [planes, bottom - top, right - left] that begins at (top, left)."""
        return np.stack([layer[top:bottom, 4 * left : 4 * right].view(np.float32) for layer in self.layers])


class Store:
    """A folder with the label map of a slide [height, width], its probabilities where wanted, and what is done.

    `done`: one flag for each of `units` parts, which any order may finish. A flag is written after what it stands for
    has reached the disk, so that a machine that fails loses some seconds and never leaves a part that only seems done.
    """

    def __init__(
        self,
        folder: Path,
        height: int,
        width: int,
        units: int,
        classes: int = 0,
        cells: tuple[int, int, int] | None = None,
        every: float = 2.0,
    ) -> None:
        """classes: layers of probabilities. cells: planes, height and width of `Cells`, where there are some."""
        folder.mkdir(parents=True, exist_ok=True)
        self.labels = Raw(folder / "labels.raw", height, width, IGNORE)
        self.probabilities = Stack(layers) if (layers := _layers(folder, height, width, classes)) else None
        self.cells = Cells(folder, *cells) if cells else None
        self._flags = Raw(folder / "done.raw", 1, units)
        if any(file.is_new for file in self._files()):  # then nothing is done, whatever was
            self._flags.write(0, 0, np.zeros((1, units), np.uint8))
        self.done = self._flags[:].ravel().astype(bool)
        self._new: list[int] = []
        self._every, self._flushed = every, time.monotonic()

    def write(self, top: int, left: int, labels: Bytes, probabilities: Bytes | None = None) -> None:
        """Labels [h, w] and, where the store has them, probabilities [C, h, w] in 1/255 of a part that begins there."""
        self.labels.write(top, left, labels)
        if self.probabilities is not None and probabilities is not None:
            for layer, block in zip(self.probabilities.layers, probabilities, strict=True):
                layer.write(top, left, block)

    def erase(self, top: int, left: int, height: int, width: int) -> None:
        """Make a part nothing at all: IGNORE, of no probability."""
        count = 0 if self.probabilities is None else len(self.probabilities.layers)
        nothing = np.zeros((count, height, width), np.uint8)
        self.write(top, left, np.full((height, width), IGNORE, np.uint8), nothing)

    def mark(self, unit: int) -> None:
        """This part is written: remember so, on disk within some seconds."""
        self.done[unit] = True
        self._new.append(unit)
        if time.monotonic() - self._flushed > self._every:
            self.flush()

    def flush(self) -> None:
        for file in self._files():
            file.flush()
        for unit in self._new:
            self._flags.write(0, unit, np.ones((1, 1), np.uint8))
        self._flags.flush()
        self._new, self._flushed = [], time.monotonic()

    def close(self) -> None:
        for file in (*self._files(), self._flags):
            file.close()

    def _files(self) -> list[Raw]:
        return [self.labels, *(each for stack in (self.probabilities, self.cells) if stack for each in stack.layers)]


def _layers(folder: Path, height: int, width: int, classes: int) -> list[Raw]:
    return [Raw(folder / f"probability{i}.raw", height, width) for i in range(classes)]


def _make(path: Path, height: int, width: int, fill: int) -> None:
    """Write the file in full: a sparse one would find the disk full in the middle of the work."""
    part = path.with_suffix(".part")
    try:
        band = np.full(max(1, min(height, 2**24 // width)) * width, fill, np.uint8)
        with part.open("wb") as file:
            left = height * width
            while left:
                left -= file.write(band[:left].data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _read(file: int, out: Bytes, offset: int) -> None:
    room, got = out.data.cast("B"), 0
    while got < out.nbytes:  # one call moves at most 2 GiB
        more = os.preadv(file, [room[got:]], offset + got)
        if more == 0:
            raise RunError("a file of a prediction has been cut while it was read: start the same command again")
        got += more
