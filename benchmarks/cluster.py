"""A study on two nodes of a Ray cluster, one of them killed in the middle, against the same study on this machine.

Both nodes are processes of this machine; each keeps its files in a folder of its own. The second one is killed
(kill -9 of its raylet) once a state of the run that it is at has come back. Into benchmarks/results/cluster.csv:
whether all that the study left is equal but for times, and where the killed run went on. About 5 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

TIMES = ("created", "command", "train_minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="of each run: enough for half a minute (400)")
    options = parser.parse_args()
    with ExitStack() as started:
        rows = measure(options.steps, started)
    results = Path(__file__).parent / "results" / "cluster.csv"
    results.parent.mkdir(exist_ok=True)
    with results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["figure", "measured", "wanted"])
        writer.writerows(rows)
    print(results.read_text())


def measure(steps: int, started: ExitStack) -> list[tuple[str, str, str]]:
    """Rows of the table. What it starts is ended by `started`, however it goes."""
    from ushape.data.phantom import write_phantom
    from ushape.nets.weights import load_tensors
    from ushape.study.pool import last_step

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix="ray") as temporary:
        root = Path(folder)
        write_phantom(root / "data", patients=6, size=128)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"127.0.0.1:{port}"
        head = ray(root / "head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}")
        started.callback(end, head)
        wait_for(lambda: answers(port))
        other = ray(root / "other", f"--address={address}")
        started.callback(end, other)
        far, near = root / "far", root / "near"
        study = compare(root / "data", far, steps, "--engine", "ray", "--address", address)
        started.callback(end, study)
        shown: dict[str, Any] = {}

        def killed() -> bool:
            if study.poll() is not None:
                raise SystemExit("the study ended before a node could be killed")
            its = psutil.Process(other.pid).children(recursive=True)
            at_work = [p for p in its if "ushape.train.run" in words_of(p)]
            if not at_work:
                return False
            plan = (Path(words_of(at_work[0])[-1]) / "run.yaml").read_text()
            for state in far.glob("*/fold*/state.safetensors"):
                if (state.parent / "run.yaml").read_text() == plan:
                    shown["run"] = state.parent
                    shown["kept"] = json.loads(load_tensors(state)[1]["state"])["step"]
                    for process in its:
                        if process.name() == "raylet":
                            process.kill()
                    return True
            return False

        wait_for(killed)
        wait_for(lambda: study.poll() is not None)
        for node in (other, head):
            end(node)
        time.sleep(10)
        behind = len(left(Path(temporary)) + left(root / "head") + left(root / "other"))
        if compare(root / "data", near, steps).wait():
            raise SystemExit("the study failed on this machine")
        ours, theirs = (strip(json.loads((out / "results.json").read_text())) for out in (far, near))
        names = sorted(p.relative_to(near) for p in near.rglob("*") if p.suffix in (".safetensors", ".png", ".json"))
        names = [name for name in names if name.name != "results.json"]
        same = [(near / name).read_bytes() == (far / name).read_bytes() for name in names]
        return [
            ("results.json equal but for times", str(ours == theirs), "True"),
            ("weights, label maps and scores equal to the bit, of", f"{sum(same)} of {len(same)}", "all"),
            ("the killed node's run went on from step", f"{shown['kept']} of {steps}", "its last state"),
            ("its last step in the end", str(last_step(shown["run"])), str(steps)),
            ("processes left behind 10 s after the end of the cluster", str(behind), "0"),
        ]


def ray(cache: Path, *words: str) -> subprocess.Popen[bytes]:
    quick = {"period_ms": "500", "failure_threshold": "3", "initial_delay_ms": "500"}
    environment = {**os.environ, "USHAPE_CACHE": str(cache), "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    environment |= {f"RAY_health_check_{key}": value for key, value in quick.items()}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    command += ["--object-store-memory=100000000", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that we started, by asking."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()


def compare(data: Path, out: Path, steps: int, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ushape", "compare", "unet[width=8,levels=3]", "unet[width=8,levels=3]+residual"]
    command += ["--data", str(data), "--out", str(out), "--folds", "2", "--steps", str(steps), *words]
    command += ["--set", "crop=64", "batch=4", "shards=2", "validations=4", "tta=none"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait_for(done: Any, seconds: float = 1800) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(0.2)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def left(folder: Path) -> list[int]:
    """Processes that name a folder in their command."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or ())]


def words_of(process: psutil.Process) -> list[str]:
    """The command of a process; empty where it has ended meanwhile."""
    try:
        return process.cmdline() or [""]
    except psutil.Error:
        return [""]


def strip(data: Any) -> Any:
    """Results without what tells the time, or how they were asked for."""
    if isinstance(data, dict):
        return {key: strip(value) for key, value in data.items() if key not in TIMES}
    return [strip(each) for each in data] if isinstance(data, list) else data


if __name__ == "__main__":
    main()
