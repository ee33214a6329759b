"""Slides of any format, read in parts: `open_slide`, then `View` for the pixel size that a network works at."""

from __future__ import annotations

from pathlib import Path

from ushape.errors import DataError
from ushape.predict.slides.base import MAX_PIXELS, Level, Slide, Unreadable
from ushape.predict.slides.find import IMAGES, SUFFIXES, find_slides, is_tiff, scanner, slide_name
from ushape.predict.slides.image import ImageSlide
from ushape.predict.slides.view import View

__all__ = ["MAX_PIXELS", "Level", "Slide", "Unreadable", "View", "find_slides", "open_slide", "slide_name"]


TIFF_SCANNERS = ("aperio", "leica", "philips", "trestle", "ventana")
"""Formats, in OpenSlide's words, that are TIFF as everybody writes it."""


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
    from ushape.predict.slides.openslide import CannotOpen, OpenSlideSlide
    from ushape.predict.slides.tiff import TiffSlide, check_scan

    vendor, tiff = scanner(path), is_tiff(path)
    plain = check_scan(path) if tiff and vendor in TIFF_SCANNERS else False
    if tiff and (vendor in (None, "generic-tiff") or (vendor == "aperio" and plain)):
        # the same tiles by a shorter way: OpenSlide takes seven times as long, and mixes pixels where a level's
        # downsample is no whole number
        return TiffSlide(path, mpp, max_pixels)
    if vendor is None:
        raise DataError(f"{path}: is no slide that can be read, or is damaged (known: {', '.join(SUFFIXES)})")
    try:
        return OpenSlideSlide(path, mpp)
    except CannotOpen as error:
        if not tiff:
            raise
        try:  # a compression that OpenSlide does not know
            return TiffSlide(path, mpp, max_pixels)
        except DataError:
            raise error from None
