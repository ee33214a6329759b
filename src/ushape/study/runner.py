"""What a study has to run, and whether it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ushape.errors import RunError
from ushape.files import write_text
from ushape.nets.plugin import files
from ushape.nets.weights import load_tensors, save_tensors, weights_file
from ushape.study.design import Study
from ushape.study.pool import Job, MakeEngine, State, run_jobs
from ushape.train.places import LOG, VALIDATION
from ushape.train.recipe import AFTER_TRAINING, PATHS, WORDS, Recipe
from ushape.train.run import RunPlan, open_run


def run_study(
    study: Study,
    folder: Path,
    jobs: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
    make_engine: MakeEngine | None = None,
) -> None:
    """Write the plan of every run into its folder, and run what is not finished; as `pool.run_jobs` has it.

    Runs that differ in what comes after training alone (`tta`, `guided`) are trained once.
    """
    plugins = tuple(files(study.specs))
    todo: list[Job] = []
    plans: dict[Path, RunPlan] = {}
    trained: dict[str, Path] = {}
    for run in study.runs():
        where, plan = folder / study.run_folder(*run), study.plan(*run)
        open_run(where, plan)
        plans[where] = plan
        first = trained.setdefault(plan.trained_alike(), where)
        kind, precision = run[0], plan.recipe.precision
        after = None if first == where else first
        todo.append(Job(where, "ushape.train.run", RESULT, plugins, (study.data,), kind, precision, after))

    def begin(job: Job) -> None:
        if job.after and weights_file(job.after).exists():
            _take_over(job.after, job.folder, plans[job.folder].recipe)

    run_jobs(todo, folder, jobs, watch, device, interval, make_engine, begin)


def _take_over(finished: Path, folder: Path, recipe: Recipe) -> None:
    """Have a run begin where another has trained: with its weights, for this recipe, and its logs."""
    tensors, metadata = load_tensors(weights_file(finished))
    about = json.loads(metadata["ushape"]) | {key: getattr(recipe, key) for key in AFTER_TRAINING}
    about["recipe"] = recipe.told()
    for log in (LOG, VALIDATION):
        if (finished / log).exists():
            write_text(folder / log, (finished / log).read_text())
    save_tensors(weights_file(folder), tensors, {"ushape": json.dumps(about)})


def check_brought(study: Study) -> None:
    """RunError where the recipe names files, which no engine brings to other machines."""
    if named := [key for key in PATHS if getattr(study.recipe, key) not in WORDS]:
        raise RunError(f"the recipe's {named[0]} is not brought to other machines: use --engine local")


RESULT = "rois.json"
"""What a run of a study leaves when it has trained and scored its test ROIs."""


def is_finished(run: Path) -> bool:
    """Whether a run of a study has trained and scored its test ROIs."""
    return (run / RESULT).exists()
