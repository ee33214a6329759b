"""A pool of processes of one thread each, on this machine.

A job is a process of its own (`python -m MODULE FOLDER [PLUGIN...]`) that reads what to do from its folder, writes
its result there, goes on from its last state when it is started again, and stops when this process is gone. What is
finished is never run again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ushape.errors import RunError
from ushape.threads import cores


@dataclass(frozen=True)
class Job:
    """`python -m module folder plugins...`; `result` is the file in the folder that is there when it is finished."""

    folder: Path
    module: str
    result: str
    plugins: tuple[Path, ...] = ()

    @property
    def finished(self) -> bool:
        return (self.folder / self.result).exists()


@dataclass(frozen=True)
class State:
    """How far a study is: steps done of each run that has begun, and which are at work, finished or failed."""

    steps: dict[Path, int]
    working: tuple[Path, ...]
    finished: tuple[Path, ...]
    failed: tuple[Path, ...]
    total_runs: int


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    at_once: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
) -> None:
    """Run every job that is not finished, `at_once` at a time (None: one a core; one where the device is no CPU).

    `watch` is called every `interval` seconds. A job that fails does not stop the others; RunError at the end
    then names the first, by its folder inside `root`. On KeyboardInterrupt the jobs save their state and stop.
    """
    at_once = at_once or (cores() if device == "cpu" else 1)
    folders = [job.folder for job in jobs]
    waiting = [job for job in jobs if not job.finished]
    finished = [job.folder for job in jobs if job.finished]
    working: dict[Job, subprocess.Popen[bytes]] = {}
    failed: dict[Path, str] = {}
    said: dict[Job, IO[bytes]] = {}
    opened = ExitStack()
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                job = waiting.pop(0)
                # not in the study's folder: its disk may be full
                said[job] = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                working[job] = _start(job, device, said[job])
            time.sleep(interval)
            for job, process in list(working.items()):
                if process.poll() is not None:
                    del working[job]
                    if process.returncode == 0 and job.finished:
                        finished.append(job.folder)
                    else:
                        failed[job.folder] = _complaint(said[job], process.returncode)
            at_work = tuple(job.folder for job in working)
            steps = {f: last_step(f) for f in folders if f in at_work or f in finished}
            watch(State(steps, at_work, tuple(finished), tuple(failed), len(folders)))
    finally:
        _stop(working.values())
        opened.close()
    if failed:
        where, why = next(iter(failed.items()))
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(f"{len(failed)} of {len(folders)} runs failed; {where.relative_to(root)}: {why}{others}")


def last_step(run: Path) -> int:
    """The last step in a run's log; 0 where it has not begun."""
    try:
        with (run / "log.csv").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            lines = file.read().decode().splitlines()
        return int(lines[-1].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def _start(job: Job, device: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "USHAPE_DEVICE": device}
    command = [sys.executable, "-m", job.module, str(job.folder), *map(str, job.plugins)]
    # a group of its own: Ctrl-C of a terminal reaches a run once, through `_stop`
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said, process_group=0)


def _complaint(said: IO[bytes], code: int) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    killed = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return lines[-1] if lines else f"{killed}; start the same command again: it goes on"


def _stop(working: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask the runs to save and stop, and wait for them; those that do not within 30 s are killed."""
    import signal

    for process in (processes := list(working)):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
