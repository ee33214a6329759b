"""Slides of random colours, written as every kind of file that can be written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]
Damage = Callable[..., Path]
APERIO = "Aperio Image Library v11.2.1\n{w}x{h} [0,0 {w}x{h}] (64x64) |AppMag = 40|MPP = 0.25"


@pytest.fixture(scope="session")
def picture() -> Picture:
    """picture(height, width, seed=0): smooth random colours, which JPEG keeps, with no two rows or columns alike."""

    def make(height: int, width: int, seed: int = 0) -> Bytes:
        coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def write_tiff(tmp_path: Path) -> WriteTiff:
    """write_tiff(name, levels, subifds=False, ...): levels as further pages or as SubIFDs; options are tifffile's."""

    def write(name: str, levels: Sequence[NDArray[Any]], subifds: bool = False, **options: Any) -> Path:
        kept: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate", "metadata": None}
        kept |= options
        if name.endswith(".svs"):
            kept["description"] = APERIO.format(h=levels[0].shape[0], w=levels[0].shape[1])
        with tifffile.TiffWriter(tmp_path / name, ome=".ome." in name) as tiff:
            for k, level in enumerate(levels):
                first = {"subifds": len(levels) - 1} if subifds and not k else {}
                smaller = {} if k == 0 or name.endswith(".svs") else {"subfiletype": 1}
                tiff.write(level, **kept | first | smaller | ({"metadata": None} if k else {}))
        return tmp_path / name

    return write


@pytest.fixture
def damage() -> Damage:
    """damage(path, index, level=0): overwrite the bytes of one tile (or strip) with zeros; `keep` of them stay."""

    def go(path: Path, index: int | None = None, level: int = 0, keep: float = 0.0) -> Path:
        with tifffile.TiffFile(path) as tiff:
            page = [each for page in tiff.pages for each in (page, *(page.pages or ()))][level].aspage()
            places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        data = bytearray(path.read_bytes())
        for start, count in places if index is None else [places[index]]:
            kept = int(count * keep)
            data[start + kept : start + count] = bytes(count - kept)
        path.write_bytes(data)
        return path

    return go


@pytest.fixture(scope="session")
def shrunk() -> Callable[..., Bytes]:
    """shrunk(image, factor): the mean over factor x factor px, rows and columns that are left over dropped."""

    def go(image: Bytes, factor: int) -> Bytes:
        size = image.shape[1] // factor, image.shape[0] // factor
        box = (0, 0, size[0] * factor, size[1] * factor)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX, box=box))

    return go
