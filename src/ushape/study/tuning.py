"""A learning rate for each arm in each fold, looked for before any run of the study trains.

The rate of an arm in a fold is chosen on that fold's validation patients (see `ushape.train.search`). They are test
patients of another fold, so a rate chosen in one fold never serves another. All seeds of an arm and fold train with
the rate chosen there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ushape.errors import RunError
from ushape.files import read_json
from ushape.study.design import Study
from ushape.study.folder import copies
from ushape.study.pool import Job, MakeEngine, State, run_jobs
from ushape.train.search import CHOICE, open_search


def search_folder(arm: str, fold: int) -> Path:
    """Folder of the search of an arm in a fold, inside the study's; fold counts from 1."""
    return Path(arm) / "tune" / f"fold{fold}"


def searches(study: Study) -> list[tuple[str, int]]:
    """(arm, fold) of each search: all arms of a fold together. None for a study that does not tune."""
    return [(arm, fold) for fold in range(1, len(study.folds) + 1) for arm in study.arms] if study.search else []


def tune_study(
    study: Study,
    folder: Path,
    at_once: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
    make_engine: MakeEngine | None = None,
) -> Study:
    """Do the searches that are not finished, as `pool.run_jobs` has it; the study with the rates that they chose."""
    if study.search is None:
        return study
    plugins = copies(study, folder)
    jobs = []
    for arm, fold in searches(study):
        where, plan = folder / search_folder(arm, fold), replace(study, search=None).plan(arm, fold, 0)
        open_search(where, plan, study.search)
        jobs.append(Job(where, "ushape.train.search", CHOICE, plugins, (study.data,), arm, plan.recipe.precision))
    run_jobs(jobs, folder, at_once, watch, device, interval, make_engine)
    return replace(study, rates={key: float(_choice(folder, *key)["rate"]) for key in searches(study)})


def told(study: Study, folder: Path) -> dict[str, Any] | None:
    """`tuning` of results.json: what each arm got; None for a study that did not tune."""
    if study.search is None:
        return None
    arms: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in study.given}
    for arm, fold in searches(study):
        made = _choice(folder, arm, fold)
        trials = [{k: each[k] for k in ("rate", "macro_dice", "pruned", "step")} for each in made["trials"]]
        arms[study.arms[arm].name].append({"fold": fold, "chosen": made["rate"], "trials": trials})
    return study.search.to_dict() | {"arms": arms}


def words(study: Study) -> list[str]:
    """The part of a command line that asks for the search again."""
    if study.search is None:
        return []
    return ["--tune", "lr", "--tune-trials", str(study.search.trials), "--tune-steps", str(study.search.steps)]


def _choice(folder: Path, arm: str, fold: int) -> dict[str, Any]:
    path = folder / search_folder(arm, fold) / CHOICE
    made = read_json(path)
    try:
        if made["rate"] not in [each["rate"] for each in made["trials"] if not each["pruned"] and not each["failed"]]:
            raise ValueError("its rate is that of no completed trial")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: is damaged ({error}): remove {path.parent}, then `ushape study resume {folder}`"
        ) from error
    chosen: dict[str, Any] = made
    return chosen
