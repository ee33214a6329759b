"""Jobs on two nodes of a Ray cluster: two sets of processes on this machine, each with a folder of its own.

What a job does is a small module without torch. `benchmarks/cluster.py` does the same with a study.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from ushape.errors import RunError
from ushape.locks import is_held
from ushape.study import cluster as engine
from ushape.study.cluster import Cluster, _Remote, pick_engine
from ushape.study.pool import Job, State, run_jobs

pytest.importorskip("ray", reason="the engine for several machines needs the extra `ray`")

COUNT = """
import os, sys, time
from pathlib import Path
from ushape.interrupts import stop_with_parent
from ushape.train.places import at_hand
stop_with_parent()
folder = Path(sys.argv[1])
plan = (folder / "run.yaml").read_text().split()
data, last = at_hand(plan[0]), int(plan[1])
state, log = folder / "state.safetensors", folder / "log.csv"
step = int(state.read_text()) if state.exists() else 0
with (folder / "starts").open("a") as starts:
    starts.write(f"{step}\\n")
def save():
    (folder / ".state.part").write_text(str(step))
    os.replace(folder / ".state.part", state)
try:
    while step < last:
        time.sleep(0.05)
        step += 1
        with log.open("a") as rows:
            rows.write(f"{step},0.5\\n")
        save()
except KeyboardInterrupt:
    save()
    sys.exit(130)
state.unlink()
images = sorted(p.name for p in (data / "images").iterdir())
(folder / "rois.json").write_text(f"{step} {images} {(data / 'masks' / 'a.png').read_text()} {data}")
"""


@dataclass
class Nodes:
    """A cluster of a head and another node, one core each."""

    address: str
    caches: Path
    head: subprocess.Popen[bytes]
    other: subprocess.Popen[bytes]


def ray(*words: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    command += ["--object-store-memory=80000000", "--disable-usage-stats", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes that name a folder in their command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


def words_of(process: psutil.Process) -> list[str]:
    """The command of a process; empty where it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    made = tmp_path_factory.mktemp("cluster")
    (made / "count.py").write_text(COUNT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = os.pathsep.join([str(made), *filter(None, [os.environ.get("PYTHONPATH")])])
    quick = {"period_ms": "300", "failure_threshold": "3", "initial_delay_ms": "300", "timeout_ms": "1000"}
    shared = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    shared |= {f"RAY_health_check_{key}": value for key, value in quick.items()}
    # a socket's path is short: not under pytest's folder
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as temporary:
        own = [{**shared, "USHAPE_CACHE": str(made / name)} for name in ("head", "other")]
        port = address.rsplit(":", 1)[1]
        words = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}")
        head = ray(*words, environment=own[0])
        deadline = time.monotonic() + 120
        while True:
            assert time.monotonic() < deadline
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        other = ray(f"--address={address}", environment=own[1])
        yield Nodes(address, made, head, other)
        for each in (other, head):
            each.terminate()
            each.wait(60)
        deadline = time.monotonic() + 30
        while left := processes_in(Path(temporary)):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for part, content in (("images", "an image"), ("masks", "a mask")):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "a.png").write_text(content)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files come back at once, and signals find what they found before."""
    monkeypatch.setattr(engine, "BRING", 0.1)
    kept = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == kept


def make(folder: Path, data: Path, steps: int) -> Job:
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(f"{data} {steps}")
    return Job(folder, "count", "rois.json", data=(data,))


def go(jobs: list[Job], address: str, watch: Callable[[State], None] = lambda state: None) -> None:
    run_jobs(jobs, jobs[0].folder.parent, None, watch, interval=0.1, make_engine=pick_engine("ray", address))


def starts(job: Job) -> list[int]:
    return [int(line) for line in (job.folder / "starts").read_text().split()]


def test_versions_that_differ_are_refused(tmp_path: Path, data: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "here", lambda: {"torch": "1.0"})
    job = make(tmp_path / "study" / "a", data, 1)
    with pytest.raises(RunError, match=r"has torch \d.*, but here it is 1\.0: install the same"):
        go([job], nodes.address)
    assert not (job.folder / "starts").exists()


def test_a_node_that_only_imitates_a_jobs_precision_is_refused(tmp_path: Path, data: Path):
    job = replace(make(tmp_path / "study" / "a", data, 1), precision="bf16")
    cluster = Cluster.__new__(Cluster)
    cluster._here = engine.here()
    with pytest.raises(RunError, match=r"node of the cluster does not compute bf16 itself.*--set precision=float32"):
        cluster._begin(job, _Remote(None, None), engine.here() | {"precision": "float32"})


def test_ctrl_c_brings_the_last_state_here(tmp_path: Path, data: Path, nodes: Nodes):
    jobs = [make(tmp_path / "study" / name, data, 100_000) for name in "ab"]

    def interrupt(state: State) -> None:
        if state.steps.get(jobs[0].folder, 0) > 5:
            assert is_held(jobs[0].folder / "run.yaml")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(jobs, nodes.address, interrupt)
    rows = [int(line.split(",")[0]) for line in (jobs[0].folder / "log.csv").read_text().split()]
    assert int((jobs[0].folder / "state.safetensors").read_text()) == rows[-1] > 5
    assert processes_in(nodes.caches) == []
    assert not is_held(jobs[0].folder / "run.yaml")


def test_a_node_is_killed_and_its_job_goes_on_elsewhere_from_its_last_state(tmp_path: Path, data: Path, nodes: Nodes):
    jobs = [make(tmp_path / "study" / name, data, 60) for name in "abcd"]
    killed: list[str] = []

    def kill(state: State) -> None:
        if not killed:
            there = psutil.Process(nodes.other.pid).children(recursive=True)
            at_work = [p for p in there if "count" in words_of(p)]
            far = [folder for folder in state.working if state.steps.get(folder, 0) > 10]
            if at_work and len(far) == 2:
                killed.append(str(at_work[0].pid))
                for process in there:
                    if process.name() == "raylet":
                        process.kill()

    go(jobs, nodes.address, kill)
    assert killed
    assert {(job.folder / "rois.json").read_text().rsplit(" ", 1)[0] for job in jobs} == {"60 ['a.png'] a mask"}
    again = [job for job in jobs if len(starts(job)) > 1]
    assert len(again) == 1
    assert starts(again[0])[0] == 0
    assert starts(again[0])[1] >= 10
    assert not any((job.folder / "state.safetensors").exists() for job in jobs)
    # nothing of the study's was read in place: each node had its own copy
    assert {str(data) in (job.folder / "rois.json").read_text() for job in jobs} == {False}


@pytest.mark.parametrize(
    ("address", "told"), [("127.0.0.1:9", "no Ray cluster"), ("auto", "write HOST:PORT"), ("a:b", "write HOST:PORT")]
)
def test_an_address_without_a_cluster_is_refused_in_one_line(tmp_path: Path, data: Path, address: str, told: str):
    with pytest.raises(RunError, match=rf"^--address {address}: {told}") as caught:
        go([make(tmp_path / "study" / "a", data, 1)], address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "address", "told"),
    [("local", "a:1", "--address a:1 has no effect"), ("ray", None, "give the cluster's --address")],
)
def test_an_engine_and_an_address_that_do_not_go_together_are_refused(name: str, address: str | None, told: str):
    with pytest.raises(RunError, match=told):
        pick_engine(name, address)
    assert pick_engine("local", None) is None
