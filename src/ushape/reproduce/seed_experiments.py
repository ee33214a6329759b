"""The ten networks of the author's experiments on BCSS, each under one fair recipe at one cost.

UNET_modifications (2023) published the pixel accuracy of each network on validation ROIs, ten of which are at hand.
Here all ten are matched by FLOPs to `unet[width=16]`, trained on the same folds and crops, and compared by patient:
which of the modifications hold up against the author's own U-Net?
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ushape.errors import DataError
from ushape.nets.budget import match
from ushape.nets.spec import Spec, parse
from ushape.study.statistics import mean_interval

PUBLISHED = "published_pixel_accuracy.csv"
"""In the folder of ROIs: a row for each ROI, the columns of NETWORKS."""

TARGET = "unet[width=16]"

NETWORKS = {
    "unet_depth3": "seed-unet-depth3",
    "dpb3_input": "seed-dpb3-input",
    "dpb5_input": "seed-dpb5-input",
    "dpb3_each_level": "seed-dpb3-each-level",
    "residual_input": "seed-residual-input",
    "series_dilation_input": "seed-series-dilation-input",
    "sd_residual_unet": "seed-sd-residual-unet",
    "atrous4_dense": "seed-atrous4-dense",
    "atrous4_residual": "seed-atrous4-residual",
    "atrous4_semgap": "seed-atrous4-semgap",
}
"""Column of the published table -> network of the zoo; the first is the baseline."""

ORDER = ("other", "tumor", "stroma", "inflammatory", "necrosis")
"""Classes in the order in which the author printed confusion matrices."""


def specs(classes: int = 5) -> list[Spec]:
    """The ten networks, baseline first: that one at the width at which it costs the FLOPs of TARGET.

    The others are as they were published, for the study to match by FLOPs to the baseline.
    """
    first, *others = (parse(name) for name in NETWORKS.values())
    return [match(first, parse(TARGET), "flops", classes=classes), *others]


def read_published(data: Path) -> dict[str, dict[str, float]]:
    """Column -> ROI (`SEED-01-R001`) -> pixel accuracy, 0 to 1. DataError where the table is missing or damaged."""
    path = data / PUBLISHED
    if not path.exists():
        raise DataError(f"{path}: is missing: give the folder of the ten ROIs with the author's published accuracies")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 ({error.reason}): get the file again") from error
    found: dict[str, dict[str, float]] = {column: {} for column in NETWORKS}
    for row in rows:
        for column, values in found.items():
            try:
                values[row["roi"]] = float(row[column])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}: row {row!r} has no number for {column}: get the file again") from error
            if not 0 <= values[row["roi"]] <= 1:
                raise DataError(f"{path}: {column} of {row['roi']} is {values[row['roi']]}, not between 0 and 1")
    return found


def check_rois(published: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """DataError where the ROIs of these names are not those of the published table."""
    there, wanted = {_short(name) for name in names}, set(published["unet_depth3"])
    if there != wanted:
        odd = sorted(there ^ wanted)[0]
        raise DataError(f"{odd}: is among the ROIs or in {PUBLISHED}, not in both: use the ten ROIs as they are")


@dataclass(frozen=True)
class Row:
    """One network: mean pixel accuracy over the ROIs and its difference to the baseline, published and ours.

    Intervals are Student's t at 95% over the ROIs, paired: of one training each, so the luck of a run is not in them.
    """

    network: str
    spec: str
    published: float
    published_difference: tuple[float, float, float] | None
    ours: float
    difference: tuple[float, float, float] | None
    rois: Mapping[str, tuple[float, float]]
    """ROI -> published accuracy, ours."""


def compare(published: Mapping[str, Mapping[str, float]], results: Mapping[str, Any]) -> list[Row]:
    """Published table and a study's results.json -> a row a network. Arms stand in the order of NETWORKS."""
    ours = _ours(results)
    check_rois(published, list(ours[0]))
    rois, rows = sorted(ours[0]), []
    first_published = np.array([published["unet_depth3"][r] for r in rois])
    first = np.array([ours[0][r] for r in rois])
    for (column, values), mine, arm in zip(published.items(), ours, results["arms"], strict=True):
        theirs, own = np.array([values[r] for r in rois]), np.array([mine[r] for r in rois])
        baseline = column == "unet_depth3"
        rows.append(
            Row(
                NETWORKS[column],
                arm["name"],
                float(theirs.mean()),
                None if baseline else mean_interval(theirs - first_published),
                float(own.mean()),
                None if baseline else mean_interval(own - first),
                {r: (values[r], mine[r]) for r in rois},
            )
        )
    return rows


def agreement(rows: Sequence[Row]) -> tuple[float, float]:
    """Spearman's rank correlation between the published and our mean accuracies of the networks, and its p."""
    found = stats.spearmanr([r.published for r in rows], [r.ours for r in rows])
    return float(found.statistic), float(found.pvalue)


def confusion_as_printed(results: Mapping[str, Any]) -> dict[str, list[list[int]]]:
    """Arm -> pooled confusion matrix in pixels, rows truth, columns prediction, classes in the author's ORDER."""
    classes = results["grouping"]["classes"]
    order = [classes.index(name) for name in ORDER]
    return {arm["name"]: np.array(arm["confusion"])[np.ix_(order, order)].tolist() for arm in results["arms"]}


def _ours(results: Mapping[str, Any]) -> list[dict[str, float]]:
    """Of each arm: ROI as the published table names it -> pixel accuracy (of the first seed)."""
    return [
        {_short(name): roi["arms"][arm["name"]]["accuracy"] for name, roi in results["rois"].items()}
        for arm in results["arms"]
    ]


def _short(name: str) -> str:
    """A ROI's name as the published table has it."""
    return name.split("-DX")[0]
