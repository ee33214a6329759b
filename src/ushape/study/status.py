"""How far a study is, from its folder alone: nothing is written, no network built, no plugin run.

A run or search is `finished` (its result is there), `at work` (a living process holds its run.yaml), `failed` (it left
error.txt), `stopped` (it has begun, and goes on where it saved its state) or `waiting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ushape.errors import RunError
from ushape.locks import is_held
from ushape.study.design import folder_of, run_folder
from ushape.study.folder import arm_names, read_question
from ushape.study.pool import last_step
from ushape.study.runner import RESULT
from ushape.study.tuning import search_folder
from ushape.train.places import FAILURE, LOG, TAKEN
from ushape.train.recipe import AFTER_TRAINING
from ushape.train.search import CHOICE

STATES = ("finished", "at work", "stopped", "failed", "waiting")


@dataclass(frozen=True)
class Part:
    """A run, or a search for a rate. `steps` of `total` are done, in `seconds`; `why`: of one that failed.

    All three are 0 for a run that takes over what another one trains.
    """

    folder: Path
    """Inside the study's."""
    arm: str
    is_search: bool
    state: str
    steps: int
    total: int
    seconds: float
    why: str = ""


@dataclass(frozen=True)
class Status:
    """Every search and run of a study, in the order in which they are started."""

    arms: tuple[str, ...]
    parts: tuple[Part, ...]

    def count(self, state: str, arm: str | None = None, searches: bool = False) -> int:
        """Runs (or searches) in a state, of one arm or of all."""
        return sum(p.state == state and p.is_search is searches and arm in (None, p.arm) for p in self.parts)

    @property
    def seconds(self) -> float:
        """Spent in training, of all processes together."""
        return sum(part.seconds for part in self.parts)

    @property
    def seconds_left(self) -> float | None:
        """Training that is left, of all processes together: steps left times what a step of the arm takes.

        A step of an arm that has none yet is taken for that of the others together; None where nobody has any.
        """
        done = sum(part.steps for part in self.parts if part.seconds)
        if not done:
            return None
        left = 0.0
        for arm in self.arms:
            own = [part for part in self.parts if part.arm == arm]
            steps = sum(part.steps for part in own if part.seconds)
            each = sum(part.seconds for part in own) / steps if steps else self.seconds / done
            left += each * sum(part.total - part.steps for part in own)
        return left


def read_status(folder: Path) -> Status:
    """The status of a study's folder; RunError where there is no study in it."""
    data = read_question(folder)
    try:
        names, folds, seeds = arm_names(data), _folds(data["folds"]), int(data["seeds"])
        steps, tuning = int(data["recipe"]["steps"]), data["tuning"]
        arms = {name: folder_of(name) for name in names}
        parts = []
        if tuning:
            total = tuning["trials"] * tuning["steps"]
            for fold in range(1, folds + 1):
                parts += [_part(folder, name, search_folder(arm, fold), total, True) for name, arm in arms.items()]
        shared = _trained_by_another(names) if data["recipe"].get("teacher", "none") == "none" else set()
        for seed in range(seeds):
            for fold in range(1, folds + 1):
                for name, arm in arms.items():
                    parts.append(_part(folder, name, run_folder(arm, fold, seed), steps, shared=name in shared))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{folder / 'study.yaml'}: is no study of ushape ({error!r})") from error
    return Status(tuple(names), tuple(parts))


def _folds(told: int | str) -> int:
    return 1 if told == "official" else int(told)


def _trained_by_another(names: Sequence[str]) -> set[str]:
    """Arms that differ from an earlier one in what comes after training alone: they take over what that one trains."""
    first: dict[str, str] = {}
    for name in names:
        words = [word for word in name.split() if word.partition("=")[0] not in AFTER_TRAINING]
        first.setdefault(" ".join(words), name)
    return set(names) - set(first.values())


def _part(root: Path, name: str, folder: Path, total: int, is_search: bool = False, shared: bool = False) -> Part:
    where = root / folder
    if shared and ((where / TAKEN).exists() or not (where / LOG).exists()):
        total = 0  # nothing of its own
    steps, why = min(last_step(where), total), ""
    if (where / (CHOICE if is_search else RESULT)).exists():
        state, steps = "finished", total
    elif is_held(where / "run.yaml"):
        state = "at work"
    elif (where / FAILURE).exists():
        state, why = "failed", (where / FAILURE).read_text(errors="replace").strip()
    else:
        state = "stopped" if steps else "waiting"
    logs = sorted(where.glob(f"trial*/{LOG}")) if is_search else [where / LOG]
    seconds = sum(map(_seconds, logs)) if total else 0.0
    return Part(folder, name, is_search, state, steps, total, seconds, why)


def _seconds(log: Path) -> float:
    """What the last whole row of a run's log says, while another process may be writing to it."""
    try:
        rows: list[Any] = log.read_text(encoding="utf-8").splitlines()[1:]
    except (OSError, ValueError):
        return 0.0
    for row in reversed(rows[-2:]):
        try:
            step, _, _, _, seconds = row.split(",")
            int(step)
            return float(seconds)
        except ValueError:
            continue
    return 0.0
