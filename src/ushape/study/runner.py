"""Where runs run: a pool of processes of one thread each, on this machine, resumable at any point.

Every run is a process of its own (`python -m ushape.train.run FOLDER`) that reads its plan from its folder, writes
its results there, and stops when this process is gone. What is finished is never run again; what was interrupted
goes on from its last state.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ushape.errors import RunError
from ushape.nets.plugin import files
from ushape.study.design import Study
from ushape.threads import cores
from ushape.train.run import open_run


@dataclass(frozen=True)
class State:
    """How far a study is: steps done of each run that has begun, and which are at work, finished or failed."""

    steps: dict[Path, int]
    working: tuple[Path, ...]
    finished: tuple[Path, ...]
    failed: tuple[Path, ...]
    total_runs: int


def run_study(
    study: Study,
    folder: Path,
    jobs: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
) -> None:
    """Run everything that is not finished, `jobs` at a time (None: one a core; one where the device is no CPU).

    `watch` is called every `interval` seconds. A run that fails does not stop the others; RunError at the end
    then names the first. On KeyboardInterrupt the runs save their state and stop.
    """
    jobs = jobs or (cores() if device == "cpu" else 1)
    plugins = files(study.specs)
    folders = [folder / study.run_folder(*run) for run in study.runs()]
    for run, where in zip(study.runs(), folders, strict=True):
        open_run(where, study.plan(*run))
    waiting = [f for f in folders if not is_finished(f)]
    finished = [f for f in folders if is_finished(f)]
    working: dict[Path, subprocess.Popen[bytes]] = {}
    failed: dict[Path, str] = {}
    said: dict[Path, IO[bytes]] = {}
    opened = ExitStack()
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                where = waiting.pop(0)
                # not in the study's folder: its disk may be full
                said[where] = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                working[where] = _start(where, device, said[where], plugins)
            time.sleep(interval)
            for where, process in list(working.items()):
                if process.poll() is not None:
                    del working[where]
                    if process.returncode == 0 and is_finished(where):
                        finished.append(where)
                    else:
                        failed[where] = _complaint(said[where], process.returncode)
            steps = {f: last_step(f) for f in folders if f in working or f in finished}
            watch(State(steps, tuple(working), tuple(finished), tuple(failed), len(folders)))
    finally:
        _stop(working)
        opened.close()
    if failed:
        where, why = next(iter(failed.items()))
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(f"{len(failed)} of {len(folders)} runs failed; {where.relative_to(folder)}: {why}{others}")


def is_finished(run: Path) -> bool:
    """Whether a run of a study has trained and scored its test ROIs."""
    return (run / "rois.json").exists()


def last_step(run: Path) -> int:
    """The last step in a run's log; 0 where it has not begun."""
    try:
        with (run / "log.csv").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            lines = file.read().decode().splitlines()
        return int(lines[-1].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def _start(run: Path, device: str, said: IO[bytes], plugins: list[Path]) -> subprocess.Popen[bytes]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "USHAPE_DEVICE": device}
    command = [sys.executable, "-m", "ushape.train.run", str(run), *map(str, plugins)]
    # a group of its own: Ctrl-C of a terminal reaches a run once, through `_stop`
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said, process_group=0)


def _complaint(said: IO[bytes], code: int) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    killed = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return lines[-1] if lines else f"{killed}; start the same command again: it goes on"


def _stop(working: dict[Path, subprocess.Popen[bytes]]) -> None:
    """Ask the runs to save and stop, and wait for them; those that do not within 30 s are killed."""
    import signal

    for process in working.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in working.values():
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
