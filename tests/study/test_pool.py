"""The pool of jobs. Most tests put a shell script in the place of the process that trains."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ushape.errors import RunError
from ushape.interrupts import PARENT
from ushape.study import pool
from ushape.study.memory import RESERVE
from ushape.study.pool import Job, State, last_step, run_jobs

DONE = 'echo "{}" > "$3/rois.json"'
GIB = 2**30

Script = Callable[[str], Path]


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Four jobs of two kinds in turn: a/1, b/1, a/2, b/2 of the study's folder."""
    return [make(tmp_path / "study" / kind / number, kind) for number in "12" for kind in "ab"]


def make(folder: Path, kind: str = "") -> Job:
    folder.mkdir(parents=True)
    return Job(folder, "some.module", "rois.json", kind=kind)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Say how many GiB are free; enough for every test that is not about it."""

    def free(gib: float) -> None:
        monkeypatch.setattr(pool, "available", lambda: int(gib * GIB))

    free(1000)
    return free


def go(jobs: list[Job], at_once: int = 1, watch: Callable[[State], None] = lambda state: None) -> None:
    run_jobs(jobs, jobs[0].folder.parents[1], at_once, watch, interval=0.02)


def names(jobs: list[Job]) -> list[str]:
    return ["/".join(job.folder.parts[-2:]) for job in jobs]


def started_by(script: Path) -> list[str]:
    return ["/".join(line.split("/")[-2:]) for line in script.read_text().splitlines()]


def test_every_job_is_started_once_in_order(jobs: list[Job], script: Script):
    started = script(DONE)
    go(jobs)
    assert started_by(started) == names(jobs) == ["a/1", "b/1", "a/2", "b/2"]


def test_finished_jobs_are_not_run_again(jobs: list[Job], script: Script):
    started = script(DONE)
    go(jobs)
    (jobs[2].folder / "rois.json").unlink()
    started.unlink()
    go(jobs)
    assert started_by(started) == ["a/2"]


def test_a_failed_job_is_reported_with_its_message_and_the_others_finish(jobs: list[Job], script: Script):
    failing = 'echo noise >&2; echo "the mask is gone: bring it" >&2; exit 2'
    script(f'case "$3" in *b/1*) {failing};; esac; {DONE}')
    with pytest.raises(RunError) as caught:
        go(jobs)
    assert str(caught.value) == "1 of 4 runs failed; b/1: the mask is gone: bring it"
    assert [job.finished for job in jobs] == [True, False, True, True]


def test_a_job_waits_for_the_one_that_it_comes_after_while_others_go_first(jobs: list[Job], script: Script):
    jobs[1] = replace(jobs[1], after=jobs[0].folder)
    waits = 'while [ ! -f "$3/../../b/2/rois.json" ]; do sleep 0.02; done'
    started = script(f'case "$3" in *a/1*) {waits};; esac; {DONE}')
    begun: list[Job] = []
    run_jobs(jobs, jobs[0].folder.parents[1], 2, interval=0.02, begin=begun.append)
    assert started_by(started) == names(begun) == ["a/1", "a/2", "b/2", "b/1"]


def test_a_job_is_done_though_the_one_before_it_fails(jobs: list[Job], script: Script):
    jobs[1] = replace(jobs[1], after=jobs[0].folder)
    started = script(f'case "$3" in *a/1*) echo no >&2; exit 2;; esac; {DONE}')
    with pytest.raises(RunError, match="1 of 4 runs failed"):
        go(jobs)
    assert started_by(started) == names(jobs)
    assert jobs[1].finished


def test_several_failures_are_counted(jobs: list[Job], script: Script):
    script("echo no >&2; exit 2")
    with pytest.raises(RunError, match=r"4 of 4 runs failed; .*: no \(and 3 more\)"):
        go(jobs)


def test_a_job_that_was_killed_is_told_with_the_remedy(jobs: list[Job], script: Script):
    script("echo a warning >&2; kill -9 $$")
    with pytest.raises(RunError, match="killed by signal 9; start the same command again"):
        go(jobs)


def test_a_job_that_ends_well_without_a_result_has_failed(jobs: list[Job], script: Script):
    script("exit 0")
    with pytest.raises(RunError, match="4 of 4 runs failed"):
        go(jobs)


def test_jobs_that_failed_are_tried_again(jobs: list[Job], script: Script):
    script("exit 2")
    with pytest.raises(RunError):
        go(jobs)
    started = script(DONE)
    started.unlink()
    go(jobs)
    assert started_by(started) == names(jobs)


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_than_asked_for_run_at_a_time(jobs: list[Job], script: Script, at_once: int):
    script(f"sleep 0.15; {DONE}")
    seen: list[State] = []
    go(jobs, at_once, seen.append)
    assert max(len(state.working) for state in seen) == at_once
    assert seen[-1].working == ()
    assert len(seen[-1].finished) == seen[-1].total_runs == 4
    assert {state.note for state in seen} == {""}


def test_jobs_have_one_thread_each_whatever_the_shell_says(
    jobs: list[Job], script: Script, monkeypatch: pytest.MonkeyPatch
):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "8")
    script(f'env > "$3/environment"; echo "$@" > "$3/arguments"; {DONE}')
    go(jobs, 2)
    for job in jobs:
        lines = (job.folder / "environment").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "1"
        assert found["USHAPE_DEVICE"] == "cpu"
        assert found[PARENT] == str(os.getpid())
        assert (job.folder / "arguments").read_text() == f"-m some.module {job.folder}\n"


@pytest.mark.parametrize(("device", "most"), [("cpu", 3), ("cuda", 1)])
def test_unless_told_there_is_one_job_a_core_or_one_a_device(
    jobs: list[Job], script: Script, monkeypatch: pytest.MonkeyPatch, device: str, most: int
):
    monkeypatch.setattr(pool, "cores", lambda: 3)
    script(f"sleep 0.1; {DONE}")
    seen: list[State] = []
    run_jobs(jobs, jobs[0].folder.parents[1], None, seen.append, device, 0.02)
    assert max(len(state.working) for state in seen) == most


def test_interrupted_jobs_save_and_go_on(jobs: list[Job], script: Script):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    script('trap \'echo yes > "$3/saved"; exit 130\' INT; echo yes > "$3/ready"; while :; do sleep 0.02; done')

    def interrupt(state: State) -> None:
        if sum((job.folder / "ready").exists() for job in jobs) == 2:  # the traps are set
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(jobs, 2, interrupt)
    assert [(job.folder / "saved").exists() for job in jobs] == [True, True, False, False]
    script(DONE)
    go(jobs)
    assert all(job.finished for job in jobs)


def test_ctrl_c_of_a_terminal_reaches_jobs_once_through_the_pool(jobs: list[Job], script: Script):
    # a terminal interrupts its whole process group: a run in it would be interrupted twice, the second time while
    # it saves its state
    script(f'ps -o pgid= -p $$ > "$3/group"; {DONE}')
    go(jobs)
    assert os.getpgrp() not in {int((job.folder / "group").read_text()) for job in jobs}


def test_progress_counts_steps_of_finished_jobs_and_of_those_at_work(jobs: list[Job], script: Script):
    script(f'printf "step,loss\\n1,2\\n2,1\\n3,1\\n" > "$3/log.csv"; {DONE}')
    seen: list[State] = []
    go(jobs, 1, seen.append)
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


def test_a_job_that_finds_the_disk_full_can_still_say_so(tmp_path: Path, script: Script):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    script(f"cat /dev/zero > {disk}/ballast 2> /dev/null; echo 'no room: free some space' >&2; exit 2")
    try:
        with pytest.raises(RunError, match="no room: free some space"):
            go([make(disk / "study" / "a" / "1")])
    finally:
        subprocess.run(["umount", disk], check=True)


# -- memory ----------------------------------------------------------------------------------------------------------

STEPS = 'sleep 0.1; printf "step,loss\\n1,2\\n" > "$3/log.csv"; sleep 0.2; echo "{}" > "$3/rois.json"'


def at_work(jobs: list[Job], at_once: int) -> list[State]:
    seen: list[State] = []
    go(jobs, at_once, seen.append)
    assert len(seen[-1].finished) == 4
    return seen


def test_jobs_of_which_nothing_is_known_start_only_where_there_is_plenty(
    jobs: list[Job], script: Script, memory: Callable[[float], None]
):
    script(f"sleep 0.15; {DONE}")  # never a step
    memory(2 * 2 + RESERVE / GIB + 0.1)
    seen = at_work(jobs, 4)
    assert max(len(state.working) for state in seen) == 2
    notes = {state.note for state in seen} - {""}
    assert notes
    assert all(note.startswith("memory, not cores, limits: ") and "may need 2.0" in note for note in notes)


def test_what_jobs_need_is_learnt_from_those_at_work(
    jobs: list[Job], script: Script, memory: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
):
    script(STEPS)
    monkeypatch.setattr(pool, "own_memory", lambda process: GIB // 4)
    memory(2.6)  # not for two of unknown need; for many of a quarter GiB
    alike = [Job(job.folder, job.module, job.result) for job in jobs]
    seen = at_work(alike, 4)
    assert len(seen[0].working) == 1
    assert max(len(state.working) for state in seen) > 1


def test_steps_of_before_show_nothing_of_what_a_job_needs_that_goes_on(
    jobs: list[Job], script: Script, memory: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
):
    script(f"sleep 0.1; {DONE}")
    monkeypatch.setattr(pool, "own_memory", lambda process: GIB // 100)  # it has loaded nothing yet
    memory(2.6)
    alike = [Job(job.folder, job.module, job.result) for job in jobs]
    for job in alike:
        (job.folder / "log.csv").write_text("step,loss\n1,2\n")
    assert max(len(state.working) for state in at_work(alike, 4)) == 1


def test_a_job_that_cannot_be_begun_has_failed_and_the_others_go_on(jobs: list[Job], script: Script):
    def begin(job: Job) -> None:
        if job == jobs[1]:
            raise OSError(28, "No space left on device")

    started = script(DONE)
    with pytest.raises(RunError, match=r"1 of 4 runs failed; b/1: .*No space left"):
        run_jobs(jobs, jobs[0].folder.parents[1], 1, interval=0.02, begin=begin)
    assert started_by(started) == ["a/1", "a/2", "b/2"]


def test_progress_counts_what_is_taken_over_from_another_job_once(jobs: list[Job], script: Script):
    script(f'printf "step,loss\\n1,2\\n2,1\\n" > "$3/log.csv"; {DONE}')
    seen: list[State] = []
    go([jobs[0], replace(jobs[1], after=jobs[0].folder), *jobs[2:]], 1, seen.append)
    assert seen[-1].trainings == 3
    assert sum(seen[-1].steps.values()) == 6
    assert len(seen[-1].finished) == seen[-1].total_runs == 4


def test_what_jobs_at_work_may_still_come_to_need_is_kept_for_them(
    jobs: list[Job], script: Script, memory: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
):
    script(STEPS)
    held: dict[int, int] = {}
    # every process but the first holds little yet: it has just begun
    monkeypatch.setattr(pool, "own_memory", lambda process: held.setdefault(process, 4 * GIB if not held else 0))
    memory(11)  # beside the first: one that will come to 5 GiB, not two
    alike = [Job(job.folder, job.module, job.result) for job in jobs]
    assert max(len(state.working) for state in at_work(alike, 4)) == 2


def test_one_job_runs_however_little_memory_there_is(jobs: list[Job], script: Script, memory: Callable[[float], None]):
    script(DONE)
    memory(0)
    assert max(len(state.working) for state in at_work(jobs, 4)) <= 1


def test_when_memory_runs_short_the_last_started_job_saves_and_waits_its_turn(
    jobs: list[Job], script: Script, memory: Callable[[float], None]
):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = script(
        f'trap \'echo yes > "$3/saved"; exit 130\' INT; echo yes > "$3/ready"\n'
        f'test -e "$3/saved" || for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.05; done; {DONE}'
    )

    def watch(state: State) -> None:
        both = all((job.folder / "ready").exists() for job in jobs[:2])
        memory(0.1 if both and len(state.working) == 2 else 100 if not both else 1)

    go(jobs, 2, watch)
    assert all(job.finished for job in jobs)
    assert [(job.folder / "saved").exists() for job in jobs[:2]] == [False, True]
    *both, third = started_by(started)[:3]
    assert sorted(both) == ["a/1", "b/1"]  # side by side: either shell may be the first to say so
    assert third == "b/1"
