"""Slides of any format, read in parts: `open_slide`, then `View` for the pixel size that a network works at."""

from __future__ import annotations

from pathlib import Path

from ushape.errors import DataError
from ushape.predict.slides.base import MAX_PIXELS, Level, Slide, Unreadable
from ushape.predict.slides.find import IMAGES, SUFFIXES, find_slides, slide_name
from ushape.predict.slides.image import ImageSlide
from ushape.predict.slides.view import View

__all__ = ["MAX_PIXELS", "Level", "Slide", "Unreadable", "View", "find_slides", "open_slide", "slide_name"]


def open_slide(path: Path, mpp: float | None = None, max_pixels: int = MAX_PIXELS) -> Slide:
    """Open a slide or image. mpp: µm per px where neither file nor name says it. max_pixels: see `MAX_PIXELS`.

    DataError: no such file, of no known type, damaged, not 8-bit RGB, too large to decode, no pixel size or another.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a slide: name the file in it")
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if not path.stat().st_size:
        raise DataError(f"{path}: is an empty file: copy it again")
    if path.suffix.lower() in IMAGES:
        return ImageSlide(path, mpp, max_pixels)
    from ushape.predict.slides.libraries import openslide_module
    from ushape.predict.slides.openslide import OpenSlideSlide
    from ushape.predict.slides.tiff import TiffSlide

    vendor = openslide_module().OpenSlide.detect_format(path)
    if is_tiff(path) and vendor in (None, "generic-tiff"):
        return TiffSlide(path, mpp, max_pixels)
    if vendor is None:
        raise DataError(f"{path}: is no slide that can be read, or is damaged (known: {', '.join(SUFFIXES)})")
    return OpenSlideSlide(path, mpp)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or BigTIFF of either byte order."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
