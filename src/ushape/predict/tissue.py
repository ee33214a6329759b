"""Where a slide holds tissue: Otsu's threshold on saturation at low resolution, and a border so that nothing is lost.

Glass is bright and nearly grey, stained tissue is not. What is missed here is never predicted, what is found in vain
costs time only: so everything here errs towards tissue. Pen marks and coloured dust count as tissue; black does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import ceil, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ushape.errors import DataError
from ushape.predict.slides.base import Bytes
from ushape.predict.slides.overview import coarse, in_bands
from ushape.predict.slides.view import View

if TYPE_CHECKING:
    from ushape.threads import Lanes

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

FINE = 5.0
"""µm per px at which saturation is measured: a thin piece, averaged with the glass around it, still shows.

Scanners' coarse levels of about 4 µm (0.25 times 16, a little more) are fine enough, and need no finer one decoded.
"""

COARSE = 8.0
"""µm per px of the mask; of the finer pixels in one, the most saturated counts."""

ABOVE_GLASS = (0.03, 0.05)
"""Otsu's threshold is kept within these above the saturation of glass (0 to .065, as scanners balance white). Below,
the grain of glass would be tissue, of which Otsu makes two groups where there is nothing else. Above, pale tissue
would be glass: on ten BCSS ROIs, which are tissue throughout, Otsu finds .20 to .41."""

HIGHEST = 0.10
"""No threshold is higher than this: where there is no glass, the palest tissue is taken for it."""

BRIGHT = 0.8
"""What may be glass is at least as bright as this."""

REACH = 32.0
"""µm by which the mask reaches beyond what is found."""

HOLE = 0.5
"""mm²: gaps smaller than this count as tissue (lumens, fat), also at the image's border."""

DARK = 0.1
"""A brightness below which the ratio of channels is noise; no stained section is as dark when seen at FINE."""


@dataclass(frozen=True)
class Tissue:
    """mask: bool [h, w], True where tissue may be. threshold: saturation.

    scale: px of the view per px of the mask, down and across, which differ by a little: sides are whole pixels.
    """

    mask: Bool
    scale: tuple[float, float]
    threshold: float

    @property
    def share(self) -> float:
        """Tissue's share of the slide, 0 to 1."""
        return float(self.mask.mean())

    def touches(self, top: int, left: int, height: int, width: int) -> bool:
        """Whether a region of the view may hold tissue; the parts of it that lie outside of the view do not count."""
        rows, columns = (
            slice(min(most - 1, max(0, int(start / scale))), max(0, ceil((start + length) / scale)))
            for start, length, scale, most in zip(
                (top, left), (height, width), self.scale, self.mask.shape, strict=True
            )
        )
        return bool(self.mask[rows, columns].any())

    def crop(self, top: int, left: int, height: int, width: int) -> Bool:
        """The mask at a region of the view, bool [height, width]."""
        rows, columns = (
            np.clip(((start + np.arange(length) + 0.5) / scale).astype(np.intp), 0, most - 1)
            for start, length, scale, most in zip(
                (top, left), (height, width), self.scale, self.mask.shape, strict=True
            )
        )
        return self.mask[rows][:, columns]


