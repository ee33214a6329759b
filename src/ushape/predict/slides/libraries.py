"""The libraries of the extra `slides`, or an error that says how to get them."""

from __future__ import annotations

import logging
from typing import Any

from ushape.errors import DataError


def openslide_module() -> Any:
    try:
        import openslide
    except ImportError:
        raise DataError("reading slides needs OpenSlide: pip install 'ushape[slides]'") from None
    return openslide


def tifffile_module() -> Any:
    """tifffile, which is told not to write what it thinks of a file to the terminal."""
    try:
        import imagecodecs  # noqa: F401  what tifffile decodes with
        import tifffile
    except ImportError:
        raise DataError("reading TIFF needs tifffile and imagecodecs: pip install 'ushape[slides]'") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    return tifffile


def shapely_module() -> Any:
    try:
        import shapely
    except ImportError:
        raise DataError("polygons need shapely: pip install 'ushape[slides]'") from None
    return shapely
