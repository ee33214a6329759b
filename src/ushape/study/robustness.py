"""Networks over every degradation of the ROIs that they never saw: confusion matrices on disk, then falls.

DIR/robustness.yaml                     what was asked: networks, data, degradations
DIR/counts/ARM/DEGRADATION.json         of each seed, ROI -> confusion matrix; never computed again
DIR/robustness.csv, robustness.svg      what came out
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ushape.data.classes import Grouping, grouping
from ushape.data.rois import Roi, check_coarseness, find_rois, fingerprint, open_pixels, prepare
from ushape.errors import RunError
from ushape.files import content_hash, read_json, remove_parts, write_json
from ushape.locks import holding
from ushape.nets.device import pick_precision
from ushape.nets.weights import load_weights, read_about
from ushape.predict.degrade import DEGRADATIONS, KINDS, Degradation, degraded, on_grid
from ushape.predict.engine import Predictor
from ushape.predict.score import Matrix, confusion
from ushape.study.design import folder_of
from ushape.study.falls import Fall, falls
from ushape.study.held_out import Arm, find_arms, shared_patients
from ushape.threads import Lanes
from ushape.train.run import claim
from ushape.versions import versions

Counts = list[dict[str, Matrix]]
"""Of each seed, ROI -> confusion matrix."""

STEPS: tuple[Degradation | None, ...] = (None, *DEGRADATIONS)
"""What is done to the images, one after the other; None: nothing."""


@dataclass(frozen=True)
class Sweep:
    """Arms, the ROIs that all of them may score, and the test-time augmentation (None: each recipe's own)."""

    arms: tuple[Arm, ...]
    rois: tuple[Roi, ...]
    data: Path
    tta: str | None
    left_out: tuple[str, ...]
    """Patients of the data whom one of the networks saw, or whom a study does not know."""

    @property
    def units(self) -> int:
        """Predictions of a ROI in all."""
        return len(STEPS) * sum(map(self.units_of, self.arms))

    def units_of(self, arm: Arm) -> int:
        """Those of one arm for one degradation."""
        return len(arm.seeds) * len(self.rois)

    @cached_property
    def grouping(self) -> Grouping:
        """That of all networks; RunError where they differ."""
        found = {read_about(file)["grouping"]["id"]: arm.name for arm in self.arms for file in arm.files}
        if len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            raise RunError(f"{first} has classes of {one}, {second} of {other}: their scores do not mean the same")
        return grouping(next(iter(found)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies it."""
        return {
            "versions": versions("study"),
            "mpp": [roi.mpp for roi in self.rois],
            "arms": [[arm.name, *(content_hash(file) for file in arm.files)] for arm in self.arms],
            "data": str(self.data.resolve()),
            "fingerprint": fingerprint(self.rois),
            "tta": self.tta,
            "degradations": {kind.name: list(kind.strengths) for kind in KINDS.values()},
        }


def plan_sweep(paths: Sequence[Path], data: Path, mpp: float | None, tta: str | None) -> Sweep:
    """Look at networks and data; RunError or DataError where they cannot be used, as `find_arms` has it."""
    rois = find_rois(data, mpp)
    patients = {roi.patient for roi in rois}
    arms = find_arms(paths, patients)
    shared = shared_patients(arms)
    kept = tuple(roi for roi in rois if roi.patient in shared)
    for to in {read_about(file)["mpp"] for arm in arms for file in arm.files}:
        for roi in kept:
            check_coarseness(roi.image, roi.mpp, to)
    return Sweep(tuple(arms), kept, data, tta, tuple(sorted(patients - set(shared))))


def run_sweep(
    sweep: Sweep,
    folder: Path,
    lanes: Lanes,
    device: torch.device,
    watch: Callable[[int, str], None] = lambda done, what: None,
) -> list[Fall]:
    """Count what is not counted yet, and give the falls of every arm.

    `watch` gets how many of `sweep.units` are done, and what is at work. RunError where the folder is another's.
    """
    groups, file = sweep.grouping, folder / "robustness.yaml"
    claim(folder, file, sweep.to_dict() | {"precision": pick_precision("auto", device)}, "robustness test")
    with holding(file):
        remove_parts(folder)
        done = finished(sweep, folder)
        for (number, how), path in _files(sweep, folder).items():
            if not path.exists():
                arm, what = sweep.arms[number], f"{sweep.arms[number].name}, {how or 'undegraded'}"
                units = itertools.count(done + 1)
                advance = partial(_tell, watch, units, what)
                made = count(arm, how, sweep.rois, groups, sweep.tta, lanes, device, advance)
                write_json(path, [{name: matrix.tolist() for name, matrix in seed.items()} for seed in made])
                done += sweep.units_of(arm)
    found: list[Fall] = []
    for number, arm in enumerate(sweep.arms):
        counts = {
            how: _read(path, len(groups.classes)) for (n, how), path in _files(sweep, folder).items() if n == number
        }
        found += falls(arm, counts, sweep.rois)
    return found


def finished(sweep: Sweep, folder: Path) -> int:
    """How many of `sweep.units` a folder holds."""
    return sum(sweep.units_of(sweep.arms[n]) for (n, _), path in _files(sweep, folder).items() if path.exists())


def _files(sweep: Sweep, folder: Path) -> dict[tuple[int, Degradation | None], Path]:
    """Where the matrices of each arm, by its number, and degradation are kept."""
    return {
        (n, how): folder / "counts" / f"{n + 1}-{folder_of(arm.name)}" / f"{how or 'none'}.json"
        for n, arm in enumerate(sweep.arms)
        for how in STEPS
    }


def count(
    arm: Arm,
    how: Degradation | None,
    rois: Sequence[Roi],
    groups: Grouping,
    tta: str | None,
    lanes: Lanes,
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
) -> Counts:
    """Degrade the ROIs and predict each with the network, of every seed, that never saw its patient."""
    counts: Counts = []
    for seed in arm.seeds:
        matrices: dict[str, Matrix] = {}
        for file in dict.fromkeys(seed.values()):
            own = [roi for roi in rois if seed[roi.patient] == file]
            weights = load_weights(file)
            precision = pick_precision("auto", device)
            predictor = Predictor(weights.net, device, precision, lanes, tta or weights.tta, weights.guided)
            for roi, matrix in _score(predictor, weights.about, how, own, groups):
                matrices[roi.name] = matrix
                advance()
        counts.append(matrices)
    return counts


def _score(
    predictor: Predictor, about: dict[str, Any], how: Degradation | None, rois: Sequence[Roi], groups: Grouping
) -> Iterator[tuple[Roi, Matrix]]:
    """Confusion matrices of one network, of whose weights `about` tells."""
    for roi in rois:
        truth = groups.labels(open_pixels(roi, about["mpp"]).codes)
        image = Image.fromarray(degraded(roi, about["mpp"], how))
        seen = prepare(image, about["mpp"], about["mpp"], about["normalise"])  # its stain brought to common strength
        labels = on_grid(predictor.labels(seen), truth.shape)
        yield roi, confusion(truth, labels, len(groups.classes))


def _tell(watch: Callable[[int, str], None], units: Iterator[int], what: str) -> None:
    watch(next(units), what)


def _read(path: Path, classes: int) -> Counts:
    try:
        counts = [{name: np.array(m, np.int64) for name, m in seed.items()} for seed in read_json(path)]
        if any(matrix.shape != (classes, classes) for seed in counts for matrix in seed.values()):
            raise ValueError(f"matrices of {classes} classes expected")
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error}): remove it, then start the same command again") from error
    return counts