def find_tissue(
    view: View, how: Literal["auto", "all"] = "auto", threshold: float | None = None, lanes: Lanes | None = None
) -> Tissue:
    """The tissue of a slide. how: `all` takes everything. threshold: a saturation, 0 to 1, instead of Otsu's.

    A blank slide gives an empty mask. What cannot be decoded at low resolution counts as tissue. lanes: read by them;
    not to be called from one of them. What was seen is left in `view.glance`.
    """
    check_saturation(threshold)
    fine = coarse(view, FINE)
    pool = max(1, round(COARSE / fine.mpp))
    scale = pool * view.height / fine.height, pool * view.width / fine.width
    if how == "all":
        return Tissue(np.ones((-(-fine.height // pool), -(-fine.width // pool)), bool), scale, 0.0)
    values, glass, view.glance = _survey(fine, pool, lanes)
    if threshold is None:
        low, high = (glass + above for above in ABOVE_GLASS)
        threshold = min(HIGHEST, max(low, min(high, otsu(values))))
    found = values > threshold
    if found.any():
        found = _grown(_without_small_holes(found, HOLE * 1e6 / (pool * fine.mpp) ** 2), REACH / (pool * fine.mpp))
    if fine.level == view.level:
        view.leave_out(fine.unread)  # known already: it need not be tissue to be told of
        view.reason = view.reason or fine.reason
    else:
        for top, left, height, width in fine.broken:
            found[top // pool : -(-(top + height) // pool), left // pool : -(-(left + width) // pool)] = True
    return Tissue(found, scale, threshold)


def check_saturation(threshold: float | None) -> None:
    """DataError where a threshold is no saturation."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise DataError(f"--saturation {threshold:g}: give a saturation from 0 to 1")


def saturation(rgb: Bytes) -> Float:
    """The S of HSV of RGB uint8 [..., 3], float32 [...], 0 to 1; 0 where it is too dark to tell."""
    most, least = brightest(rgb).astype(np.float32), reduce(np.minimum, np.moveaxis(rgb, -1, 0))
    return np.where(most > DARK * 255, (most - least) / np.maximum(most, 1), np.float32(0)).astype(np.float32)


def brightest(rgb: Bytes) -> Bytes:
    """The largest channel of RGB uint8 [..., 3], uint8 [...]: by planes, ten times as fast as along the axis."""
    largest: Bytes = reduce(np.maximum, np.moveaxis(rgb, -1, 0))
    return largest


def otsu(values: Float) -> float:
    """The threshold that separates two groups of values from 0 to 1 best: the variance between them is largest.

    Otsu 1979 (10.1109/TSMC.1979.4310076). 1 where all values fall into one of 256 bins.
    """
    counts = np.histogram(values, 256, (0, 1))[0].astype(np.float64)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    moments = np.cumsum(counts * (np.arange(256) + 0.5) / 256)
    split = (below > 0) & (above > 0)
    if not split.any():
        return 1.0
    means = moments[:-1][split] / below[split], (moments[-1] - moments[:-1][split]) / above[split]
    between = np.zeros(255)
    between[split] = below[split] * above[split] * (means[0] - means[1]) ** 2
    return float(np.flatnonzero(between == between.max()).mean() + 1) / 256


def _survey(fine: View, pool: int, lanes: Lanes | None) -> tuple[Float, float, Bytes]:
    """The highest saturation of each pool x pool px, float32 [h, w]; the saturation of glass; the slide in little.

    Glass is the median of what is bright and hardly saturated; 0 where less than a hundredth is.
    """
    rows, columns = -(-fine.height // pool), -(-fine.width // pool)
    made, pale = np.zeros((rows, columns), np.float32), np.zeros(_PALE, np.int64)
    less = ceil(sqrt(fine.height * fine.width / _GLANCE))
    glance = np.empty((-(-fine.height // less), -(-fine.width // less), 3), np.uint8)
    for top, rgb in in_bands(fine, lanes, pool * less):
        values = saturation(rgb)
        steps = (values[brightest(rgb) > BRIGHT * 255] * 512).astype(np.intp)
        pale += np.bincount(steps[steps < _PALE], minlength=_PALE)
        padded = np.zeros((-(-len(values) // pool) * pool, columns * pool), np.float32)
        padded[: len(values), : fine.width] = values
        made[top // pool : top // pool + len(padded) // pool] = padded.reshape(-1, pool, columns, pool).max((1, 3))
        small = rgb if less == 1 else np.asarray(Image.fromarray(rgb).reduce(less))
        glance[top // less : top // less + len(small)] = small
    if pale.sum() < 0.01 * fine.height * fine.width:
        return made, 0.0, glance
    return made, (int(np.searchsorted(np.cumsum(pale), pale.sum() / 2)) + 0.5) / 512, glance


_GLANCE = 2**24
"""Pixels that are kept of a slide in little: enough for any thumbnail."""

_PALE = 77
"""In steps of 1/512: saturations below .15."""


def _without_small_holes(mask: Bool, pixels: float) -> Bool:
    """Gaps of fewer pixels than this are filled, whether they touch the border or not."""
    label, count = ndimage.label(~mask)
    small = np.bincount(label.ravel(), minlength=count + 1) < pixels
    small[0] = False
    return mask | small[label]


def _grown(mask: Bool, reach: float) -> Bool:
    """Everything within `reach` px of the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= reach)
