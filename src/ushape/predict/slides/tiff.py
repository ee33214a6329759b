"""TIFF and OME-TIFF through tifffile: only the tiles or strips that a region needs are read and decoded."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ushape.errors import DataError
from ushape.predict.slides.base import Bytes, Level, Slide, Unreadable, on_white
from ushape.predict.slides.frames import declared_size
from ushape.predict.slides.libraries import tifffile_module
from ushape.predict.slides.pages import check_whole, claimed_size, pyramid, to_rgb
from ushape.predict.slides.sizes import choose_mpp

CACHED = 2**28
"""Bytes of decoded tiles that are kept."""

WHITE = 255
_PREMULTIPLIED, _ALPHA = 1, 2
"""Meanings of a fourth sample (ExtraSamples); of no other is anything known that could be seen."""
_MARKED = (6, 7, 33003, 33005, 34712)
"""Compressions (JPEG, JPEG 2000) whose data end with a marker."""

Key = tuple[int, int, int]


class TiffSlide(Slide):
    """A TIFF of 8-bit RGB or YCbCr, tiled or in strips, with or without a pyramid of SubIFDs or further pages."""

    def __init__(self, path: Path, mpp: float | None, max_pixels: int) -> None:
        """DataError: damaged, truncated, not 8-bit RGB, no known pixel size, or decodable only in too large a piece."""
        tifffile = tifffile_module(codecs=True)
        self.path = path
        self._cache, self._lock, self._reading = _Recent(CACHED), Lock(), Lock()
        try:
            self._tiff = tifffile.TiffFile(path)
        except Exception as error:  # a header can be wrong in as many ways as there are bytes
            raise DataError(f"{path}: cannot be read as TIFF ({_line(error)}): copy or write it again") from error
        try:
            self._pages = pyramid(self._tiff, path)
            check_whole(self._pages, path.stat().st_size, path)
            self.mpp, source = choose_mpp(path, claimed_size(self._tiff, self._pages[0]), mpp)
            self.levels = tuple(_level(self._pages[0], page) for page in self._pages)
            for level in self.levels:
                if level.tile_width * level.tile_height > max_pixels:
                    raise DataError(
                        f"{path}: must be decoded in pieces of {level.tile_width} x {level.tile_height} px, over the "
                        f"limit of {max_pixels} pixels: write it tiled, or raise --max-pixels"
                    )
            self._decoders = [page.decode for page in self._pages]
            self._to_rgb = [to_rgb(page, path) for page in self._pages]
        except DataError:
            self._tiff.close()
            raise
        except Exception as error:  # likewise
            self._tiff.close()
            raise DataError(f"{path}: its header is damaged ({_line(error)}): copy or write it again") from error
        first = self._pages[0]
        power = re.search(r"\bAppMag\s*=\s*(\d+)", first.description or "")
        self.metadata = {
            "reader": f"tifffile {tifffile.__version__}",
            "format": "OME-TIFF" if self._tiff.is_ome else "SVS" if self._tiff.is_svs else "TIFF",
            **({"objective_power": power[1]} if power else {}),
            "compression": str(getattr(first.compression, "name", first.compression)),
            "pixel_size_from": source,
        }

    def read(self, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        self.check(level, (top, left, height, width))
        at, page = self.levels[level], self._pages[level]
        out = np.empty((height, width, page.samplesperpixel), np.uint8)
        for row in range(top // at.tile_height, -(-(top + height) // at.tile_height)):
            for column in range(left // at.tile_width, -(-(left + width) // at.tile_width)):
                tile = self._tile(level, row, column)
                y, x = row * at.tile_height, column * at.tile_width
                y0, x0 = max(top, y), max(left, x)
                y1, x1 = min(top + height, y + len(tile)), min(left + width, x + tile.shape[1])
                out[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        if page.samplesperpixel == 3:
            return out
        meaning = page.extrasamples[0] if page.extrasamples else 0
        if meaning == _PREMULTIPLIED:
            return (out[..., :3] + np.minimum(255 - out[..., 3:], 255 - out[..., :3])).astype(np.uint8)
        return on_white(out) if meaning == _ALPHA else np.ascontiguousarray(out[..., :3])

    def close(self) -> None:
        self._tiff.close()

    def _tile(self, level: int, row: int, column: int) -> Bytes:
        """A tile or strip, uint8 [h, w, channels], cut to the level; Unreadable where it cannot be decoded.

        DataError where the disk, the network or the memory fails: the tile may be as good as ever.
        """
        key = level, row, column
        with self._lock:
            found = self._cache.get(key)
        if found is None:
            found = self._decoded(level, row, column)
            with self._lock:
                self._cache.put(key, found)
        return found

    def _decoded(self, level: int, row: int, column: int) -> Bytes:
        at, page = self.levels[level], self._pages[level]
        columns, rows = -(-at.width // at.tile_width), -(-at.height // at.tile_height)
        height, width = min(at.tile_height, at.height - row * at.tile_height), at.tile_width
        width = min(width, at.width - column * at.tile_width)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        parts, scanned = [], True
        where = f"the tile at row {row}, column {column}, level {level}"
        for plane in range(planes):
            index = (plane * rows + row) * columns + column
            try:
                data = self._bytes(page, index)
                _check_declared(data or b"", at)
                part = self._decoders[level](data, index, **_tables(page))[0]
                if part is not None and part[0, :height, :width].shape[:2] != (height, width):
                    raise ValueError(f"it decodes to {part.shape[2]} x {part.shape[1]} px")
            except OSError as error:  # no codec says this of damaged bytes
                raise DataError(
                    f"{self.path}: {where} cannot be read ({error.strerror or error}): repeat the command once the "
                    "file can be read"
                ) from error
            except MemoryError as error:
                raise DataError(
                    f"{self.path}: there is no memory to decode {where}: repeat the command with fewer --jobs"
                ) from error
            except Exception as error:  # whatever a codec says of damaged bytes
                raise Unreadable(f"{self.path}: {where} is damaged ({_line(error)})") from error
            if part is None:  # a sparse file: never scanned
                scanned = False
                part = np.full((1, height, width, page.samplesperpixel // planes), WHITE, np.uint8)
            parts.append(part[0, :height, :width])
        tile: Bytes = parts[0] if planes == 1 else np.concatenate(parts, axis=2)
        if scanned and (convert := self._to_rgb[level]) is not None:
            return convert(tile)
        return np.ascontiguousarray(tile)

    def _bytes(self, page: Any, index: int) -> bytes | None:
        start, count = page.dataoffsets[index], page.databytecounts[index]
        if not count or not start:
            return None
        with self._reading:
            file = self._tiff.filehandle
            file.seek(start)
            data: bytes = file.read(count)
        if len(data) < count:
            raise ValueError("the file ends within it")
        if page.compression in _MARKED and data.endswith(bytes(16)) and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ValueError("it ends in zeros")  # which decoders take for grey
        return data


def check_scan(path: Path) -> bool:
    """Whether a scanner's TIFF holds nothing that this reader cannot decode: tiles as JPEG, LZW, deflated or as such.

    DataError where it is truncated or not 8-bit RGB, which OpenSlide does not tell.
    """
    try:
        with tifffile_module(codecs=True).TiffFile(path) as tiff:
            pages = pyramid(tiff, path)
            check_whole(pages, path.stat().st_size, path)
            return all(page.compression in (1, 5, 7, 8, 32946) for page in pages)
    except DataError:
        raise
    except Exception:  # what only OpenSlide understands is left to it
        return False


class _Recent:
    """Tiles used last, up to a number of bytes. The caller locks."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._tiles: OrderedDict[Key, Bytes] = OrderedDict()

    def get(self, key: Key) -> Bytes | None:
        if key in self._tiles:
            self._tiles.move_to_end(key)
        return self._tiles.get(key)

    def put(self, key: Key, tile: Bytes) -> None:
        if key in self._tiles or tile.nbytes > self._limit:
            return
        self._tiles[key] = tile
        self._held += tile.nbytes
        while self._held > self._limit:
            self._held -= self._tiles.popitem(last=False)[1].nbytes


def _level(first: Any, page: Any) -> Level:
    width, height = page.imagewidth, page.imagelength
    down = (first.imagewidth / width + first.imagelength / height) / 2
    if page.is_tiled:
        return Level(width, height, down, page.tilewidth, page.tilelength)
    return Level(width, height, down, width, min(page.rowsperstrip, height))


def _check_declared(data: bytes, level: Level) -> None:
    """ValueError where a tile claims to be far larger than it can be."""
    declared = declared_size(data)
    if declared and declared[0] * declared[1] > 4 * level.tile_width * level.tile_height:
        raise ValueError(f"it claims to hold {declared[0]} x {declared[1]} px")


def _tables(page: Any) -> dict[str, Any]:
    return {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
