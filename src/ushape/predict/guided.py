"""Predicted probabilities, made to follow the tissue: a guided filter whose guide is what the stains show.

Networks speckle, masks are regions drawn by hand. In each window the probabilities are fitted, by least squares with a
ridge, as a linear function of three quantities of the image: the amount of haematoxylin, how much that varies within
a nucleus or two (its standard deviation), and the amount of eosin. The fits of all windows that hold a place are
averaged. So where the stains change, a border stays or becomes sharp, and where they do not, speckles go.

He, Sun and Tang 2013, 10.1109/TPAMI.2012.213: equations 14, 19 and 20, a guide of three channels. Here it is computed
on cells of 4 x 4 px, as in He and Sun 2015 (arXiv:1505.00996), but that the result is enlarged, not the coefficients.
Of a slide, tiles give their cells one by one, and the whole is filtered at the end, part by part.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from ushape.data.stain import amounts, to_density
from ushape.predict.tiling import CELL

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
Double = NDArray[np.float64]
Bool = NDArray[np.bool_]

GUIDES = 3
"""Maps that `cells` adds to those of the classes."""

FINE = 6.0
"""px of the Gaussian over which the guide's means and deviations are taken: about the radius of a nucleus."""

RIDGE = 0.02
"""Variations of the guide (optical density) far below this are taken for noise: the square root of He's epsilon."""

TINY = 1e-6
"""Stands for no cell in a window: far below the share of one in the largest."""

_SPREAD = math.sqrt(FINE**2 - (CELL**2 - 1) / 12) / CELL  # in cells, whose means do a part of it
_TAPS = math.ceil(3 * _SPREAD)


def guided(probabilities: Float, image: Bytes, radius: int) -> Float:
    """Probabilities filtered in windows of 2 `radius` + CELL px a side, mirrored at the borders; 0 for none.

    float32 [classes, H, W], summing to 1 over the classes; RGB uint8 [H, W, 3] -> the same as probabilities. radius:
    in px, a multiple of CELL.
    """
    if radius == 0:
        return probabilities
    return enlarged(filtered(cells(probabilities, image), radius), *image.shape[:2])


def cells(probabilities: Float, image: Bytes, stain: Float | None = None) -> Float:
    """What the filter needs to know of a tile: means over cells, float32 [classes + GUIDES, cells, cells].

    Of probabilities float32 [classes, H, W], of the amounts of haematoxylin, their squares and those of eosin in RGB
    uint8 [H, W, 3]; cells at the border are means of what is there. stain: a matrix in optical density, float32 [3, 3],
    that is applied to the image first.
    """
    h, e = np.moveaxis(amounts(to_density(image), stain), -1, 0)
    maps = torch.from_numpy(np.stack([*probabilities, h, h * h, e]))
    made: Float = F.avg_pool2d(maps, CELL, ceil_mode=True, count_include_pad=False).numpy()
    return made


def filtered(told: Float, radius: int, valid: Bool | None = None) -> Float:
    """What `cells` gives, of a whole image or of a part -> filtered probabilities of the cells, [classes, h, w].

    Mirrored at the borders; in a part, what is `reach(radius)` cells from its border is as in the whole. valid: bool
    [h, w], cells that count; what others hold changes nothing.
    """
    n = np.ones(told.shape[1:]) if valid is None else valid.astype(np.float64)
    told = told if valid is None else np.where(valid, told, np.float32(0))
    h, squared, e = _fine(told[-GUIDES:].astype(np.float64)) / np.maximum(_fine(n), TINY)
    guide = np.stack([h, np.sqrt(np.maximum(squared - h * h, 0)), e])
    return _fitted(told[:-GUIDES].astype(np.float64), guide * n, n, radius // CELL)


def reach(radius: int) -> int:
    """How many cells away what `cells` gives still counts for enlarged probabilities."""
    return 2 * (radius // CELL) + _TAPS + 1


def enlarged(made: Float, height: int, width: int) -> Float:
    """Filtered probabilities of cells -> of pixels [classes, height, width]: linear between, 0 to 1, summing to 1."""
    fine = F.interpolate(torch.from_numpy(made)[None], scale_factor=CELL, mode="bilinear", align_corners=False)
    positive = fine[0, :, :height, :width].clamp_(min=0)  # a linear fit may leave 0 to 1
    result: Float = positive.div_(positive.sum(0).clamp_(min=TINY)).numpy()
    return result


def _fine(maps: Double) -> Double:
    made: Double = ndimage.gaussian_filter(maps, _SPREAD, mode="mirror", radius=_TAPS, axes=(-2, -1))
    return made


def _fitted(p: Double, g: Double, n: Double, radius: int) -> Float:
    """p [C, h, w] fitted to a guide g [3, h, w] in windows of 2 `radius` + 1 cells, of which `n` [h, w] count.

    p and g are 0 where n is. float32 [C, h, w].
    """

    def total(x: Double) -> Double:
        made: Double = ndimage.uniform_filter(x, 2 * radius + 1, mode="mirror", axes=(-2, -1))
        return made

    weight = total(n)
    some = np.maximum(weight, TINY)
    g_mean, p_mean = total(g) / some, total(p) / some  # [3, h, w], [C, h, w]
    covariance = np.empty((3, 3, *n.shape))
    for i in range(3):
        for j in range(i, 3):
            covariance[i, j] = covariance[j, i] = total(g[i] * g[j]) / some - g_mean[i] * g_mean[j]
        covariance[i, i] += RIDGE**2
    shared = np.stack([total(p * g[i]) / some - p_mean * g_mean[i] for i in range(3)])  # [3, C, h, w]
    slopes = np.einsum("ijhw,jchw->ichw", _inverse(covariance), shared)
    detail = -total(np.einsum("ichw,ihw->chw", slopes, g_mean) * weight)  # windows count by how much of them does
    for i in range(3):
        detail += total(slopes[i] * weight) * g[i]
    made = total(p_mean * weight) + n * detail
    return (made / np.maximum(total(weight), TINY)).astype(np.float32)


def _inverse(m: Double) -> Double:
    """Inverses of symmetric matrices [3, 3, h, w], by their minors."""
    minors = np.empty_like(m)
    for i in range(3):
        for j in range(i, 3):
            (a, b), (c, d) = ([k for k in range(3) if k != side] for side in (i, j))
            minors[i, j] = minors[j, i] = (m[a, c] * m[b, d] - m[a, d] * m[b, c]) * (-1) ** (i + j)
    made: Double = minors / sum(m[0, k] * minors[0, k] for k in range(3))
    return made
