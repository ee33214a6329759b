"""The pool of runs. Most tests put a shell script in the place of the process that trains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.nets.weights import load_tensors
from ushape.study import pool
from ushape.study.design import Study
from ushape.study.pool import State, last_step
from ushape.study.runner import is_finished, run_study
from ushape.train.recipe import Recipe
from ushape.train.run import open_run

DONE = 'echo "{}" > "$3/rois.json"'

Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Make a line of shell what runs are: `$3` is the run's folder. Starts are listed in the file returned."""

    def write(line: str) -> Path:
        started, path = tmp_path / "started", tmp_path / "worker.sh"
        path.write_text(f'#!/bin/sh\necho "$3" >> {started}\n{line}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return started

    return write


@pytest.fixture
def study(make_study: Any) -> Study:
    return make_study()


def go(study: Study, folder: Path, jobs: int = 1, watch: Callable[[State], None] = lambda state: None) -> None:
    run_study(study, folder, jobs, watch, interval=0.02)


def names(started: Path) -> list[str]:
    return ["/".join(line.split("/")[-2:]) for line in started.read_text().splitlines()]


def all_runs(study: Study) -> list[str]:
    return [str(study.run_folder(*run)) for run in study.runs()]


def test_every_run_is_started_once_in_order(tmp_path: Path, study: Study, script: Script):
    started = script(DONE)
    go(study, tmp_path / "study")
    assert names(started) == all_runs(study)


def test_every_run_has_its_plan_before_it_starts(tmp_path: Path, study: Study, script: Script):
    script(f'test -f "$3/run.yaml" && {DONE}')
    go(study, tmp_path / "study")


def test_finished_runs_are_not_run_again(tmp_path: Path, study: Study, script: Script):
    started = script(DONE)
    go(study, tmp_path / "study")
    (tmp_path / "study" / all_runs(study)[2] / "rois.json").unlink()
    started.unlink()
    go(study, tmp_path / "study")
    assert names(started) == [all_runs(study)[2]]


def test_a_failed_run_is_reported_with_its_message_and_the_others_finish(tmp_path: Path, study: Study, script: Script):
    failing = 'echo noise >&2; echo "the mask is gone: bring it" >&2; exit 2'
    script(f'case "$3" in *+residual/fold1*) {failing};; esac; {DONE}')
    with pytest.raises(RunError) as caught:
        go(study, tmp_path / "study")
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith("1 of 4 runs failed; unet-width-4-levels-3+residual/fold1-seed0: the mask is gone: bring it")
    assert [f for f in all_runs(study) if not is_finished(tmp_path / "study" / f)] == [all_runs(study)[1]]


def test_several_failures_are_counted(tmp_path: Path, study: Study, script: Script):
    script("echo no >&2; exit 2")
    with pytest.raises(RunError, match=r"4 of 4 runs failed; .*: no \(and 3 more\)"):
        go(study, tmp_path / "study")


def test_a_run_that_was_killed_is_told_with_the_remedy(tmp_path: Path, study: Study, script: Script):
    script("kill -9 $$")
    with pytest.raises(RunError, match="killed by signal 9; start the same command again"):
        go(study, tmp_path / "study")


def test_a_run_that_ends_well_without_a_score_has_failed(tmp_path: Path, study: Study, script: Script):
    script("exit 0")
    with pytest.raises(RunError, match="4 of 4 runs failed"):
        go(study, tmp_path / "study")


def test_runs_that_failed_are_tried_again(tmp_path: Path, study: Study, script: Script):
    script("exit 2")
    with pytest.raises(RunError):
        go(study, tmp_path / "study")
    started = script(DONE)
    started.unlink()
    go(study, tmp_path / "study")
    assert names(started) == all_runs(study)


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_than_jobs_run_at_a_time(tmp_path: Path, study: Study, script: Script, jobs: int):
    script(f"sleep 0.15; {DONE}")
    seen: list[State] = []
    go(study, tmp_path / "study", jobs, seen.append)
    assert max(len(state.working) for state in seen) == jobs
    assert seen[-1].working == ()
    assert len(seen[-1].finished) == seen[-1].total_runs == 4


def test_runs_have_one_thread_each_whatever_the_shell_says(
    tmp_path: Path, study: Study, script: Script, monkeypatch: pytest.MonkeyPatch
):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "8")
    script(f'env > "$3/environment"; echo "$@" > "$3/arguments"; {DONE}')
    run_study(study, tmp_path / "study", 2, interval=0.02, device="cpu")
    for run in all_runs(study):
        folder = tmp_path / "study" / run
        found = dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines() if "=" in line)
        assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "1"
        assert found["USHAPE_DEVICE"] == "cpu"
        assert (folder / "arguments").read_text() == f"-m ushape.train.run {folder}\n"


