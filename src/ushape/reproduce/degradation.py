"""Residual learning's claim (He et al. 2016, arXiv:1512.03385, section 1): a deeper plain network has the higher
*training* loss, and a residual one has not.

Depth, the convolutions of every level, is swept for the plain and the residual block, with and without batch
normalisation, over several seeds. All networks of a seed see the same crops in the same order, so their training
losses are paired. The residual block has a shortcut over every two convolutions, as the paper's.

`python -m ushape.reproduce.degradation FOLDER` trains one of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ushape.data.rois import find_rois, fingerprint
from ushape.errors import RunError
from ushape.files import read_json, write_json
from ushape.locks import holding
from ushape.nets.device import training_precision
from ushape.nets.spec import parse
from ushape.study.pool import Job, State, last_step, run_jobs
from ushape.study.statistics import mean_interval
from ushape.threads import Lanes
from ushape.train.fitting import Diverged
from ushape.train.loop import train
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan, claim, open_run, read_run, work
from ushape.train.steps import read_log

DEPTHS = (1, 2, 4, 8)
BLOCKS = {"plain": "", "residual": "+residual[every=2]"}
NORMS = ("batch", "none")
RECIPE = Recipe(crop=96, stain=0.0, scale=0.0, sharpness=0.0, prior=0.0, steps=400, tta="none", guided=0)
"""Nothing but flips and turns changes the crops: what is asked is how well each network fits them."""

SHARE = 10
"""The loss that is compared is the mean over the last tenth of the steps."""

RESULT = "loss.json"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """One network: its block, norm, depth; the final training loss of each seed (None: the loss was not finite)."""

    data: str
    block: str
    norm: str
    depth: int
    losses: tuple[float | None, ...]

    @property
    def spec(self) -> str:
        return spec(self.block, self.norm, self.depth)


def spec(block: str, norm: str, depth: int) -> str:
    """Three levels of 8, 16 and 32 channels: small enough that sixteen networks train on a CPU."""
    inside = [
        "width=8",
        "levels=3",
        *([f"depth={depth}"] if depth != 2 else []),
        *(["norm=none"] if norm == "none" else []),
    ]
    return f"unet[{','.join(inside)}]{BLOCKS[block]}"


def sweep(
    data: Sequence[Path],
    out: Path,
    seeds: int,
    steps: int,
    jobs: int | None = None,
    watch: Callable[[State], None] = lambda state: None,
    device: str = "cpu",
) -> list[Point]:
    """Train every network on all ROIs of each folder; what is finished is not trained again.

    RunError where two folders have one name, `out` holds runs on other ROIs of a folder's name, or another process is
    at work on them.
    """
    if seeds < 2:
        raise RunError(f"--seeds {seeds}: an interval over seeds needs at least 2")
    for one, other in combinations(data, 2):
        if (name := one.resolve().name) == other.resolve().name:
            raise RunError(
                f"--data {one} {other}: both are called {name}, as their results would be: rename one of them"
            )
    precision = training_precision(RECIPE.precision, torch.device(device))
    recipe = replace(RECIPE, steps=steps, precision=precision)
    points, todo = [], []
    with ExitStack() as held:
        for folder in data:
            rois, name = find_rois(folder), folder.resolve().name
            file = out / name / "sweep.yaml"
            claim(out / name, file, {"fingerprint": fingerprint(rois), "recipe": recipe.to_dict()}, "run")
            held.enter_context(holding(file))
            for norm, block, depth in product(NORMS, BLOCKS, DEPTHS):
                places = [out / name / f"{block}-{norm}-{depth}" / f"seed{seed}" for seed in range(seeds)]
                points.append((name, block, norm, depth, places))
                for seed, where in enumerate(places):
                    open_run(where, RunPlan(parse(spec(block, norm, depth)), recipe, seed, folder, tuple(rois)))
                    todo.append(Job(where, "ushape.reproduce.degradation", RESULT, data=(folder,), kind=str(depth)))
        run_jobs(todo, out, jobs, watch, device)
    return [
        Point(name, block, norm, depth, tuple(read_json(where / RESULT)["loss"] for where in places))
        for name, block, norm, depth, places in points
    ]


@dataclass(frozen=True)
class Change:
    """Mean over seeds of a difference between training losses, with its t interval; None where a run diverged."""

    difference: float | None
    low: float | None
    high: float | None


def change(one: Sequence[float | None], other: Sequence[float | None]) -> Change:
    """`one` minus `other`, paired by seed."""
    own = [a - b for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return Change(*mean_interval(own, CONFIDENCE)) if len(own) == len(one) else Change(None, None, None)


def verdicts(points: Sequence[Point]) -> list[dict[str, Any]]:
    """For each folder and norm: what going from each depth to the deepest does to the loss of either block, and what
    the shortcut does at each depth."""
    found = {(p.data, p.norm, p.block, p.depth): p.losses for p in points}
    rows: list[dict[str, Any]] = []
    for data in dict.fromkeys(p.data for p in points):
        for norm in NORMS:
            deepest = DEPTHS[-1]
            for block in BLOCKS:
                for depth in DEPTHS[:-1]:
                    made = change(found[data, norm, block, deepest], found[data, norm, block, depth])
                    what = f"{block}: depth {deepest} - depth {depth}"
                    rows.append({"data": data, "norm": norm, "what": what} | vars(made))
            for depth in DEPTHS:
                made = change(found[data, norm, "residual", depth], found[data, norm, "plain", depth])
                rows.append({"data": data, "norm": norm, "what": f"depth {depth}: residual - plain"} | vars(made))
    return rows


def final_loss(run: Path) -> float:
    """Mean training loss over the last tenth of a finished run's steps."""
    losses = read_log(run / "log.csv")["loss"]
    return float(np.mean(losses[-max(1, len(losses) // SHARE) :]))


def main() -> None:
    """Train the run of a folder; a loss that is not finite is a result here."""

    def job(folder: Path, lanes: Lanes, device: torch.device) -> None:
        try:
            train(read_run(folder), folder, lanes, device)
            write_json(folder / RESULT, {"loss": final_loss(folder), "diverged_at": None})
        except Diverged:
            write_json(folder / RESULT, {"loss": None, "diverged_at": last_step(folder) + 1})

    work(job)


if __name__ == "__main__":
    main()
