"""A label map that `save_label_pyramid` wrote, read again: level 0, in the rows and columns that are asked for."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.predict.pyramid import ABOUT, CLASSES, TILE
from ushape.predict.slides.libraries import tifffile_module

Bytes = NDArray[np.uint8]


class LabelFile:
    """An open label map. Sliced as `file[a:b, c:d]` it decodes the tiles there and gives uint8. A context manager.

    shape: (height, width). mpp: µm per px. classes: name of each label. about: what else was written, as strings.
    DataError, when opened or when sliced, where the file is no label map, or truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        tifffile = tifffile_module()
        try:
            self._tiff = tifffile.TiffFile(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except Exception as error:  # a header can be wrong in as many ways as there are tags
            raise self._damaged(error) from error
        try:
            page = self._tiff.pages[0]
            self.shape: tuple[int, int] = (page.imagelength, page.imagewidth)
            notes, pixels = _described(self._tiff.ome_metadata)
            self.classes = tuple(notes[CLASSES][str(i)] for i in range(len(notes[CLASSES])))
            self.mpp, self.about = float(pixels["PhysicalSizeX"]), notes[ABOUT]
            if not (page.is_tiled and page.tile == (TILE, TILE) and page.dtype == np.uint8 and len(page.shape) == 2):
                raise KeyError("tiles")
            self._decode, self._places = page.decode, list(zip(page.dataoffsets, page.databytecounts, strict=True))
        except (KeyError, TypeError, ElementTree.ParseError):
            self._tiff.close()
            raise DataError(
                f"{path}: is no label map of ushape, or truncated or damaged: remove {path.parent}, then predict again"
            ) from None
        except Exception as error:
            self._tiff.close()
            raise self._damaged(error) from error

    def __getitem__(self, cut: slice | tuple[slice, ...]) -> Bytes:
        rows, columns = (*cut, slice(None))[:2] if isinstance(cut, tuple) else (cut, slice(None))
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        out = np.empty((max(0, bottom - top), max(0, right - left)), np.uint8)
        for row in range(top // TILE, -(-bottom // TILE)):
            for column in range(left // TILE, -(-right // TILE)):
                tile, y, x = self._tile(row, column), row * TILE, column * TILE
                y0, y1, x0, x1 = max(top, y), min(bottom, y + TILE), max(left, x), min(right, x + TILE)
                out[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def close(self) -> None:
        self._tiff.close()

    def __enter__(self) -> LabelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tile(self, row: int, column: int) -> Bytes:
        index = row * -(-self.shape[1] // TILE) + column
        try:
            start, length = self._places[index]
            self._tiff.filehandle.seek(start)
            data = self._tiff.filehandle.read(length)
            if not length or len(data) < length:
                raise ValueError("it ends too early")
            tile: Bytes = self._decode(data, index)[0][0, :, :, 0]
        except Exception as error:  # whatever a codec says of damaged bytes
            raise self._damaged(error) from error
        return tile

    def _damaged(self, error: Exception) -> DataError:
        said = " ".join(str(error).split())
        return DataError(
            f"{self.path}: is truncated or damaged ({said}): remove its folder and predict the slide again"
        )


def _described(xml: str | None) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Annotations of an OME-XML by namespace, and the attributes of its pixels; TypeError where there is none."""
    if xml is None:
        raise TypeError
    root: Any = ElementTree.fromstring(xml)
    notes = {
        note.get("Namespace", ""): {pair.get("K", ""): pair.text or "" for pair in note.iterfind(".//{*}M")}
        for note in root.iterfind(".//{*}MapAnnotation")
    }
    return notes, root.find(".//{*}Pixels").attrib
