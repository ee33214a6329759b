"""The engine for several machines: jobs on the nodes of a Ray cluster that is running already.

Each job is the same process of one thread as on this machine, on whatever node has a free core. Nodes need the same
versions of everything, and no disk in common: a job's files, its plugins and, once a node, its ROIs are sent there;
what the job changes comes back every few seconds, and all of it when it ends. So the study's folder is written by
this machine alone, and a node that is cut off cannot disturb it.

A node that dies takes nothing along but the steps since the last state that came back: its jobs are started again on
another node from there. Deaths of this machine or of the cluster's head end the command; the same command goes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ushape.data.rois import MASK_FOLDER, image_files, image_folder
from ushape.errors import RunError
from ushape.files import replacing
from ushape.locks import holding
from ushape.study.memory import Needs
from ushape.study.node import Look, Node, here
from ushape.study.pool import AGAIN, Ended, Job, MakeEngine, last_step
from ushape.train.places import STATE

BRING = 5.0
"""Seconds between two times that the files of a job at work are brought here."""
LOSSES = 3
"""A job that loses its node so often without having come further fails: it is what kills them."""


@dataclass
class _Remote:
    """A job on a node, or waiting for one: the call that is being answered, and when files last came."""

    node: Any
    answer: Any
    begun: bool = False
    brought: float = field(default_factory=time.monotonic)
    had: set[str] = field(default_factory=set)
    step: int = 0
    """At which it began."""
    held: ExitStack = field(default_factory=ExitStack)
    """The job's run.yaml, as its process holds it on the node."""


