"""What stops a study: patients on both sides of a split, and a folder that is no longer what the study began with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ushape.data.classes import grouping
from ushape.data.rois import find_rois, fingerprint, open_pixels
from ushape.data.splits import Fold, class_counts, make_folds
from ushape.errors import DataError, RunError
from ushape.files import read_yaml
from ushape.nets.plugin import load_plugin
from ushape.study.design import FOLD_SEED, Study

PARTS = ("train", "validation", "test")


def check_folds(folds: Sequence[Fold]) -> None:
    """RunError where a patient is in two parts of a fold, or is tested more than once, or nowhere."""
    tested = [patient for fold in folds for patient in fold.test]
    for number, fold in enumerate(folds, 1):
        for one, other in combinations(PARTS, 2):
            both = sorted(set(getattr(fold, one)) & set(getattr(fold, other)))
            if both:
                raise RunError(f"fold {number}: patient {both[0]} is in {one} and in {other}: split by patient")
        for part in PARTS:
            for patient in getattr(fold, part):
                if tested.count(patient) != 1:
                    raise RunError(f"patient {patient} is tested in {tested.count(patient)} folds: it should be one")


def check_unchanged(study: Study, folder: Path) -> None:
    """That data and folds are those with which the study in `folder` began; RunError naming what differs."""
    rois = find_rois(study.data, study.mpp)
    found = fingerprint(rois)
    if found != study.fingerprint:
        raise RunError(
            f"{study.data}: its images or masks have changed since {folder} began (fingerprint {found[:12]}, then "
            f"{study.fingerprint[:12]}): put them back, or start a new study"
        )
    check_folds(study.folds)
    pixels = [open_pixels(roi, study.recipe.mpp, study.recipe.normalise) for roi in rois]
    groups = grouping(study.recipe.grouping)
    folds = make_folds(class_counts(pixels, groups), groups, len(study.folds), FOLD_SEED)
    for number, (made, written) in enumerate(zip(folds, study.folds, strict=True), 1):
        for part in PARTS:
            if getattr(made, part) != getattr(written, part):
                raise RunError(
                    f"{folder / 'folds.json'}: {part} of fold {number} is {', '.join(getattr(written, part))}, not "
                    f"{', '.join(getattr(made, part))} as the data give it: put the file back, or start a new study"
                )


def load_copies(folder: Path) -> None:
    """Run the plugins that a study copied into its folder; RunError where one is not what the study began with."""
    if not (folder / "study.yaml").exists():
        return
    for name, told in (read_yaml(folder / "study.yaml").get("plugins") or {}).items():
        file = folder / "plugins" / name
        if not file.exists():
            raise RunError(f"{file}: is gone: put the plugin back that the study began with")
        if hashlib.sha256(file.read_bytes()).hexdigest()[:16] != told:
            raise RunError(f"{file}: is not the plugin that the study began with: put that one back")
        load_plugin(file)


__all__ = ["DataError", "check_folds", "check_unchanged", "load_copies"]
