"""What a study has to run. A shell script stands in the place of the process that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ushape.errors import RunError
from ushape.nets.weights import load_tensors, save_tensors
from ushape.study import runner
from ushape.study.design import Study
from ushape.study.pool import Job, State
from ushape.study.runner import is_finished, run_study
from ushape.train import loop
from ushape.train.places import TAKEN

DONE = 'echo "{}" > "$3/rois.json"'

Script = Callable[[str], Path]


@pytest.fixture
def study(make_study: Any) -> Study:
    return make_study()


def go(study: Study, folder: Path) -> None:
    run_study(study, folder, 1, interval=0.02)


def all_runs(study: Study) -> list[str]:
    return [str(study.run_folder(*run)) for run in study.runs()]


def test_every_run_is_started_once_in_order_and_told_of(tmp_path: Path, study: Study, script: Script):
    started, seen = script(DONE), []
    run_study(study, tmp_path / "study", 1, seen.append, interval=0.02)
    assert started.read_text().splitlines() == [str(tmp_path / "study" / run) for run in all_runs(study)]
    assert isinstance(seen[-1], State)
    assert [str(f.relative_to(tmp_path / "study")) for f in seen[-1].finished] == all_runs(study)
    assert all(is_finished(tmp_path / "study" / run) for run in all_runs(study))


def test_every_run_has_its_plan_before_it_starts(tmp_path: Path, study: Study, script: Script):
    script(f'test -f "$3/run.yaml" && {DONE}')
    go(study, tmp_path / "study")


def test_finished_runs_are_not_run_again(tmp_path: Path, study: Study, script: Script):
    started = script(DONE)
    go(study, tmp_path / "study")
    (tmp_path / "study" / all_runs(study)[2] / "rois.json").unlink()
    started.unlink()
    go(study, tmp_path / "study")
    assert started.read_text() == f"{tmp_path / 'study' / all_runs(study)[2]}\n"


def test_a_folder_of_another_run_is_refused_before_anything_starts(tmp_path: Path, study: Study, script: Script):
    started = script(DONE)
    (tmp_path / "study" / all_runs(study)[3]).mkdir(parents=True)
    (tmp_path / "study" / all_runs(study)[3] / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is no run of ushape"):
        go(study, tmp_path / "study")
    assert not started.exists()


def test_jobs_say_what_they_read_and_which_of_them_are_alike(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
):
    made: list[Job] = []
    monkeypatch.setattr(runner, "run_jobs", lambda jobs, *_: made.extend(jobs))
    go(study, tmp_path)
    assert {job.data for job in made} == {(study.data,)}
    assert [job.kind for job in made] == [job.folder.parent.name for job in made]
    assert len({job.kind for job in made}) == 2
    assert {job.after for job in made} == {None}


def test_what_differs_after_training_alone_is_trained_once(
    tmp_path: Path, make_study: Any, monkeypatch: pytest.MonkeyPatch, train_here: Any
):
    trained: list[Path] = []
    fit = loop._Run.fit
    monkeypatch.setattr(loop._Run, "fit", lambda run, *rest: (trained.append(run.folder), fit(run, *rest)))
    plain, other = (arm.name for arm in make_study().given)
    given = plain, f"{plain} tta=d4 guided=8", other, f"{other} stain=0", f"{other} stain=0 tta=flips"
    study, folder = make_study(*given), tmp_path / "study"
    train_here(study, folder)
    arms = list(study.arms)
    assert {run.parent.name for run in trained} == {arms[0], arms[2], arms[3]}
    assert len(trained) == 3 * len(study.folds)
    for first, second in ((0, 1), (3, 4)):
        for number in (1, 2):
            one, two = (folder / study.run_folder(arms[i], number, 0) for i in (first, second))
            for log in ("log.csv", "validation.csv"):
                assert (one / log).read_bytes() == (two / log).read_bytes()
            tensors, others = (load_tensors(run / "weights.safetensors")[0] for run in (one, two))
            assert all(torch.equal(tensors[name], others[name]) for name in tensors | others)
            assert (one / "rois.json").read_bytes() != (two / "rois.json").read_bytes()


def test_weights_taken_over_are_those_that_the_run_itself_would_train(tmp_path: Path, make_study: Any, train_here: Any):
    plain, other = (arm.name for arm in make_study().given)
    both = make_study(plain, f"{plain} tta=d4 guided=8")
    alone = make_study(other, plain, recipe=replace(both.recipe, tta="d4", guided=8))
    train_here(both, tmp_path / "both")
    train_here(alone, tmp_path / "alone")
    taken, trained = list(both.arms)[1], list(alone.arms)[1]
    one, two = tmp_path / "both" / both.run_folder(taken, 1, 0), tmp_path / "alone" / alone.run_folder(trained, 1, 0)
    for file in ("weights.safetensors", "rois.json", "validation.csv"):
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_a_run_whose_like_has_lost_its_weights_trains_itself(tmp_path: Path, make_study: Any, train_here: Any):
    plain, _ = (arm.name for arm in make_study().given)
    study, folder = make_study(plain, f"{plain} guided=8"), tmp_path / "study"
    train_here(study, folder)
    first, second = (folder / study.run_folder(arm, 1, 0) for arm in study.arms)
    before = (second / "weights.safetensors").read_bytes()
    assert (second / TAKEN).exists()
    for gone in (first / "weights.safetensors", second / "weights.safetensors", second / "rois.json"):
        gone.unlink()
    train_here(study, folder)
    assert not (second / TAKEN).exists()
    assert (second / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("why", ["gone", "damaged", "of another program"])
def test_the_rest_of_alike_runs_take_over_from_each_other_where_the_first_cannot_give(
    tmp_path: Path, make_study: Any, train_here: Any, monkeypatch: pytest.MonkeyPatch, why: str
):
    plain, _ = (arm.name for arm in make_study().given)
    study, folder = make_study(plain, f"{plain} guided=8", f"{plain} tta=d4"), tmp_path / "study"
    train_here(study, folder)
    first, second, third = (folder / study.run_folder(arm, 1, 0) for arm in study.arms)
    before = (third / "weights.safetensors").read_bytes()
    assert not (first / TAKEN).exists()
    assert (second / TAKEN).read_text() == (third / TAKEN).read_text() == f"{study.run_folder(*next(study.runs()))}\n"
    for run in (second, third):
        for gone in ("weights.safetensors", "rois.json", TAKEN):
            (run / gone).unlink()
    weights = first / "weights.safetensors"
    if why == "gone":
        weights.unlink()
    elif why == "damaged":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        save_tensors(weights, load_tensors(weights)[0], {})
    trained: list[Path] = []
    fit = loop._Run.fit
    monkeypatch.setattr(loop._Run, "fit", lambda run, *rest: (trained.append(run.folder), fit(run, *rest)))
    train_here(study, folder)
    assert trained == [second]
    assert (third / "weights.safetensors").read_bytes() == before


def test_a_plugin_is_run_as_the_study_copied_it(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch, phantom: Path
):
    """The user's own file may be edited while the study is at work."""
    mine = tmp_path / "mine.py"
    mine.write_text("")
    monkeypatch.setattr("ushape.study.folder.files", lambda _: [mine])
    made: list[Job] = []
    monkeypatch.setattr(runner, "run_jobs", lambda jobs, *_: made.extend(jobs))
    go(study, tmp_path / "study")
    assert {job.plugins for job in made} == {(tmp_path / "study" / "plugins" / "mine.py",)}


@pytest.mark.parametrize(("teacher", "alike"), [("none", True), ("a run", False)])
def test_teachers_predict_as_the_recipe_says_so_that_their_pupils_are_trained_each(
    study: Study, monkeypatch: pytest.MonkeyPatch, teacher: str, alike: bool
):
    monkeypatch.setattr("ushape.train.run.sources", lambda *_: {})
    plan = study.plan(*next(study.runs()))
    plan = replace(plan, recipe=replace(plan.recipe, teacher=teacher))
    for change in ({"tta": "d4"}, {"guided": 8}):
        other = replace(plan, recipe=replace(plan.recipe, **change))
        assert (plan.trained_alike() == other.trained_alike()) is alike
    for change in ({"seed": 1}, {"recipe": replace(plan.recipe, stain=0.1)}):
        assert plan.trained_alike() != replace(plan, **change).trained_alike()