class Cluster:
    """The nodes of the Ray cluster at an address; `at_once` jobs, or one a core (one a GPU where that is the device).

    RunError where there is no such cluster, or where a node's versions are not the ones here, or it does not compute
    a job's precision. Ray holds back a job until a node has the memory that it is expected to need.
    """

    def __init__(self, address: str, at_once: int | None, device: str) -> None:
        self.at_once, self.device, self.note = at_once, device, ""
        self._ray = _connect(address)
        self._here = here()
        self._needs = Needs()
        self._remotes: dict[Job, _Remote] = {}
        self._losses: dict[Job, tuple[int, int]] = {}
        self._sent: dict[Path, tuple[str, dict[str, Path]]] = {}

    # -- what the loop asks for ---------------------------------------------------------------------------------

    def room(self, job: Job) -> bool:
        kind = "CPU" if self.device == "cpu" else "GPU"
        places = int(sum(node["Resources"].get(kind, 0) for node in self._nodes()))
        waiting = sum(not remote.begun for remote in self._remotes.values())
        self.note = f"{waiting} of them waiting for a node with a {kind} and memory to spare" if waiting else ""
        if not places:
            self.note = f"no node of the cluster has a {kind}"
        return len(self._remotes) < min(places, self.at_once or places)

    def start(self, job: Job) -> None:
        held = ExitStack()
        held.enter_context(holding(job.folder / "run.yaml"))
        largest = max((int(node["Resources"].get("memory", 0)) for node in self._nodes()), default=0)
        kind = self._ray.remote(Node)
        node = kind.options(
            num_cpus=1,
            num_gpus=0 if self.device == "cpu" else 1,
            memory=min(self._needs.of(job.kind), largest),
            max_restarts=0,
        ).remote()
        self._remotes[job] = _Remote(node, node.meet.remote(job.precision, self.device), held=held)

    def ended(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        for remote in self._remotes.values():
            if remote.answer is None:
                with_files = time.monotonic() - remote.brought > BRING
                remote.answer = remote.node.look.remote(with_files)
        ready = self._answers(seconds)
        made = [each for job in ready if (each := self._heard(job)) is not None]
        for each in made:
            self._forget(each.job)
        if not made:
            time.sleep(max(0.0, until - time.monotonic()))
        return made

    def stop(self) -> None:
        """Have what is at work save its state, bring it here, and leave the cluster as it was."""
        try:
            for job in [job for job, remote in self._remotes.items() if not remote.begun]:
                self._forget(job)
            deadline, again = time.monotonic() + 35, 0.0
            while self._remotes and time.monotonic() < deadline:
                if time.monotonic() >= again:
                    again = time.monotonic() + AGAIN
                    for remote in self._remotes.values():
                        remote.node.interrupt.remote()
                self.ended(0.2)
        finally:
            for job in list(self._remotes):
                self._forget(job)
            self._ray.shutdown()

    # -- one job ------------------------------------------------------------------------------------------------

    def _answers(self, seconds: float) -> list[Job]:
        """Jobs whose node has answered, or died, within some seconds."""
        if not self._remotes:
            return []
        calls = {remote.answer: job for job, remote in self._remotes.items()}
        ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=seconds)
        return [calls[each] for each in ready]

    def _heard(self, job: Job) -> Ended | None:
        """Take a node's answer and act on it; what became of the job if it is no longer at work."""
        remote = self._remotes[job]
        try:
            answer = self._ray.get(remote.answer)
            remote.answer = None
            if not remote.begun:
                self._begin(job, remote, answer)
                return None
        except self._ray.exceptions.RayActorError as error:
            return self._lost(job, error)
        except self._ray.exceptions.RayTaskError as error:
            raise RunError(f"a node cannot do the study's work: {str(error).strip().splitlines()[-1]}") from error
        self._take(job, remote, answer)
        return Ended(job, answer.complaint) if answer.ended else None

    def _begin(self, job: Job, remote: _Remote, there: dict[str, str]) -> None:
        for name, version in self._here.items():
            if there.get(name) != version:
                raise RunError(
                    f"a node of the cluster has {name} {there.get(name)}, but here it is {version}: install the same "
                    "on all nodes"
                )
        if there["precision"] != job.precision:
            raise RunError(
                f"a node of the cluster does not compute {job.precision} itself, in which {job.folder} is computed: "
                "take that node out of the cluster, or begin another study with --set precision=float32"
            )
        data = {}
        for folder in job.data:
            key, files = self._rois(folder)
            sizes = {name: path.stat().st_size for name, path in files.items()}
            for name in self._ray.get(remote.node.missing.remote(key, sizes)):
                self._ray.get(remote.node.receive.remote(key, name, files[name].read_bytes()))
            data[str(folder.resolve())] = key
        own = {
            path.relative_to(job.folder).as_posix(): path.read_bytes()
            for path in job.folder.rglob("*")
            if path.is_file() and not path.name.endswith(".part")
        }
        plugins = {path.name: path.read_bytes() for path in job.plugins}
        self._ray.get(remote.node.begin.remote(job, own, plugins, data, self.device))
        remote.begun, remote.had, remote.step = True, set(own), last_step(job.folder)

    def _take(self, job: Job, remote: _Remote, look: Look) -> None:
        """Write what came from a node into the job's folder, in an order that a kill at any time can do no harm to.

        Logs before the state that they must not fall short of; the result last, when all else is there.
        """
        if not look.ended:
            self._needs.saw(job.kind, look.own, look.step > remote.step)
        last = (STATE, job.result)
        for name in sorted(look.files, key=lambda name: (name == job.result, name.endswith(last))):
            with replacing(job.folder / name) as temporary:
                temporary.write_bytes(look.files[name][1])
        if look.files or look.ended:
            remote.brought = time.monotonic()
            for name in remote.had - set(look.present) - {job.result}:
                (job.folder / name).unlink(missing_ok=True)
            remote.had |= set(look.present)

    def _lost(self, job: Job, error: Exception) -> Ended:
        losses, before = self._losses.get(job, (0, -1))
        step = last_step(job.folder)
        losses = losses + 1 if step <= before else 1
        self._losses[job] = losses, step
        if losses < LOSSES:
            return Ended(job, again=True)
        why = str(error).strip().splitlines()[0]
        return Ended(job, f"its node was lost {losses} times at step {step}, where it had begun: {why}")

    def _forget(self, job: Job) -> None:
        remote = self._remotes.pop(job)
        with suppress(Exception):  # a node that is gone has nothing to close
            if remote.begun:
                self._ray.get(remote.node.close.remote(), timeout=5)
        with suppress(Exception):
            self._ray.kill(remote.node)
        remote.held.close()

    # -- the cluster --------------------------------------------------------------------------------------------

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _rois(self, folder: Path) -> tuple[str, dict[str, Path]]:
        """Key and files of a folder of ROIs; another content has another key."""
        if folder not in self._sent:
            parts = image_folder(folder), folder / MASK_FOLDER
            files = {f"{part.name}/{path.name}": path for part in parts for path in image_files(part).values()}
            digest = hashlib.sha256(str(folder.resolve()).encode())
            for name, path in files.items():
                digest.update(f"{name}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\0".encode())
            self._sent[folder] = digest.hexdigest()[:24], files
        return self._sent[folder]


def pick_engine(name: str, address: str | None) -> MakeEngine | None:
    """The engine that --engine and --address ask for; None: this machine's. RunError where they do not go together."""
    if name == "local":
        if address is not None:
            raise RunError(f"--address {address} has no effect without --engine ray")
        return None
    if address is None:
        raise RunError("--engine ray: give the cluster's --address, as `ray start --head` prints it")
    made: Callable[[int | None, str], Cluster] = lambda at_once, device: Cluster(address, at_once, device)  # noqa: E731
    return made


def _connect(address: str) -> ModuleType:
    """Ray, connected to a cluster of which this machine is a node."""
    # nothing is reported to anybody, and jobs see the GPUs that the node has
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise RunError("--engine ray needs the library ray: pip install 'ushape[ray]'") from error
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise RunError(f"--address {address}: write HOST:PORT, as `ray start --head` prints it")
    before = signal.getsignal(signal.SIGTERM)
    try:
        socket.create_connection((host, int(port)), timeout=10).close()  # Ray would try for minutes
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, OverflowError, RuntimeError, ValueError, AssertionError) as error:
        raise RunError(
            f"--address {address}: no Ray cluster that this machine is a node of ({str(error).splitlines()[0]}): "
            "run `ray start` with this address here first"
        ) from error
    finally:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, before)  # Ray sets its own
    module: ModuleType = ray
    return module
