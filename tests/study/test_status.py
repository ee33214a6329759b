"""How far a study is, from its folder alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.files import read_yaml, write_yaml
from ushape.locks import holding
from ushape.study.design import Study
from ushape.study.folder import open_study
from ushape.study.status import Part, Status, read_status
from ushape.study.tuning import search_folder
from ushape.train.places import FAILURE, TAKEN
from ushape.train.run import open_run
from ushape.train.search import Search, open_search


@pytest.fixture
def study(make_study: Any) -> Study:
    return make_study()


@pytest.fixture
def folder(study: Study, tmp_path: Path) -> Path:
    """A study of four runs, of which none has begun."""
    open_study(tmp_path / "study", study)
    for run in study.runs():
        open_run(tmp_path / "study" / study.run_folder(*run), study.plan(*run))
    return tmp_path / "study"


def log(run: Path, rows: int, each: float, rest: str = "") -> None:
    lines = [f"{n},0.5,1,0.01,{n * each:.3f}" for n in range(1, rows + 1)]
    (run / "log.csv").write_text("\n".join(["step,loss,gradient_norm,rate,seconds", *lines]) + "\n" + rest)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_arm_that_a_published_network_names_is_looked_for_where_it_trains(make_study: Any, tmp_path: Path):
    study = make_study("unet[width=4,levels=2]", "ushape-small dice=0")
    open_study(tmp_path / "study", study)
    for run in study.runs():
        open_run(tmp_path / "study" / study.run_folder(*run), study.plan(*run))
        (tmp_path / "study" / study.run_folder(*run) / "rois.json").write_text("{}")
    found = read_status(tmp_path / "study")
    assert found.arms == ("unet[width=4,levels=2]", "ushape-small dice=0")
    assert {part.state for part in found.parts} == {"finished"}
    assert {tmp_path / "study" / part.folder for part in found.parts} == {
        tmp_path / "study" / study.run_folder(*run) for run in study.runs()
    }


def test_every_state_of_a_run_is_told(folder: Path, study: Study):
    one, other, third, fourth = (folder / study.run_folder(*run) for run in study.runs())
    log(one, 3, 2.0)
    (one / "rois.json").write_text("{}")
    log(other, 2, 4.0)
    log(third, 1, 2.0)
    (fourth / FAILURE).write_text("the mask is gone: bring it\n")
    before = contents(folder)
    with holding(other / "run.yaml"):
        found = read_status(folder)
    assert [part.state for part in found.parts] == ["finished", "at work", "stopped", "failed"]
    assert [part.steps for part in found.parts] == [3, 2, 1, 0]
    assert [part.seconds for part in found.parts] == [6.0, 8.0, 2.0, 0.0]
    assert found.parts[3].why == "the mask is gone: bring it"
    assert contents(folder) == before
    assert read_status(folder).parts[1].state == "stopped"


def test_the_time_left_is_that_of_each_arms_own_steps(folder: Path, study: Study):
    runs = [folder / study.run_folder(*run) for run in study.runs()]
    assert read_status(folder).seconds_left is None
    log(runs[0], 3, 2.0)
    assert read_status(folder).seconds_left == pytest.approx(2.0 * (3 + 6))  # the other arm: as this one
    log(runs[1], 1, 10.0)
    assert read_status(folder).seconds_left == pytest.approx(2.0 * 3 + 10.0 * 5)
    assert read_status(folder).seconds == pytest.approx(16.0)


@pytest.mark.parametrize("teacher", ["none", "a run"])
def test_runs_that_take_over_what_another_trains_have_nothing_to_do_of_their_own(
    make_study: Any, tmp_path: Path, teacher: str
):
    plain, other = "unet[width=4,levels=2]", "unet[width=4,levels=2]+se"
    study = make_study(plain, f"{plain} guided=8", other, f"{other} tta=d4", f"{other} stain=0")
    folder = tmp_path / "study"
    open_study(folder, study)
    text = read_yaml(folder / "study.yaml")
    write_yaml(folder / "study.yaml", text | {"recipe": text["recipe"] | {"teacher": teacher}})
    runs = {run: folder / study.run_folder(*run) for run in study.runs()}
    arms = list(study.arms)
    for (arm, fold, _), run in runs.items():
        run.mkdir(parents=True)
        if fold == 1 and arm in arms[:2]:
            log(run, 3, 2.0)
            (run / "rois.json").write_text("{}")
    (runs[arms[1], 1, 0] / TAKEN).write_text("a run\n")
    found = read_status(folder)
    totals = {part.folder.parent.name: part.total for part in found.parts if part.folder.name == "fold2-seed0"}
    shared = {arms[1], arms[3]} if teacher == "none" else set()
    assert totals == {arm: 0 if arm in shared else 3 for arm in arms}
    assert found.seconds == (6.0 if shared else 12.0)
    assert found.seconds_left == pytest.approx(2.0 * 3 * (10 - 1 - 4 if shared else 10 - 2))


@pytest.mark.parametrize("rest", ["3,0.5,1,0.0", "3,", "garbage", "3,0.5,1,0.01,7.9e", "\0\0\0"])
def test_a_row_that_is_being_written_is_not_counted(folder: Path, study: Study, rest: str):
    run = folder / study.run_folder(*next(iter(study.runs())))
    log(run, 2, 2.0, rest)
    part = read_status(folder).parts[0]
    assert part.seconds == 4.0
    assert part.steps in (0, 2, 3)


def test_searches_come_first_and_count_their_trials(tmp_path: Path, study: Study):
    tuned = replace(study, search=Search(3, 4))
    folder = tmp_path / "study"
    open_study(folder, tuned)
    arm = next(iter(study.arms))
    where = folder / search_folder(arm, 1)
    open_search(where, study.plan(arm, 1, 0), Search(3, 4))
    for trial in (1, 2):
        (where / f"trial{trial}").mkdir()
        log(where / f"trial{trial}", 4 if trial == 1 else 2, 1.5)
    (where / "log.csv").write_text("step\n1\n2\n3\n4\n5\n6\n")
    found = read_status(folder)
    assert [part.is_search for part in found.parts] == [True] * 4 + [False] * 4
    assert found.parts[0] == Part(search_folder(arm, 1), study.specs[0].name, True, "stopped", 6, 12, 9.0)
    assert found.count("waiting") == 4
    assert found.count("waiting", searches=True) == 3
    assert found.count("waiting", study.specs[0].name, searches=True) == 1


def test_a_finished_study_is_told_as_finished(finished: Path):
    found = read_status(finished)
    assert found.count("finished") == len(found.parts) == 8
    assert found.seconds_left == 0
    assert found.seconds > 0


def test_no_plugin_is_needed_to_tell_how_far_a_study_is(folder: Path):
    text = read_yaml(folder / "study.yaml")
    write_yaml(folder / "study.yaml", text | {"arms": [text["arms"][0], "unet[width=4,levels=3]+of-a-plugin"]})
    found = read_status(folder)
    assert found.parts[1].folder == Path("unet-width-4-levels-3+of-a-plugin/fold1-seed0")
    assert found.parts[1].state == "waiting"


def test_a_folder_that_is_no_study_is_told(tmp_path: Path, folder: Path):
    with pytest.raises(RunError, match=r"holds no study.yaml: give a folder that `ushape compare` made"):
        read_status(tmp_path)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "study.yaml").write_text("arms: 3\n")
    with pytest.raises(RunError, match="is no study of ushape"):
        read_status(tmp_path / "copy")


def test_nothing_done_leaves_the_time_unknown():
    part = Part(Path("a"), "a", False, "waiting", 0, 10, 0.0)
    assert Status(("a",), (part,)).seconds_left is None
