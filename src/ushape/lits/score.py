"""Scores as LiTS defines them, for liver (labels 1 and 2 together) and lesions (label 2), over whole volumes.

With truth A and prediction B in voxels: Dice 2|A and B| / (|A| + |B|), volume overlap error VOE 1 - |A and B| / |A or
B|, relative volume difference RVD (|B| - |A|) / |A|, and ASSD, MSSD of `surface` in mm. Dice per case is the mean over
volumes, Dice global that of all voxels together. A volume without the class in which none was seen either has Dice 1,
one in which some was seen 0, as in LiTS' script. VOE needs a voxel in one of the two, RVD a truth, ASSD and MSSD both:
other volumes are left out of these means, and how many each is over is told beside it. (LiTS' script takes these four
scores of lesions over lesions that were found alone.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.lits.folder import Case, find_cases, find_labels, label_slice, labels_name, open_labels, open_prediction
from ushape.lits.surface import Spacing, apart
from ushape.lits.volumes import open_volume

Labels = NDArray[np.uint8]
ORGANS = ("liver", "lesion")
METRICS = ("dice", "voe", "rvd", "assd", "mssd")


@dataclass(frozen=True)
class Scores:
    """Of one class in one volume; nan where there is none, which Dice always has. truth, predicted, both: voxels."""

    dice: float
    voe: float
    rvd: float
    assd: float
    mssd: float
    truth: int
    predicted: int
    both: int


def score(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], spacing: Spacing) -> Scores:
    """Two masks bool [z, y, x] with voxels of `spacing` mm (z, y, x) -> their scores."""
    a, b, both = int(truth.sum()), int(predicted.sum()), int((truth & predicted).sum())
    distance = apart(truth, predicted, spacing)
    return Scores(
        dice=_ratio(2 * both, a + b) if a + b else 1.0,
        voe=1 - _ratio(both, a + b - both),
        rvd=_ratio(b - a, a),
        assd=distance.mean,
        mssd=distance.most,
        truth=a,
        predicted=b,
        both=both,
    )


def score_labels(truth: Labels, predicted: Labels, spacing: Spacing) -> dict[str, Scores]:
    """Labels uint8 [z, y, x] -> the scores of liver and lesion."""
    return {
        "liver": score(truth > 0, predicted > 0, spacing),
        "lesion": score(truth == 2, predicted == 2, spacing),
    }


def score_folder(
    data: Path, predicted: Path, progress: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Scores]]:
    """Case -> class -> scores, for all cases of `data`; DataError where a case was not predicted, or elsewhere in
    space, or has no labels."""
    cases, found = find_cases(data), find_labels(predicted)
    for case in cases:
        if case.name not in found:
            raise DataError(f"{predicted}: holds no {labels_name(case.volume)} for {case.volume}: predict it first")
    made = {}
    for case in cases:
        made[case.name] = _score_case(case, found[case.name])
        progress()
    return made


def _score_case(case: Case, predicted: Path) -> dict[str, Scores]:
    volume = open_volume(case.volume)
    assert case.segmentation is not None  # find_cases asks for labels
    labels = open_labels(case.segmentation, volume)
    maps = labels, open_prediction(predicted, volume, labels)
    truth, guess = (np.stack([label_slice(m, z) for z in range(volume.shape[0])]) for m in maps)
    return score_labels(truth, guess, volume.spacing)


def summary(scores: dict[str, dict[str, Scores]]) -> dict[str, Any]:
    """Per class: means over volumes, Dice of all voxels, and how many volumes each mean is over. nan becomes None."""
    made: dict[str, Any] = {}
    for organ in ORGANS:
        each = [case[organ] for case in scores.values()]
        total = [sum(getattr(s, key) for s in each) for key in ("truth", "predicted", "both")]
        counted = {metric: [v for s in each if not math.isnan(v := getattr(s, metric))] for metric in METRICS}
        made[organ] = {
            "dice_per_case": _mean(counted["dice"]),
            "dice_global": _plain(_ratio(2 * total[2], total[0] + total[1])),
            **{metric: _mean(counted[metric]) for metric in METRICS[1:]},
            "volumes": {metric: len(values) for metric, values in counted.items()},
        }
    return made


def each_case(scores: dict[str, dict[str, Scores]]) -> dict[str, Any]:
    """The scores of each case as plain data."""
    return {
        name: {organ: {k: _plain(v) for k, v in asdict(s).items()} for organ, s in case.items()}
        for name, case in scores.items()
    }


def _ratio(above: int, below: int) -> float:
    return above / below if below else math.nan


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
