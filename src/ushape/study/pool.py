"""Jobs, the loop that has them done, and the engine that does them in processes of this machine.

A job is a process of its own, of one thread (`python -m MODULE FOLDER [PLUGIN...]`), that reads what to do from its
folder, writes its result there, goes on from its last state when it is started again, and stops when this process is
gone. What is finished is never run again. `ushape.study.cluster` is the engine for several machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Protocol

from ushape.errors import RunError, UshapeError
from ushape.interrupts import PARENT
from ushape.study.memory import RESERVE, Needs, available, own_memory
from ushape.threads import cores
from ushape.train.places import LOG, leave

TICK = 0.02
"""Seconds between two looks whether a process has ended."""
AGAIN = 2.0
"""Seconds after which a job that does not stop is asked again."""


@dataclass(frozen=True)
class Job:
    """`python -m module folder plugins...`; `result` is the file in the folder that is there when it is finished.

    `data`: folders of ROIs that the job reads, for engines that must bring them to another machine. `kind`: jobs of
    one kind need about the same memory. `precision`: what the machine has to compute (`float32`: any does).
    `after`: the folder of a job that it waits for, be it finished or failed then.
    """

    folder: Path
    module: str
    result: str
    plugins: tuple[Path, ...] = ()
    data: tuple[Path, ...] = ()
    kind: str = ""
    precision: str = "float32"
    after: Path | None = None

    @property
    def finished(self) -> bool:
        return (self.folder / self.result).exists()


@dataclass(frozen=True)
class State:
    """How far a study is: steps done of each run that has begun, and which are at work, finished or failed.

    `steps` counts no job that waits for another one: it takes over what that has done. `trainings`: how many do not.
    `note`: what holds it up, where something but the number of cores does.
    """

    steps: dict[Path, int]
    working: tuple[Path, ...]
    finished: tuple[Path, ...]
    failed: tuple[Path, ...]
    total_runs: int
    trainings: int
    note: str = ""


@dataclass(frozen=True)
class Ended:
    """A job that is no longer at work: finished, or failed with a complaint, or to be started `again`."""

    job: Job
    complaint: str = ""
    again: bool = False


class Engine(Protocol):
    """Where jobs are done."""

    note: str
    """What keeps it from starting another job, where that is not the number of cores."""

    def room(self, job: Job) -> bool:
        """Whether the job can be started now. With nothing at work it must become so."""

    def start(self, job: Job) -> None: ...

    def ended(self, seconds: float) -> list[Ended]:
        """Jobs that have ended since the last call; waits so long for one."""

    def stop(self) -> None:
        """Have what is at work save its state and end; let go of everything."""


MakeEngine = Callable[[int | None, str], Engine]
"""Makes an engine from the largest number of jobs at a time (None: as many as it finds right) and a device."""


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    at_once: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
    interval: float = 0.5,
    make_engine: MakeEngine | None = None,
    begin: Callable[[Job], None] = lambda job: None,
) -> None:
    """Run every job that is not finished, `at_once` at a time (None: as many as the engine finds right).

    `watch` is called at least every `interval` seconds. A job that fails does not stop the others; RunError at the
    end then names the first, by its folder inside `root`. On KeyboardInterrupt the jobs save their state and stop.
    `make_engine` makes the engine from `at_once` and `device`; None: `Local`. `begin` is called before a job starts,
    which fails where that does.
    """
    waiting = [job for job in jobs if not job.finished]
    finished = [job.folder for job in jobs if job.finished]
    training = [job.folder for job in jobs if job.after is None]
    steps = {folder: last_step(folder) for folder in finished}
    working: list[Job] = []
    failed: dict[Path, str] = {}
    engine = (make_engine or Local)(at_once, device)
    try:
        while waiting or working:
            while (job := _next(waiting, working)) and engine.room(job):
                waiting.remove(job)
                try:
                    begin(job)
                except (UshapeError, OSError) as error:
                    failed[job.folder] = str(error)
                    leave(job.folder, failed[job.folder])
                    continue
                working.append(job)
                engine.start(job)
            for each in engine.ended(interval):
                working.remove(each.job)
                if each.again:
                    waiting.insert(0, each.job)
                elif each.complaint:
                    failed[each.job.folder] = each.complaint
                else:
                    finished.append(each.job.folder)
                    steps[each.job.folder] = last_step(each.job.folder)
            at_work = tuple(job.folder for job in working)
            now = steps | {folder: last_step(folder) for folder in at_work}
            shown = {folder: now[folder] for folder in training if folder in now}
            watch(State(shown, at_work, tuple(finished), tuple(failed), len(jobs), len(training), engine.note))
    finally:
        engine.stop()
    if failed:
        where, why = next(iter(failed.items()))
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(f"{len(failed)} of {len(jobs)} runs failed; {where.relative_to(root)}: {why}{others}")


def _next(waiting: Sequence[Job], working: Sequence[Job]) -> Job | None:
    """The first that waits for no other one."""
    pending = {job.folder for job in (*waiting, *working)}
    return next((job for job in waiting if job.after not in pending), None)


def last_step(run: Path) -> int:
    """The last step in a run's log; 0 where it has not begun."""
    try:
        with (run / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            lines = file.read().decode().splitlines()
        return int(lines[-1].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


class Local:
    """Processes of this machine: `at_once`, or one a core (one in all where the device is no CPU), if memory allows.

    Another job is started only when what it may need, and what those at work may still come to need, is free in this
    machine or its control group (see `ushape.study.memory`); one is always at work. Should memory run short all the
    same, the job that was started last saves its state, stops, and waits for its turn again.
    """

    def __init__(self, at_once: int | None, device: str) -> None:
        self.at_once, self.device = at_once or (cores() if device == "cpu" else 1), device
        self.note = ""
        self._needs = Needs()
        self._working: dict[Job, Process] = {}
        self._begun: dict[Job, int] = {}
        self._stopped: set[Job] = set()

    def room(self, job: Job) -> bool:
        self.note = ""
        growth = 0
        for each, process in self._working.items():
            own = own_memory(process.id)
            self._needs.saw(each.kind, own, last_step(each.folder) > self._begun[each])
            growth += max(0, self._needs.of(each.kind) - own)
        if not self._working:
            return True
        if len(self._working) >= self.at_once:
            return False
        free, need = available() - RESERVE - growth, self._needs.of(job.kind)
        if free < need:
            self.note = f"memory, not cores, limits: {max(0, free) / 2**30:.1f} GiB to spare, a run may need "
            self.note += f"{need / 2**30:.1f}"
        return free >= need

    def start(self, job: Job) -> None:
        self._begun[job] = last_step(job.folder)
        self._working[job] = Process(job, job.folder, job.plugins, self.device)

    def ended(self, seconds: float) -> list[Ended]:
        if len(self._working) > 1 and available() < RESERVE / 2 and not self._stopped:
            last = next(reversed(self._working))
            self._working[last].interrupt()
            self._stopped.add(last)
        until = time.monotonic() + seconds
        while not (done := [job for job, process in self._working.items() if process.has_ended]):
            if time.monotonic() >= until:
                break
            time.sleep(min(TICK, seconds))
        ended = []
        for job in done:
            complaint = self._working.pop(job).complaint()
            stopped = job in self._stopped
            self._stopped.discard(job)
            ended.append(Ended(job, again=True) if stopped and not job.finished else Ended(job, complaint))
        return ended

    def stop(self) -> None:
        stop_all(list(self._working.values()))


class Process:
    """A job's process. `folder` and `plugins` are the job's, or where they lie on this machine."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        plugins: Sequence[Path],
        device: str,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "USHAPE_DEVICE": device, PARENT: str(os.getpid()), **more}
        command = [sys.executable, "-m", job.module, str(folder), *map(str, plugins)]
        self._result = folder / job.result
        # not in the study's folder: its disk may be full
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # a group of its own: Ctrl-C of a terminal reaches a run once, through `stop_all`
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=self._said, process_group=0
        )

    @property
    def id(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def complaint(self) -> str:
        """Of a process that has ended: what went wrong, in a line; empty where nothing did."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        code = self._process.returncode
        if code == 0 and self._result.exists():
            return ""
        if lines and code > 0:
            return lines[-1]
        killed = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{killed}; start the same command again: it goes on"

    def interrupt(self) -> None:
        """Ask it to save its state and stop."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Kill it where it has not ended."""
        if not self.has_ended:
            self._process.kill()
            self._process.wait()
        self._said.close()


def stop_all(processes: Sequence[Process], seconds: float = 30) -> None:
    """Ask processes to save and stop, and wait for them; those that do not in time are killed.

    They are asked again and again: one that has just begun may have let the first time pass.
    """
    deadline, again = time.monotonic() + seconds, 0.0
    while (alive := [p for p in processes if not p.has_ended]) and time.monotonic() < deadline:
        if time.monotonic() >= again:
            again = time.monotonic() + AGAIN
            for process in alive:
                process.interrupt()
        time.sleep(TICK)
    for process in processes:
        process.end()
