"""The scores of the ISBI 2012 challenge (Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142).

A segmentation into cells is compared with the truth over the pixels that are inside a cell of the truth, N of them.
n[t, s] of them lie in cell t of the truth and cell s of the segmentation; those on a border of the segmentation are
each a cell of their own. With p = n / N, sums over cells:

    V_rand = 2 sum p[t, s]^2 / (sum p[t]^2 + sum p[s]^2)             of pairs of pixels: split and merged alike
    V_info = 2 I(T; S) / (H(T) + H(S))                               mutual information and entropies

The borders of the segmentation are thinned first. Pixel error is the share of pixels on the wrong side of the
threshold, borders as wide as they are. A map's score at a threshold is the mean over slices; the challenge then takes
the best threshold of 0, .1, .2, ... on the very slices that are scored. Others are here too: a loss that weighs
membranes many times as much as interiors lowers all probabilities of interior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ushape.reproduce.unet2015.borders import Bool, cells
from ushape.reproduce.unet2015.thinning import Labels, thinned

Float = NDArray[np.float64]

CHALLENGE = tuple(round(0.1 * i, 1) for i in range(10))
"""The challenge's thresholds; at 1, its last, nothing would be called interior."""

THRESHOLDS = tuple(sorted({*CHALLENGE, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65}))
"""Of the probability of an interior: above it a pixel is called so."""

METRICS = ("v_rand", "v_info", "pixel_error")
"""The first two are the better the higher, the last the lower."""


def overlap(truth: Labels, segmented: Labels) -> tuple[Float, Float]:
    """Pixels shared by each cell of the truth and of the segmentation [truths, segments], and on borders [truths].

    Both are numbered cells [H, W], 0 border; only pixels in a cell of the truth count.
    """
    inside = truth > 0
    shape = (int(truth.max()) + 1, int(segmented.max()) + 1)
    pairs = np.bincount(truth[inside].astype(np.int64) * shape[1] + segmented[inside], minlength=shape[0] * shape[1])
    table = pairs.reshape(shape)[1:].astype(np.float64)
    return table[:, 1:], table[:, 0]


def rand_score(truth: Labels, segmented: Labels) -> float:
    """V_rand, 0 to 1, of two images of numbered cells [H, W], 0 border; nan where the truth has no cell."""
    table, border = overlap(truth, segmented)
    alone = border.sum()  # each a cell of one pixel: 1^2
    true = ((table.sum(1) + border) ** 2).sum()
    found = (table.sum(0) ** 2).sum() + alone
    return float(2 * ((table**2).sum() + alone) / (true + found)) if true else float("nan")


def information_score(truth: Labels, segmented: Labels) -> float:
    """V_info, 0 to 1, of two images of numbered cells [H, W], 0 border; nan where the truth has no cell.

    Where truth and segmentation are one cell each, there is no information to share: 1.
    """
    table, border = overlap(truth, segmented)
    n = table.sum() + border.sum()
    if n == 0:
        return float("nan")
    alone = border.sum() / n * np.log(n)  # entropy of cells of one pixel, 1/n each
    true = _entropy((table.sum(1) + border) / n)
    found = _entropy(table.sum(0) / n) + alone
    shared = true + found - (_entropy(table / n) + alone)
    return float(2 * shared / (true + found)) if true + found > 0 else 1.0


def pixel_error(truth: Bool, interior: Bool) -> float:
    """Share of pixels, 0 to 1, on which two maps of interiors differ: the squared distance of binary maps."""
    return float((truth != interior).mean())


@dataclass(frozen=True)
class Curve:
    """Scores of slices at every threshold: each metric [thresholds, slices]."""

    values: dict[str, Float]

    def best(self, metric: str, among: Sequence[float] = THRESHOLDS) -> int:
        """The number of the threshold, one of `among`, with the best mean over slices; of equal ones the lowest."""
        means = self.values[metric].mean(1) * (-1 if metric == "pixel_error" else 1)
        return max((THRESHOLDS.index(each) for each in sorted(among)), key=lambda number: means[number])

    def at(self, metric: str, number: int) -> Float:
        """Each slice's score at a threshold: [slices]."""
        return self.values[metric][number]


def curve(interior: Sequence[Bool], probability: Sequence[NDArray[np.float32]]) -> Curve:
    """Score probabilities of interiors [H, W] against true interiors [H, W], slice by slice, at all thresholds."""
    rows: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
    truths = [cells(each) for each in interior]
    for threshold in THRESHOLDS:
        called = [each > threshold for each in probability]
        found = [thinned(each) for each in called]
        rows["v_rand"].append([rand_score(t, f) for t, f in zip(truths, found, strict=True)])
        rows["v_info"].append([information_score(t, f) for t, f in zip(truths, found, strict=True)])
        rows["pixel_error"].append([pixel_error(t, c) for t, c in zip(interior, called, strict=True)])
    return Curve({metric: np.array(each) for metric, each in rows.items()})


def _entropy(p: Float) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
