"""`ushape compare` and `ushape report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ushape.commands.shared import StudyBars, print_scores, read_recipe, say
from ushape.errors import RunError


def compare(options: argparse.Namespace) -> None:
    """Train and score every arm on every fold and seed; write and name the report."""
    from ushape.nets.device import pick_device
    from ushape.nets.spec import parse
    from ushape.report.html import write_report
    from ushape.study.design import open_study, plan_study
    from ushape.study.results import write_results
    from ushape.study.runner import run_study

    specs = [parse(text) for text in options.specs]
    if len(specs) < 2:
        raise RunError("compare: give at least two specs; the first is the baseline")
    recipe = read_recipe(options)
    device = pick_device(options.device).type
    study = plan_study(specs, recipe, options.data, options.mpp, options.folds, options.seeds)
    open_study(options.out, study)
    with StudyBars(options.out, recipe.steps) as watch:
        run_study(study, options.out, options.jobs, watch, device)
    _finish_study(write_results(options.out), write_report(options.out))


def report(options: argparse.Namespace) -> None:
    """Write a study's report again from its runs."""
    from ushape.report.html import write_report
    from ushape.study.results import write_results

    _finish_study(write_results(options.study), write_report(options.study))


def _finish_study(results: dict[str, Any], path: Path) -> None:
    print_scores({arm["name"]: arm["scores"] for arm in results["arms"]}, results["grouping"]["id"])
    for found in results["comparisons"]:
        if found["metric"] == "macro_dice" and found["aggregation"] == "pooled":
            say(
                f"{found['arm']} - {found['baseline']}: {100 * found['difference']:+.1f} points of pooled macro Dice, "
                f"95% interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f} "
                f"over {found['patients']} patients",
                markup=False,
            )
    say(f"report: {path}", markup=False)
