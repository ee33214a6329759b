"""`ushape compare`, `ablate` and `report`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from ushape.commands.shared import Bar, StudyBars, check_mpp, print_scores, read_all, read_recipe, say, several
from ushape.errors import RunError, UshapeError

if TYPE_CHECKING:
    from ushape.nets.spec import Spec
    from ushape.study.design import Arm, Study
    from ushape.study.factorial import Design
    from ushape.study.pool import MakeEngine
    from ushape.train.recipe import Recipe
    from ushape.train.search import Search


def compare(options: argparse.Namespace) -> None:
    """Train and score every arm on every fold and seed; write and name the report."""
    from ushape.study.design import parse_arm

    recipe = read_recipe(options)
    arms = [parse_arm(text, recipe) for text in options.arms]
    if len(arms) < 2:
        raise RunError("compare: give at least two arms; the first is the baseline")
    run_arms(options, arms)


def run_arms(
    options: argparse.Namespace,
    arms: Sequence[Arm | Spec],
    design: Design | None = None,
    base: Spec | None = None,
) -> None:
    """Plan the study of these arms as the options have it, run it, write and name the report."""
    from ushape.nets.device import pick_device
    from ushape.study.cluster import pick_engine
    from ushape.study.folder import open_study

    engine = pick_engine(options.engine, options.address)
    device = pick_device(options.device).type
    study = _planned(options, arms, design, base)
    open_study(options.out, study)
    if options.match:
        for given, got in zip(arms, study.given, strict=True):
            say(f"{given.name}: compared as {got.name}")
    go_on(study, options.out, options.jobs, device, engine)


def _planned(
    options: argparse.Namespace, arms: Sequence[Arm | Spec], design: Design | None, base: Spec | None
) -> Study:
    """The study that the options ask for; an error where it cannot be."""
    from ushape.study.design import plan_study
    from ushape.study.folder import solved_before
    from ushape.train.sources import check_apart

    recipe = read_recipe(options)
    search = _search(options, recipe)
    places = (options.data, options.mpp, options.folds, options.seeds)
    asked = {"design": design, "base": base, "matched": options.match, "margin": options.margin / 100}
    check_apart(recipe, options.out)
    before = solved_before(options.out, arms, options.match)
    study = plan_study(arms, recipe, *places, **asked, search=search, solved=before, read=read_all)
    if recipe.unlabelled == "none":
        check_mpp(options.mpp, [roi.name for roi in study.rois])
    return study


def _search(options: argparse.Namespace, recipe: Recipe) -> Search | None:
    from ushape.train.search import make_search

    if options.tune is None:
        for name in ("trials", "steps"):
            if getattr(options, f"tune_{name}") is not None:
                raise RunError(f"--tune-{name} has no effect without --tune: add --tune lr, or leave it out")
        return None
    return make_search(recipe, 6 if options.tune_trials is None else options.tune_trials, options.tune_steps)


def go_on(study: Study, folder: Path, jobs: int | None, device: str, engine: MakeEngine | None) -> None:
    """Do what is left of a study, then write and name its report."""
    import torch

    from ushape.nets.device import training_precision
    from ushape.study.runner import check_brought, run_study
    from ushape.study.tuning import tune_study

    if engine:
        check_brought(study)
    else:
        for recipe in study.recipes:
            training_precision(recipe.precision, torch.device(device))  # refuses what would only be imitated here
    if study.search:
        say(
            f"learning rates: {study.search.trials} trials of {study.search.steps} steps for each arm in each fold, "
            "judged by its validation patients"
        )
        with StudyBars(folder, study.search.trials * study.search.steps, "searches") as watch:
            study = tune_study(study, folder, jobs, watch, device, make_engine=engine)
    with StudyBars(folder, study.recipe.steps) as watch:
        run_study(study, folder, jobs, watch, device, make_engine=engine)
    finish_study(folder)


def ablate(options: argparse.Namespace) -> None:
    """Train and score the arms of a design over changes of one spec; write and name the report."""
    from ushape.nets.spec import parse
    from ushape.study.cluster import pick_engine
    from ushape.study.design import design_specs
    from ushape.study.factorial import make_design

    base, design = parse(options.spec), make_design(options.design, options.mods, options.halvings)
    specs = design_specs(base, design)
    if options.dry_run:
        pick_engine(options.engine, options.address)
        planned = _planned(options, specs, design, base)  # what is wrong with settings and data is told now
        for spec, arm in zip(planned.specs, design.arms, strict=True):
            print(f"{spec.name}  ({', '.join(f for f in design.factors if f in arm) or 'nothing on'})")
        resolution = f"resolution {design.resolution}" if design.resolution else "nothing aliased"
        folds = "the official split" if options.folds == "official" else several(options.folds, "fold")
        print(f"{len(specs)} arms, {folds}, {several(options.seeds, 'seed')}; {resolution}")
        for effect in design.effects:
            for sign, factors in effect.aliases:
                print(f"{effect.name} is seen together with {'-' if sign < 0 else '+'} {' x '.join(factors)}")
        return
    run_arms(options, specs, design, base)


def report(options: argparse.Namespace) -> None:
    """Write a study's report again from its runs."""
    from ushape.study.unchanged import load_copies

    if options.tolerance is not None and not 0 < options.tolerance < inf:
        raise RunError(f"--tolerance {options.tolerance:g}: give µm above 0, say 10")
    load_copies(options.study)
    finish_study(options.study, options.tolerance, options.format)


def finish_study(folder: Path, tolerance: float | None = None, form: str = "html") -> None:
    """Read what the runs left, write results and report, and say what came out.

    tolerance: of borders, in µm; None: that of the results there, else the default one.
    """
    from ushape.files import read_json
    from ushape.predict.boundary import TOLERANCE
    from ushape.report.formats import write_report
    from ushape.report.reading import read
    from ushape.report.results import FILE
    from ushape.report.verdicts import headlines
    from ushape.study.folder import read_study
    from ushape.study.results import write_results

    if tolerance is None:
        with suppress(UshapeError, KeyError, TypeError, IndexError):  # none yet, or written anew as it is damaged
            tolerance = read_json(folder / FILE)["arms"][0]["measures"]["surface_dice"]["tolerance_um"]
    with Bar("runs read", sum(1 for _ in read_study(folder).runs())) as advance:
        results = write_results(folder, tolerance or TOLERANCE, advance)
    path = write_report(folder, form)
    print_scores({arm["name"]: arm["scores"] for arm in results["arms"]}, results["grouping"]["id"])
    for headline in headlines(read(folder / FILE)):
        say("".join(headline.said))
    say(f"report: {path}")
