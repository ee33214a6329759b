"""What a study has to run. A shell script stands in the place of the process that trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.study import runner
from ushape.study.design import Study
from ushape.study.pool import Job, State
from ushape.study.runner import is_finished, run_study

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
