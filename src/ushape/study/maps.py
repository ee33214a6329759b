"""What only label maps tell, of the test ROIs of a run: borders in µm, and scores of small images.

Read from `predictions/` and the masks, without a network; kept in the run's maps.json, since large studies have
thousands of maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import Grouping
from ushape.data.rois import Roi, open_pixels
from ushape.errors import RunError
from ushape.files import read_json, write_json
from ushape.predict.boundary import TOLERANCE, borders
from ushape.predict.score import confusion, mean_present, mean_scores, plain
from ushape.versions import code_once

SIDE = 256
"""px: side of the images that `per_image` scores, as papers do that cut ROIs into patches."""


@dataclass(frozen=True)
class Maps:
    """Of one ROI: `surface_dice` and `hausdorff95` (µm) of each class, float64 [classes], nan where there is none;
    `images`: a confusion matrix of each square of SIDE px with a counted pixel, int64 [images, classes, classes]."""

    surface_dice: NDArray[np.float64]
    hausdorff95: NDArray[np.float64]
    images: NDArray[np.int64]


def read_maps(
    run: Path, rois: Iterable[Roi], mpp: float, grouping: Grouping, tolerance: float = TOLERANCE
) -> dict[str, Maps]:
    """The Maps of each test ROI of a finished run; `mpp`: µm per pixel of its predictions.

    RunError where a prediction is missing, damaged, or not of the size of its mask.
    """
    cached, about = run / "maps.json", [code_once("data", "predict"), tolerance, SIDE, mpp, grouping.id]
    kept = read_json(cached) if cached.exists() else None
    if not (isinstance(kept, dict) and kept.get("about") == about):
        made = {roi.name: _to_dict(_measure(run, roi, mpp, grouping, tolerance)) for roi in rois}
        kept = {"about": about, "rois": made}
        write_json(cached, kept)
    return {name: _from_dict(each, len(grouping.classes)) for name, each in kept["rois"].items()}


def summarise(maps: Iterable[Maps], classes: tuple[str, ...], tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Means over ROIs (and seeds) for results.json; a class without a border in either map is left out of them.

    `absent` counts those, and for the distance also where one map alone has the class. The macro score is the mean
    over classes of these means.
    """
    every = list(maps)
    dice, far = np.stack([m.surface_dice for m in every]), np.stack([m.hausdorff95 for m in every])

    def told(values: NDArray[np.float64]) -> dict[str, Any]:
        mean = mean_present(values, 0)
        return {
            "macro": plain(mean_present(mean)),
            "classes": {c: plain(v) for c, v in zip(classes, mean, strict=True)},
            "absent": {c: int(n) for c, n in zip(classes, np.isnan(values).sum(0), strict=True) if n},
        }

    return {
        "surface_dice": {"tolerance_um": tolerance} | told(dice),
        "hausdorff95_um": told(far),
        "per_image": {"side_px": SIDE} | mean_scores([m for each in every for m in each.images], classes),
    }


def _measure(run: Path, roi: Roi, mpp: float, grouping: Grouping, tolerance: float) -> Maps:
    path, classes = run / "predictions" / f"{roi.name}.png", len(grouping.classes)
    truth = grouping.labels(np.asarray(open_pixels(roi, mpp).codes))
    try:
        with Image.open(path) as image:
            predicted = np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise RunError(f"{path}: is missing or damaged ({error}): remove {run}, then resume the study") from error
    if predicted.shape != truth.shape:
        raise RunError(f"{path}: is {predicted.shape} px but its mask is {truth.shape}: remove {run}, then resume")
    found = borders(truth, predicted, classes, mpp, tolerance)
    squares = [
        np.s_[y : y + SIDE, x : x + SIDE] for y in range(0, len(truth), SIDE) for x in range(0, truth.shape[1], SIDE)
    ]
    matrices = [confusion(truth[square], predicted[square], classes) for square in squares]
    images = [m for m in matrices if m.any()]
    return Maps(
        np.array([b.surface_dice for b in found]),
        np.array([b.hausdorff95 for b in found]),
        np.array(images, np.int64).reshape(-1, classes, classes),
    )


def _to_dict(maps: Maps) -> dict[str, Any]:
    return {
        "surface_dice": [plain(v) for v in maps.surface_dice],
        "hausdorff95": [plain(v) for v in maps.hausdorff95],
        "images": maps.images.reshape(len(maps.images), -1).tolist(),
    }


def _from_dict(data: Mapping[str, Any], classes: int) -> Maps:
    return Maps(
        np.array(data["surface_dice"], np.float64),  # None becomes nan
        np.array(data["hausdorff95"], np.float64),
        np.array(data["images"], np.int64).reshape(-1, classes, classes),
    )
