"""Plain images (PNG, JPEG): decoded once, in memory, as for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ushape.data.rois import read_image
from ushape.predict.slides.base import Bytes, Level, Slide
from ushape.predict.slides.sizes import choose_mpp


class ImageSlide(Slide):
    """An image of one level. pixels: RGB uint8 [H, W, 3]."""

    def __init__(self, path: Path, mpp: float | None, max_pixels: int) -> None:
        """DataError where it is too large, damaged, not 8-bit RGB, has transparent pixels, or no known pixel size."""
        self.path = path
        self.mpp, source = choose_mpp(path, None, mpp)
        image = read_image(path, max_pixels, "cut it, write it as a tiled TIFF, or raise --max-pixels")
        self.pixels: Bytes = np.asarray(image)
        self.levels = (Level(image.width, image.height, 1.0, image.width, image.height),)
        self.metadata = {"reader": "Pillow", "format": path.suffix[1:].lower(), "pixel_size_from": source}

    def read(self, level: int, top: int, left: int, height: int, width: int) -> Bytes:
        self.check(level, (top, left, height, width))
        return self.pixels[top : top + height, left : left + width].copy()

    def close(self) -> None:
        pass
