"""Whether a study's folder, and the data that it names, are still what the study began with."""

from __future__ import annotations

from pathlib import Path

from ushape.data.classes import grouping
from ushape.data.rois import Pixels, find_rois, fingerprint, open_pixels
from ushape.data.splits import class_counts, split
from ushape.errors import RunError
from ushape.nets.plugin import load_plugin, text_hash
from ushape.study.design import FOLD_SEED, Study
from ushape.study.folder import read_question
from ushape.study.guards import PARTS, check_folds


def check_unchanged(study: Study, folder: Path) -> list[Pixels]:
    """The ROIs of the study in `folder`, which are those that it began with, in the folds that they give.

    RunError naming what differs.
    """
    rois = find_rois(study.data, study.mpp)
    found = fingerprint(rois)
    if found != study.fingerprint:
        raise RunError(
            f"{study.data}: its images or masks are not those with which {folder} began (their fingerprint is "
            f"{found[:12]}, not {study.fingerprint[:12]}): put those back, or begin another study"
        )
    check_folds(study.folds)
    pixels = [open_pixels(roi, study.recipe.mpp, study.recipe.normalise) for roi in rois]
    groups = grouping(study.recipe.grouping)
    validation = any(fold.validation for fold in study.folds)
    folds = split(class_counts(pixels, groups), groups, study.split, FOLD_SEED, validation)
    for number, (made, written) in enumerate(zip(folds, study.folds, strict=True), 1):
        for part in PARTS:
            if getattr(made, part) != getattr(written, part):
                told = [", ".join(getattr(fold, part)) or "nobody" for fold in (written, made)]
                raise RunError(
                    f"{folder / 'folds.json'}: was changed: fold {number} has {told[0]} in {part}, not {told[1]} as "
                    "the data give it: put the file back, or begin another study"
                )
    return pixels


def load_copies(folder: Path) -> None:
    """Run the plugins that a study copied into its folder; RunError where one is not what the study began with."""
    if not (folder / "study.yaml").exists():
        return
    for name, told in (read_question(folder).get("plugins") or {}).items():
        file = folder / "plugins" / name
        if not file.exists():
            raise RunError(f"{file}: is gone: put the plugin back with which the study began")
        if text_hash(file) != told:
            raise RunError(f"{file}: is not the plugin with which the study began: put that one back")
        load_plugin(file)
