"""Predicted probabilities, made to follow the tissue: a guided filter whose guide is what the stains show.

Networks speckle, masks are regions drawn by hand. In each window the probabilities are fitted, by least squares with a
ridge, as a linear function of three quantities of the image: the amount of haematoxylin, how much that varies within
a nucleus or two (its standard deviation), and the amount of eosin. The fits of all windows that hold a place are
averaged. So where the stains change, a border stays or becomes sharp, and where they do not, speckles go.

He, Sun and Tang 2013, 10.1109/TPAMI.2012.213: equations 14, 19 and 20, a guide of three channels. Here it is computed
on cells of 4 x 4 px, as in He and Sun 2015 (arXiv:1505.00996), and the result instead of the coefficients is enlarged.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from ushape.data.stain import stain_matrix, to_density

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
Double = NDArray[np.float64]

CELL = 4
"""Side in px of the cells on which it is computed; tiles must begin at multiples of it."""

FINE = 6.0
"""px of the Gaussian over which the guide's means and deviations are taken: about the radius of a nucleus."""

RIDGE = 0.02
"""Variations of the guide (optical density) far below this are taken for noise: the square root of He's epsilon."""

_SPREAD = math.sqrt(FINE**2 - (CELL**2 - 1) / 12) / CELL  # in cells, whose means do a part of it
_TAPS = math.ceil(3 * _SPREAD)


def guided_reach(radius: int) -> int:
    """How many px away the image and the probabilities still count; 0 where there is no filter."""
    return 2 * radius + CELL * (_TAPS + 2) if radius else 0


def guided(probabilities: Float, image: Bytes, radius: int, stain: Float | None = None) -> Float:
    """Probabilities filtered in windows of 2 `radius` + CELL px a side, mirrored at the borders; 0 for none.

    float32 [classes, H, W], summing to 1 over the classes; RGB uint8 [H, W, 3] -> the same as probabilities. radius:
    in px, a multiple of CELL. stain: a matrix in optical density, float32 [3, 3], that is applied to the image first.
    """
    if radius == 0:
        return probabilities
    height, width = image.shape[:2]
    guide, cells = _guide(image, stain), _cells(probabilities)
    made = torch.from_numpy(_filtered(cells, guide, radius // CELL))[None]
    fine = F.interpolate(made, scale_factor=CELL, mode="bilinear", align_corners=False)[0, :, :height, :width]
    positive = fine.clamp_(min=0)  # a linear fit may leave 0 to 1
    result: Float = (positive / positive.sum(0)).numpy()
    return result


def _cells(maps: Float) -> Float:
    """[C, H, W] -> means of cells, [C, ceil(H / CELL), ceil(W / CELL)]; of cells at the border, of what is there."""
    made: Float = F.avg_pool2d(torch.from_numpy(maps), CELL, ceil_mode=True, count_include_pad=False).numpy()
    return made


def _guide(image: Bytes, stain: Float | None) -> Float:
    """RGB uint8 [H, W, 3] -> haematoxylin, its deviation and eosin in optical density, [3, cells, cells]."""
    amounts = np.linalg.inv(stain_matrix().astype(np.float64))
    columns = (amounts if stain is None else stain @ amounts)[:, :2].astype(np.float32)  # haematoxylin, eosin
    density = to_density(image)
    h, e = (sum(density[..., i] * columns[i, k] for i in range(3)) for k in range(2))
    h, squared, e = (_fine(each) for each in _cells(np.stack([h, h * h, e])))
    made: Float = np.stack([h, np.sqrt(np.maximum(squared - h * h, 0)), e])
    return made


def _fine(cells: Float) -> Float:
    made: Float = ndimage.gaussian_filter(cells, _SPREAD, mode="mirror", radius=_TAPS)
    return made


def _filtered(p: Float, guide: Float, radius: int) -> Float:
    """p [C, h, w] fitted to guide [3, h, w] in windows of 2 `radius` + 1 cells, float32 [C, h, w]."""

    def mean(x: Double) -> Double:
        made: Double = ndimage.uniform_filter(x, 2 * radius + 1, mode="mirror", axes=(-2, -1))
        return made

    g, q = guide.astype(np.float64), p.astype(np.float64)
    g_mean, q_mean = mean(g), mean(q)  # [3, h, w], [C, h, w]
    covariance = np.empty((3, 3, *g.shape[1:]))
    for i in range(3):
        for j in range(i, 3):
            covariance[i, j] = covariance[j, i] = mean(g[i] * g[j]) - g_mean[i] * g_mean[j]
        covariance[i, i] += RIDGE**2
    shared = np.stack([mean(q * g[i]) - q_mean * g_mean[i] for i in range(3)])  # [3, C, h, w]
    slopes = np.einsum("ijhw,jchw->ichw", _inverse(covariance), shared)
    offset = q_mean - np.einsum("ichw,ihw->chw", slopes, g_mean)
    made = mean(offset)
    for i in range(3):
        made += mean(slopes[i]) * g[i]
    return made.astype(np.float32)


def _inverse(m: Double) -> Double:
    """Inverses of symmetric matrices [3, 3, h, w], by their minors."""
    minors = np.empty_like(m)
    for i in range(3):
        for j in range(i, 3):
            (a, b), (c, d) = ([k for k in range(3) if k != side] for side in (i, j))
            minors[i, j] = minors[j, i] = (m[a, c] * m[b, d] - m[a, d] * m[b, c]) * (-1) ** (i + j)
    made: Double = minors / sum(m[0, k] * minors[0, k] for k in range(3))
    return made
