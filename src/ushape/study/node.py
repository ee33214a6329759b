"""One job on another machine: what `ushape.study.cluster` has a node do.

A node shares no disk with the machine that the study lies on. The job's files come as bytes into a folder of the
node's own, and what the job changes there goes back as bytes. ROIs come once and stay in the node's cache. Imports no
torch: that is the job's process's own affair.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from ushape.files import cache_folder, replacing
from ushape.study.memory import own_memory
from ushape.study.pool import Job, Process, last_step
from ushape.train.places import DATA_AT, STATE
from ushape.versions import code, versions


@dataclass(frozen=True)
class Look:
    """How a job on a node is: whether it has ended and with what complaint, its last step, its own memory in bytes.

    `files`: those changed since the last look that asked for them, name -> (stamp, content); `present`: all names.
    """

    ended: bool
    complaint: str
    step: int
    own: int
    files: dict[str, tuple[int, bytes]]
    present: tuple[str, ...]


ASK = "import sys, torch, ushape.nets.device as d; print(d.pick_precision('auto', torch.device(sys.argv[1])))"
"""Python that prints the precision that a device computes fast."""


def here() -> dict[str, str]:
    """Versions of all that decides a result, and of what nodes say to each other."""
    return versions() | {"study's code": code(["study"])}


class Node:
    """A node's part of one job. Its methods are called from another machine, one at a time."""

    def meet(self, precision: str, device: str) -> dict[str, str]:
        """The versions here, and the `precision` of a job here: float32 where bf16 would only be imitated."""
        if precision == "bf16":
            asked = subprocess.run([sys.executable, "-c", ASK, device], capture_output=True, text=True, check=True)
            precision = asked.stdout.strip()
        return here() | {"precision": precision}

    def missing(self, key: str, files: dict[str, int]) -> list[str]:
        """Which files (name -> bytes) of a data folder, known by `key`, are not in this node's cache."""
        at = _sent(key)
        return [name for name, size in files.items() if not (at / name).exists() or (at / name).stat().st_size != size]

    def receive(self, key: str, name: str, content: bytes) -> None:
        """Keep a file of a data folder."""
        with replacing(_sent(key) / name) as temporary:
            temporary.write_bytes(content)

    def begin(
        self, job: Job, files: dict[str, bytes], plugins: dict[str, bytes], data: dict[str, str], device: str
    ) -> None:
        """Start the job from its files. `data`: folders of ROIs as the job names them -> their keys."""
        scratch = cache_folder() / "jobs"
        for old in scratch.glob("[0-9]*"):  # of nodes that were killed
            if not psutil.pid_exists(int(old.name)):
                shutil.rmtree(old, ignore_errors=True)
        self._job, self._scratch = job, scratch / str(os.getpid())
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._folder = self._scratch / "run"
        self._places = {folder: str(_sent(key)) for folder, key in data.items()}
        for name, content in files.items():
            _write(self._folder / name, content)
        for name, content in plugins.items():
            _write(self._scratch / "plugins" / name, content)
        self._seen = {name: _stamp(self._folder / name) for name in files}
        where = [self._scratch / "plugins" / name for name in plugins]
        self._process = Process(job, self._folder, where, device, {DATA_AT: json.dumps(self._places)})
        self._complaint: str | None = None

    def look(self, with_files: bool) -> Look:
        """How the job is. Files come with it when asked for, and when it has ended."""
        if self._complaint is None and self._process.has_ended:
            self._complaint = self._process.complaint().replace(str(self._folder), str(self._job.folder))
            for named, lies in self._places.items():
                self._complaint = self._complaint.replace(lies, named)
        ended = self._complaint is not None
        names = sorted(  # the state first: what logs say beyond it is cut back when a run goes on from it
            (p.relative_to(self._folder).as_posix() for p in self._folder.rglob("*") if p.is_file()),
            key=lambda name: (not name.endswith(STATE), name),
        )
        names = [n for n in names if not n.endswith(".part") and (ended or n != self._job.result)]
        files = {}
        for name in names if with_files or ended else ():
            try:
                stamp = _stamp(self._folder / name)
                if stamp != self._seen.get(name):
                    files[name] = stamp, (self._folder / name).read_bytes()
            except FileNotFoundError:  # the job has replaced or removed it meanwhile
                continue
        self._seen |= {name: stamp for name, (stamp, _) in files.items()}
        own = 0 if ended else own_memory(self._process.id)
        return Look(ended, self._complaint or "", last_step(self._folder), own, files, tuple(names))

    def interrupt(self) -> None:
        """Ask the job to save its state and stop."""
        self._process.interrupt()

    def close(self) -> None:
        """End the job, if it has not ended, and forget its files."""
        if self._complaint is None:
            self._process.end()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _sent(key: str) -> Path:
    return cache_folder() / "sent" / key


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns
