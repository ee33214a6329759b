"""Images as worse laboratories and scanners give them: other stain, blur, JPEG, a wrong pixel size.

A degradation is a kind and a strength, and nothing random: the same ROI always becomes the same image. It is done to
pixels at the network's pixel size, before any normalisation of stain, as what comes from a scanner would be.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ushape.data.rois import Roi, open_pixels
from ushape.data.stain import restained, scaling_matrix

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """A kind of degradation. `strengths` in the order of an axis; None among them is the place of no degradation.

    `unit`: what a strength is; `form` shows one, `none` the absence of any.
    """

    name: str
    strengths: tuple[float | None, ...]
    unit: str
    form: str
    none: str

    def show(self, strength: float | None) -> str:
        return self.none if strength is None else self.form.format(strength)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("haematoxylin", (0.5, 0.7, None, 1.4, 2.0), "times the amount of haematoxylin", "×{:g}", "×1"),
        Kind("eosin", (0.5, 0.7, None, 1.4, 2.0), "times the amount of eosin", "×{:g}", "×1"),
        Kind("blur", (None, 0.5, 1.0, 2.0, 4.0), "µm, sigma of a Gaussian", "{:g}", "0"),
        Kind("jpeg", (None, 80, 50, 30, 10), "quality of JPEG", "{:g}", "none"),
        Kind("scale", (-30, -20, -10, None, 10, 20, 30), "% too large in pixels", "{:+g}", "0"),
    )
}


@dataclass(frozen=True)
class Degradation:
    """One of `KINDS` at one of its strengths."""

    kind: str
    strength: float

    def __str__(self) -> str:
        return f"{self.kind}-{self.strength:g}"


DEGRADATIONS = tuple(Degradation(kind.name, s) for kind in KINDS.values() for s in kind.strengths if s is not None)


def degraded(roi: Roi, mpp: float, how: Degradation | None) -> Bytes:
    """The image of a ROI at `mpp` µm per pixel, degraded (None: as it is), its stain not normalised: uint8 [h, w, 3].

    With `scale` it is larger or smaller than the ROI's codes at `mpp` by that factor: the file's pixel size is taken
    for so much more than it is. All others keep the size. DataError where a file is damaged.
    """
    if how is None:
        return open_pixels(roi, mpp).image
    if how.kind == "scale":
        return open_pixels(replace(roi, mpp=roi.mpp * (1 + how.strength / 100)), mpp).image
    return _CHANGES[how.kind](np.ascontiguousarray(open_pixels(roi, mpp).image), how.strength, mpp)


def on_grid(labels: Bytes, shape: tuple[int, int]) -> Bytes:
    """Labels uint8 [h, w] of an image of a wrong size -> uint8 of the true `shape` [H, W], by nearest neighbour."""
    if labels.shape == shape:
        return labels
    return np.asarray(Image.fromarray(labels).resize(shape[::-1], Image.Resampling.NEAREST))


def stained(image: Bytes, haematoxylin: float = 1.0, eosin: float = 1.0) -> Bytes:
    """The amounts of both stains multiplied, in optical density (see `ushape.data.stain`): uint8 [H, W, 3].

    What is neither stain stays. Light below 0 and above 255 is cut, as a camera does.
    """
    return restained(image, scaling_matrix(np.array([haematoxylin, eosin, 1.0], np.float32)))


def blurred(image: Bytes, sigma: float) -> Bytes:
    """Every channel convolved with a Gaussian of `sigma` px, the image mirrored at its border: uint8 [H, W, 3]."""
    light = ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="mirror")
    made: Bytes = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return made


def compressed(image: Bytes, quality: int) -> Bytes:
    """What is left of an image after JPEG of a quality (1 to 95, colours halved in both directions)."""
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(written).convert("RGB"))


_CHANGES: dict[str, Callable[[Bytes, float, float], Bytes]] = {
    "haematoxylin": lambda image, strength, mpp: stained(image, haematoxylin=strength),
    "eosin": lambda image, strength, mpp: stained(image, eosin=strength),
    "blur": lambda image, strength, mpp: blurred(image, strength / mpp),
    "jpeg": lambda image, strength, mpp: compressed(image, round(strength)),
}
"""What changes pixels: (image, strength, µm per pixel) -> image."""
