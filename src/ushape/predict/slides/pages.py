"""What a TIFF holds: its pages that are levels of one picture, their layout, and the pixel size that it claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ushape.errors import DataError
from ushape.predict.slides.base import Bytes
from ushape.predict.slides.sizes import Claim

RGB, YCBCR = 2, 6
_JPEG = (6, 7, 33007, 34892)
_AS_STORED = (1, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions of bytes (LZW, deflate, PackBits, LZMA, Zstandard), which know nothing of colours; 1 is none."""
_MICRONS = {"m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25400.0}
_PER_RESOLUTION_UNIT = {2: 25400.0, 3: 10000.0}  # µm in an inch, a centimetre


def pyramid(tiff: Any, path: Path) -> list[Any]:
    """The largest page of a TIFF and every page or SubIFD that is the same picture, smaller; largest first.

    DataError where the largest is no 8-bit RGB image.
    """
    pages = []
    for page in tiff.pages:
        pages += [page.aspage(), *(sub.aspage() for sub in page.pages or ())]
    pages = [page for page in pages if page.imagewidth and page.imagelength]
    if not pages:
        raise DataError(f"{path}: holds no image: write it again")
    first = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    check_colours(first, path)
    levels = [first]
    for page in sorted(pages, key=lambda page: -page.imagewidth):
        if page.imagewidth < levels[-1].imagewidth and _same_picture(first, page):
            levels.append(page)
    return levels


def _same_picture(first: Any, page: Any) -> bool:
    """Whether a page is a smaller level: the shape of the first to within a pixel or so, its colours, its layout.

    A page in strips beside a tiled one is a thumbnail, which scanners sharpen; 8 in the type of a page marks a picture
    of label or glass.
    """
    if page.photometric not in (RGB, YCBCR) or page.is_tiled != first.is_tiled or (page.subfiletype or 0) & 8:
        return False
    alike = all(getattr(first, name) == getattr(page, name) for name in ("samplesperpixel", "bitspersample", "dtype"))
    down = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength
    differ = abs(down[0] / down[1] - 1) * min(page.imagewidth, page.imagelength)
    return alike and min(down) > 1.2 and differ <= 1.5


def check_colours(page: Any, path: Path) -> None:
    """DataError unless a page is an 8-bit image of RGB or YCbCr."""
    bits, samples = page.bitspersample, page.samplesperpixel
    if page.photometric not in (RGB, YCBCR) or samples not in (3, 4):
        kind = {0: "grey", 1: "grey", 3: "coloured by a palette", 5: "CMYK"}.get(page.photometric, "")
        raise DataError(f"{path}: is {kind or f'of {samples} channels'}, not 8-bit RGB: convert it to RGB")
    if bits != 8 or str(page.dtype) != "uint8":
        raise DataError(f"{path}: is {bits}-bit, not 8-bit RGB: convert it to 8-bit RGB")


def to_rgb(page: Any, path: Path) -> Callable[[Bytes], Bytes] | None:
    """What makes RGB uint8 [h, w, 3 or 4] of a page's decoded samples, None where they are RGB already.

    YCbCr in JPEG is brought to RGB by its decoder. Else it is by the page's YCbCrCoefficients and ReferenceBlackWhite,
    or TIFF 6.0's defaults. DataError where its colours have fewer pixels than its light, or its codec its own idea of
    colours.
    """
    if page.photometric != YCBCR or (page.compression in _JPEG and page.planarconfig == 1):
        return None
    if page.is_subsampled or page.compression not in _AS_STORED:
        kind = "with colours of lower resolution" if page.is_subsampled else f"in compression {page.compression:d}"
        raise DataError(f"{path}: is YCbCr {kind}, not RGB: convert it to RGB")
    luma = _value(page, 529) or (299, 1000, 587, 1000, 114, 1000)
    ends = _value(page, 532) or (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
    red, green, blue = (luma[i] / luma[i + 1] for i in (0, 2, 4))
    black, white = (np.array([ends[i] / ends[i + 1] for i in (at, at + 4, at + 8)], np.float32) for at in (0, 2))
    by_blue, by_red = 2 - 2 * blue, 2 - 2 * red
    matrix = np.array(
        [[1, 0, by_red], [1, -blue * by_blue / green, -red * by_red / green], [1, by_blue, 0]], np.float32
    )
    matrix *= np.array([255, 127, 127], np.float32) / (white - black)

    def convert(samples: Bytes) -> Bytes:
        light = (samples[..., :3] - black) @ matrix.T
        return np.concatenate([np.rint(light).clip(0, 255).astype(np.uint8), samples[..., 3:]], axis=2)

    return convert


def check_whole(pages: list[Any], size: int, path: Path) -> None:
    """DataError where pixels of a page lie beyond the end of the file, which is `size` bytes long: it was cut off."""
    ends = [
        start + count
        for page in pages
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)
        if count
    ]
    beyond = sum(end > size for end in ends)
    if beyond:
        raise DataError(
            f"{path}: is truncated, {beyond} of its {len(ends)} tiles lie beyond its end (it has {size} of at least "
            f"{max(ends)} bytes): copy it again"
        )


def claimed_size(tiff: Any, page: Any) -> Claim | None:
    """µm per px of the largest page, by OME-XML, by a scanner's description, or by resolution tags; None by none."""
    if tiff.ome_metadata:
        found = _by_ome(tiff.ome_metadata, page.imagewidth)
        if found is not None:
            return found
    match = re.search(r"\bMPP\s*=\s*(\d+(?:\.\d+)?)", page.description or "")
    if match:
        return Claim(float(match[1]), float(match[1]), True, "its description")
    unit = _PER_RESOLUTION_UNIT.get(int(_value(page, 296) or 0))
    x, y = _value(page, 282), _value(page, 283)
    if unit and x and y and all(x) and all(y):
        return Claim(unit * x[1] / x[0], unit * y[1] / y[0], False, "its resolution tags")
    return None


def _value(page: Any, tag: int) -> Any:
    return page.tags[tag].value if tag in page.tags else None


def _by_ome(xml: str, width: int) -> Claim | None:
    """PhysicalSizeX and Y of the image of this width, or of the first."""
    try:
        images = [each for each in ElementTree.fromstring(xml).iter() if each.tag.rpartition("}")[2] == "Pixels"]
    except ElementTree.ParseError:
        return None
    for pixels in sorted(images, key=lambda each: each.get("SizeX") != str(width)):
        try:
            x, y = (
                float(pixels.attrib[f"PhysicalSize{axis}"]) * _MICRONS[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
                for axis in "XY"
            )
        except (KeyError, ValueError):
            return None
        return Claim(x, y, True, "its OME metadata")
    return None
