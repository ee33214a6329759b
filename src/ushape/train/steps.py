"""How any training takes its steps: each is logged, the state is saved now and then, and no interruption tears it.

log.csv has a row a step; state.safetensors has every tensor that the next step depends on. A training that goes on from
them comes to the same bits as one that was never interrupted.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ushape.errors import RunError
from ushape.files import write_text
from ushape.interrupts import Deferred
from ushape.nets.weights import load_tensors, save_tensors
from ushape.train.places import LOG, STATE

Progress = Callable[[int, float], None]
"""Called after each step with the number of steps done and the loss."""


class Training(Protocol):
    """What is trained in `folder`: `step` steps are done, which took `seconds`."""

    folder: Path
    step: int
    seconds: float


def take_steps(
    run: Training,
    steps: int,
    update: Callable[[], tuple[float, ...]],
    save: Callable[[], None],
    progress: Progress,
    save_every: float,
    after: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Take steps until `steps` are done.

    `update` does one and gives its loss, then the other numbers of its row in the log; `after` follows each that is
    logged. `save` is called every `save_every` seconds (0: after each step), less often where that would take more than
    2% of the time, and before an interruption or a RunError of `update`, which must have left no trace, goes on.
    `clock` counts the log's seconds.
    """
    progress(run.step, math.nan)
    start, last_save, save_cost = clock() - run.seconds, time.monotonic(), 0.0
    with (run.folder / LOG).open("a", newline="") as log, Deferred() as signals:
        while run.step < steps:
            try:
                loss, *others = update()
            except RunError:
                save()  # of the step before: nothing of this one is in it
                raise
            run.step += 1
            run.seconds = clock() - start
            numbers = ",".join(f"{value:.6g}" for value in (loss, *others))
            log.write(f"{run.step},{numbers},{run.seconds:.3f}\n")
            log.flush()
            after()
            try:
                progress(run.step, loss)
                signals.check()
            except KeyboardInterrupt:
                save()
                raise
            now = time.monotonic()
            if save_every == 0 or now - last_save > max(save_every, 50 * save_cost):
                save()
                last_save, save_cost = time.monotonic(), time.monotonic() - now


def save_state(run: Training, tensors: Mapping[str, Tensor], **about: float) -> None:
    """Write the state of a training: its tensors, `step`, `seconds` and numbers of its own."""
    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    told = {"step": run.step, "seconds": run.seconds} | about
    save_tensors(run.folder / STATE, copies, {"state": json.dumps(told)})


def load_state(run: Training, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Copy the saved state into `tensors`, and set `step` and `seconds`; all that was saved, None where nothing was."""
    if not (run.folder / STATE).exists():
        return None
    saved, metadata = load_tensors(run.folder / STATE)
    for name, mine in tensors.items():
        mine.detach().copy_(saved[name])
    about: dict[str, Any] = json.loads(metadata["state"])
    run.step, run.seconds = about["step"], about["seconds"]
    return saved, about


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of log.csv or validation.csv by name; empty where there is no file. RunError where it is damaged."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {key: [float(row[key]) for row in rows] for key in (rows[0] if rows else ())}
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(
            f"{path}: is damaged ({error}): remove {path.parent}, then start the same command again"
        ) from error


def cut_back(path: Path, header: str, step: int) -> None:
    """Keep a log's rows up to `step`, whatever a killed process left behind them."""
    kept = [header]
    for line in path.read_text().splitlines()[1:] if path.exists() else []:
        first, comma, _ = line.partition(",")
        if comma and first.isdigit() and int(first) <= step and line.count(",") == header.count(","):
            kept.append(line)
    write_text(path, "\n".join(kept) + "\n")
