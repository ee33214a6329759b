"""What the scheduler costs, and how soon a killed study is at work again; into benchmarks/results/scheduler.csv.

Overhead: the same equal runs as a study of 8 on 2 cores; as 4 in sequence, on a core of a machine that does nothing
else; and as two such sequences side by side, which is what two cores can give without any scheduler. The rounds are
interleaved; a ratio is of medians over the rounds.

Resuming: a study of 40 runs is killed in its middle, its command and its runs at once (kill -9), then gone on with by
`ushape study resume`. Counted is the time until every run that was at work has made a new step, beyond its last state;
what is lost besides are the steps since that state.

    benchmarks/scheduler.py --rounds 3 --steps 60     # about 25 minutes on two cores; on a quiet machine
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SPEC = "unet[width=16]"
TINY = ["crop=48", "batch=4", "shards=2", "validations=2", "tta=none"]
Times = dict[str, list[float]]


def environment() -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")}


def overhead(data: Path, steps: int, rounds: int) -> Times:
    """Seconds of each way to do the runs, for each round."""
    from ushape.nets.spec import parse
    from ushape.study.design import plan_study
    from ushape.study.folder import open_study
    from ushape.study.runner import run_study
    from ushape.train.recipe import make_recipe
    from ushape.train.run import open_run

    recipe = make_recipe({"steps": steps, "tta": "none"})
    study = plan_study([parse(SPEC)], recipe, data, None, 2, 4)
    runs = list(study.runs())

    def in_sequence(root: Path, these: list[tuple[str, int, int]]) -> subprocess.Popen[bytes]:
        """A shell that does some runs one after the other."""
        lines = []
        for run in these:
            open_run(root / study.run_folder(*run), study.plan(*run))
            lines.append(f"{sys.executable} -m ushape.train.run '{root / study.run_folder(*run)}'")
        return subprocess.Popen(["sh", "-ec", "\n".join(lines)], env=environment())

    def wait(*shells: subprocess.Popen[bytes]) -> None:
        codes = [shell.wait() for shell in shells]
        if any(codes):
            raise SystemExit("a run failed")

    times: Times = {"sequence of 4": [], "study of 8": [], "two sequences of 4": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, made in times.items():
                began = time.perf_counter()
                if name == "study of 8":
                    open_study(root / "study", study)
                    run_study(study, root / "study", 2)
                elif name == "sequence of 4":
                    wait(in_sequence(root / "one", runs[:4]))
                else:
                    wait(in_sequence(root / "two", runs[:4]), in_sequence(root / "two", runs[4:]))
                made.append(time.perf_counter() - began)
                print(f"{name}: {made[-1]:.1f} s", flush=True)
    return times


def resuming(data: Path, steps: int) -> list[tuple[str, str, str]]:
    """Rows of the table on a study of 40 runs that is killed in its middle."""
    from ushape.nets.weights import load_tensors
    from ushape.study.pool import last_step
    from ushape.study.runner import is_finished

    specs = ["unet[width=4,levels=3]", "unet[width=4,levels=3]+residual"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "study"
        asked = ["compare", *specs, "--data", str(data), "--out", str(out), "--folds", "5", "--seeds", "4"]
        first = start([*asked, "--jobs", "2", "--steps", str(steps), "--set", *TINY])
        while len(finished := [run for run in folders(out) if is_finished(run)]) < 20 or not at_work(out):
            if first.poll() is not None:
                raise SystemExit("the study ended before it could be killed")
            time.sleep(0.05)
        kill(first)
        finished = [run for run in folders(out) if is_finished(run)]
        before = {run: times_of(run) for run in finished}
        reached = {run: last_step(run) for run in at_work(out)}
        states = dict.fromkeys(reached, 0)
        for run in reached:
            if (run / "state.safetensors").exists():
                about = load_tensors(run / "state.safetensors")[1]["state"]
                states[run] = json.loads(about)["step"]
        began, asleep = time.time(), set(reached)
        again = start(["study", "resume", str(out), "--jobs", "2"])
        while asleep:
            if again.poll() is not None:
                raise SystemExit("the study ended without its runs")
            for run in list(asleep):
                if (run / "log.csv").stat().st_mtime > began and last_step(run) > states[run]:
                    asleep.remove(run)
            time.sleep(0.01)
        took = time.time() - began
        if again.wait():
            raise SystemExit("the study failed when it was resumed")
        touched = [run.name for run in finished if times_of(run) != before[run]]
        done = sum(is_finished(run) for run in folders(out))
    lost = sum(reached[run] - states[run] for run in reached)
    return [
        ("killed study of 40 runs: back at work, s", f"{took:.2f}", "under 5"),
        ("  finished when killed, and touched again", f"{len(finished)}, {len(touched)}", "0 touched"),
        ("  in flight, and steps lost by them", f"{len(reached)}, {lost}", ""),
        ("  finished in the end", str(done), "40"),
    ]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "ushape", *words], env=environment(), stdout=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all that it started, at once."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        each.kill()
    psutil.wait_procs(family[1:], timeout=10)
    process.wait()


def folders(out: Path) -> list[Path]:
    return sorted(out.glob("*/fold*-seed*"))


def at_work(out: Path) -> list[Path]:
    """Runs that have made steps and have not finished."""
    return [run for run in folders(out) if (run / "log.csv").exists() and not (run / "rois.json").exists()]


def times_of(run: Path) -> dict[str, int]:
    """When each of a run's files was written; maps.json is the report's, made of them."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "maps.json")
    return {str(path): path.stat().st_mtime_ns for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of each of the equal runs (60)")
    parser.add_argument("--tiny-steps", type=int, default=60, help="of each of the 40 runs (60)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scheduler.csv")
    options = parser.parse_args()
    from ushape.data.phantom import write_phantom

    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder), patients=10, size=256)
        rows = resuming(Path(folder), options.tiny_steps)
        for row in rows:
            print(*row, flush=True)
        times = overhead(Path(folder), options.steps, options.rounds)
    median = {name: statistics.median(made) for name, made in times.items()}
    rows += [
        ("study of 8 runs / 4 in sequence", f"{median['study of 8'] / median['sequence of 4']:.3f}", "at most 1.08"),
        (
            "two sequences side by side / one alone: the machine's own share",
            f"{median['two sequences of 4'] / median['sequence of 4']:.3f}",
            "",
        ),
        ("study / two sequences", f"{median['study of 8'] / median['two sequences of 4']:.3f}", ""),
        *((f"{name}, s, rounds", " ".join(f"{s:.1f}" for s in made), "") for name, made in times.items()),
    ]
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["figure", "measured", "wanted"])
        writer.writerows(rows)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
