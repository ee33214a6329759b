"""`ushape train`: one network."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ushape.commands.shared import Bar, check_mpp, print_scores, read_all, read_recipe, say, several, training_threads
from ushape.errors import DataError, RecipeError

if TYPE_CHECKING:
    from ushape.data.rois import Roi
    from ushape.data.splits import Fold
    from ushape.train.recipe import Recipe
    from ushape.train.run import RunPlan


def train(options: argparse.Namespace) -> None:
    """Train one network."""
    from ushape.data.classes import grouping
    from ushape.data.crops import check_annotated, check_sizes
    from ushape.data.rois import open_pixels
    from ushape.locks import holding
    from ushape.nets.device import pick_device
    from ushape.nets.spec import parse
    from ushape.threads import Lanes
    from ushape.train.loop import have_taught
    from ushape.train.loop import train as run_training
    from ushape.train.run import open_run
    from ushape.train.sources import check_apart, check_unlabelled, find_teachers
    from ushape.train.start import check_trainable

    recipe, spec = read_recipe(options), parse(options.spec)
    count = training_threads(options.threads, recipe.shards)
    if options.val and not recipe.validations:
        recipe = replace(recipe, validations=1)
    check_trainable([(spec, recipe)], len(grouping(recipe.grouping).classes))  # before anything is written
    check_apart(recipe, options.out)
    plan = _plan(options, recipe)
    device = pick_device(options.device)
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in plan.train]
    check_sizes(pixels, recipe.crop)
    check_annotated(pixels, grouping(recipe.grouping))
    _check_tissue(plan)
    check_unlabelled(recipe, options.mpp)
    open_run(options.out, plan)
    with holding(options.out / "run.yaml"), Lanes(count) as lanes:
        if recipe.teacher != "none" and not (options.out / "weights.safetensors").exists():
            teachers = find_teachers(recipe, plan.patients("test"), plan.patients("validation"))
            say(f"learns from {several(len(teachers), 'network')} of {recipe.teacher}")
            with Bar("images seen by teachers", 0) as advance:
                have_taught(plan, lanes, device, advance.of)
        with Bar("steps", recipe.steps, "loss") as advance:
            run_training(plan, options.out, lanes, device, lambda step, loss: advance(step, loss), options.save_every)
    say(f"weights: {options.out / 'weights.safetensors'}")
    if plan.test:
        _print_run(options.out, recipe.grouping)


def _plan(options: argparse.Namespace, recipe: Recipe) -> RunPlan:
    """The run that `train` was asked for: a fold of the data, or all of it, validated elsewhere or not at all."""
    from ushape.data.rois import find_rois, in_both
    from ushape.nets.spec import parse
    from ushape.train.run import RunPlan

    if recipe.validations and not (options.val or options.fold):
        raise RecipeError(
            f"validations={recipe.validations} has no effect where nobody is held back: add --fold or --val, or leave "
            "it out"
        )
    rois = find_rois(options.data, options.mpp)
    spec = parse(options.spec)
    validation: list[Roi] = []
    test: list[Roi] = []
    if options.val:
        validation = find_rois(options.val, options.mpp)
        if both := in_both((r.name for r in validation), (r.name for r in rois)):
            raise DataError(
                f"{options.val}: patient {both[0]} is in the training data too ({len(both)} in all), perhaps spelt "
                "otherwise: a leak; move each patient's ROIs to one side"
            )
    read_all([*rois, *validation], recipe.mpp, recipe.normalise)
    if options.fold:
        fold = _fold(options, recipe)
        validation = [r for r in rois if r.patient in fold.validation]
        test = [r for r in rois if r.patient in fold.test]
        rois = [r for r in rois if r.patient in fold.train]
    if recipe.unlabelled == "none":
        check_mpp(options.mpp, [roi.name for roi in (*rois, *validation, *test)])
    parts = (tuple(rois), tuple(validation), tuple(test))
    return RunPlan(spec, recipe, options.seed, options.data, *parts, options.val, options.mpp)


def _check_tissue(plan: RunPlan) -> None:
    """DataError where the run trains on tissue by which it is judged, under another patient's name."""
    from ushape.data.rois import open_pixels
    from ushape.data.splits import Fold
    from ushape.study.guards import check_tissue, find_alike

    judged = [part for part in ("test", "validation") if getattr(plan, part)]
    if not judged:
        return
    recipe, rois = plan.recipe, [*plan.train, *plan.validation, *plan.test]
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in rois]
    validation = plan.patients("validation") if len(judged) > 1 else []
    fold = Fold(tuple(plan.patients(judged[0])), tuple(validation), tuple(plan.patients("train")))
    check_tissue(pixels, find_alike(pixels, recipe.mpp), [fold])


def _fold(options: argparse.Namespace, recipe: Recipe) -> Fold:
    from ushape.data.classes import grouping
    from ushape.data.rois import find_rois, open_pixels
    from ushape.data.splits import class_counts, split
    from ushape.study.design import FOLD_SEED

    number, of = options.fold
    groups = grouping(recipe.grouping)
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in find_rois(options.data, options.mpp)]
    return split(class_counts(pixels, groups), groups, of, FOLD_SEED, recipe.validations > 0)[number - 1]


def _print_run(folder: Path, name: str) -> None:
    """Scores of a run's test ROIs."""
    import numpy as np

    from ushape.data.classes import grouping
    from ushape.files import read_json
    from ushape.predict.score import summary

    groups, rois = grouping(name), read_json(folder / "rois.json")
    matrices = {roi: np.array(entry["confusion"]) for roi, entry in rois.items()}
    made = summary(matrices, {roi: entry["patient"] for roi, entry in rois.items()}, groups.classes)
    print_scores({"": made}, groups.id)
