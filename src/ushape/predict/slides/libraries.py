"""The libraries of slides, or an error that says how to get those of the extra `slides`."""

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


def tifffile_module(codecs: bool = False) -> Any:
    """tifffile, which is told not to write what it thinks of a file to the terminal.

    codecs: with imagecodecs, which it needs for all but deflate.
    """
    import tifffile

    if codecs:
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            raise DataError("reading TIFF needs imagecodecs: pip install 'ushape[slides]'") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    return tifffile