@pytest.mark.parametrize(("device", "most"), [("cpu", 3), ("cuda", 1)])
def test_without_jobs_there_is_one_run_a_core_or_one_a_device(
    tmp_path: Path, study: Study, script: Script, monkeypatch: pytest.MonkeyPatch, device: str, most: int
):
    monkeypatch.setattr(pool, "cores", lambda: 3)
    script(f"sleep 0.1; {DONE}")
    seen: list[State] = []
    run_study(study, tmp_path / "study", None, seen.append, device, 0.02)
    assert max(len(state.working) for state in seen) == most


def test_an_interrupted_study_lets_its_runs_save_and_goes_on(tmp_path: Path, study: Study, script: Script):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    script('trap \'echo yes > "$3/saved"; exit 130\' INT; echo yes > "$3/ready"; while :; do sleep 0.02; done')

    def interrupt(state: State) -> None:
        if len(list((tmp_path / "study").rglob("ready"))) == 2:  # the traps are set
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(study, tmp_path / "study", 2, interrupt)
    assert sorted(p.parent.name for p in (tmp_path / "study").rglob("saved")) == ["fold1-seed0"] * 2
    script(DONE)
    go(study, tmp_path / "study")
    assert all(is_finished(tmp_path / "study" / run) for run in all_runs(study))


def test_ctrl_c_of_a_terminal_reaches_runs_once_through_the_study(tmp_path: Path, study: Study, script: Script):
    # a terminal interrupts its whole process group: a run in it would be interrupted twice, the second time while
    # it saves its state
    script(f'cut -d" " -f5 /proc/$$/stat > "$3/group"; {DONE}')
    go(study, tmp_path / "study")
    groups = {int((tmp_path / "study" / run / "group").read_text()) for run in all_runs(study)}
    assert os.getpgrp() not in groups


def test_progress_counts_steps_of_finished_runs_and_of_those_at_work(tmp_path: Path, study: Study, script: Script):
    script(f'printf "step,loss\\n1,2\\n2,1\\n3,1\\n" > "$3/log.csv"; {DONE}')
    seen: list[State] = []
    go(study, tmp_path / "study", 1, seen.append)
    assert sum(seen[-1].steps.values()) == 12
    assert seen[-1].failed == ()


@pytest.mark.parametrize(
    ("text", "step"), [(None, 0), ("", 0), ("step,loss\n", 0), ("step,loss\n7,0.5\n", 7), ("step,loss\n7,0.5\n8,", 8)]
)
def test_the_last_step_is_that_of_the_logs_last_row(tmp_path: Path, text: str | None, step: int):
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    assert last_step(tmp_path) == step


def test_the_last_step_of_a_long_log(tmp_path: Path):
    (tmp_path / "log.csv").write_text("step,loss\n" + "".join(f"{n},0.123456\n" for n in range(1, 5000)))
    assert last_step(tmp_path) == 4999


def test_a_run_that_finds_the_disk_full_can_still_say_so(tmp_path: Path, study: Study, script: Script):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    script(f"cat /dev/zero > {disk}/ballast 2> /dev/null; echo 'no room: free some space' >&2; exit 2")
    try:
        with pytest.raises(RunError, match="no room: free some space"):
            go(study, disk / "study")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_of_another_run_is_refused_before_anything_starts(tmp_path: Path, study: Study, script: Script):
    started = script(DONE)
    (tmp_path / "study" / all_runs(study)[3]).mkdir(parents=True)
    (tmp_path / "study" / all_runs(study)[3] / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is no run of ushape"):
        go(study, tmp_path / "study")
    assert not started.exists()


# -- real processes --------------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_runs_stop_and_save_when_the_process_that_started_them_is_killed(tmp_path: Path, make_study: Any):
    study = make_study(recipe=Recipe(crop=48, batch=2, shards=1, steps=100_000))
    run = tmp_path / "run"
    open_run(run, study.plan(next(iter(study.arms)), 1, 0))
    line = "import subprocess as s, sys; p = s.Popen(sys.argv[1:], stdout=s.DEVNULL); print(p.pid, flush=1); p.wait()"
    worker = [sys.executable, "-m", "ushape.train.run", str(run)]
    parent = subprocess.Popen([sys.executable, "-c", line, *worker], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    try:
        deadline = time.monotonic() + 120
        while last_step(run) < 3:
            assert time.monotonic() < deadline
            assert is_alive(pid)
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 60
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(pid), "still at work a minute after its parent was killed"
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    assert load_tensors(run / "state.safetensors")[1]["state"]
