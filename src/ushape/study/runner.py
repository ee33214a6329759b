"""What a study has to run, and whether it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ushape.errors import RunError
from ushape.nets.plugin import files
from ushape.study.design import Study
from ushape.study.pool import Job, MakeEngine, State, run_jobs
from ushape.train.recipe import PATHS, WORDS
from ushape.train.run import open_run


def run_study(
    study: Study,
    folder: Path,
    jobs: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
    make_engine: MakeEngine | None = None,
) -> None:
    """Write the plan of every run into its folder, and run what is not finished; as `pool.run_jobs` has it."""
    plugins = tuple(files(study.specs))
    todo = []
    for run in study.runs():
        where, plan = folder / study.run_folder(*run), study.plan(*run)
        open_run(where, plan)
        todo.append(Job(where, "ushape.train.run", RESULT, plugins, (study.data,), run[0], plan.recipe.precision))
    run_jobs(todo, folder, jobs, watch, device, interval, make_engine)


def check_brought(study: Study) -> None:
    """RunError where the recipe names files, which no engine brings to other machines."""
    if named := [key for key in PATHS if getattr(study.recipe, key) not in WORDS]:
        raise RunError(f"the recipe's {named[0]} is not brought to other machines: use --engine local")


RESULT = "rois.json"
"""What a run of a study leaves when it has trained and scored its test ROIs."""


def is_finished(run: Path) -> bool:
    """Whether a run of a study has trained and scored its test ROIs."""
    return (run / RESULT).exists()
