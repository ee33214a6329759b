"""What a study has to run, and whether it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ushape.errors import RunError
from ushape.files import write_text
from ushape.nets.weights import load_tensors, save_tensors, shipped, weights_file
from ushape.study.design import Study
from ushape.study.folder import copies
from ushape.study.pool import Job, MakeEngine, State, run_jobs
from ushape.train.places import LOG, TAKEN, VALIDATION
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
    plugins = copies(study, folder)
    todo: list[Job] = []
    plans: dict[Path, RunPlan] = {}
    alike: dict[str, list[Path]] = {}
    before: dict[Path, tuple[Path, ...]] = {}
    for run in study.runs():
        where, plan = folder / study.run_folder(*run), study.plan(*run)
        open_run(where, plan)
        plans[where] = plan
        others = alike.setdefault(plan.trained_alike(), [])
        before[where] = tuple(others)
        after = others[-1] if others else None
        others.append(where)
        kind, precision = run[0], plan.recipe.precision
        todo.append(Job(where, "ushape.train.run", RESULT, plugins, (study.data,), kind, precision, after))

    def begin(job: Job) -> None:
        if not weights_file(job.folder).exists():
            (job.folder / TAKEN).unlink(missing_ok=True)
            for other in before[job.folder]:
                if _take_over(other, job.folder, plans[job.folder].recipe):
                    break

    run_jobs(todo, folder, jobs, watch, device, interval, make_engine, begin)


def _take_over(trained: Path, folder: Path, recipe: Recipe) -> bool:
    """Have a run begin where another has trained: with its weights, for this recipe, and its logs.

    False where the other has no weights, or damaged ones: then the run trains itself.
    """
    try:
        tensors, metadata = load_tensors(weights_file(trained))
        about = json.loads(metadata["ushape"]) | {key: getattr(recipe, key) for key in AFTER_TRAINING}
    except (RunError, KeyError, ValueError):
        return False
    about["recipe"] = recipe.told()
    for log in (LOG, VALIDATION):
        if (trained / log).exists():
            write_text(folder / log, (trained / log).read_text())
    save_tensors(weights_file(folder), tensors, {"ushape": json.dumps(about)})
    write_text(folder / TAKEN, trained.relative_to(folder.parents[1]).as_posix() + "\n")
    return True


def check_brought(study: Study) -> None:
    """RunError where the recipe names files, which no engine brings to other machines."""
    if named := [key for key in PATHS if getattr(study.recipe, key) not in (*WORDS, *shipped())]:
        raise RunError(f"the recipe's {named[0]} is not brought to other machines: use --engine local")


RESULT = "rois.json"
"""What a run of a study leaves when it has trained and scored its test ROIs."""


def is_finished(run: Path) -> bool:
    """Whether a run of a study has trained and scored its test ROIs."""
    return (run / RESULT).exists()
