"""Steps of any training: what is logged, when the state is saved, and how one goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ushape.errors import RunError
from ushape.train.places import LOG
from ushape.train.steps import cut_back, load_state, read_log, save_state, take_steps


class Counter:
    """A training whose weights are the number of steps done."""

    def __init__(self, folder: Path, fails_at: int = 10**9) -> None:
        self.folder, self.fails_at = folder, fails_at
        self.step, self.seconds = 0, 0.0
        self.weights = torch.zeros(2)
        self.saved: list[int] = []
        self.followed: list[int] = []

    def update(self) -> tuple[float, float]:
        if self.step + 1 == self.fails_at:
            raise RunError("the loss is nan")
        self.weights += 1
        return 1 / (self.step + 1), 0.5

    def save(self) -> None:
        self.saved.append(self.step)
        save_state(self, {"weights": self.weights}, best=self.step / 2)

    def go(self, steps: int, save_every: float = 1e6, stop_at: int = -1) -> None:
        found = load_state(self, {"weights": self.weights})
        assert found is None or found[1]["best"] == self.step / 2
        cut_back(self.folder / LOG, "step,loss,rate,seconds", self.step)

        def progress(step: int, loss: float) -> None:
            if step == stop_at and loss == loss:
                raise KeyboardInterrupt

        ticks = iter(range(1000))
        after = lambda: self.followed.append(self.step)  # noqa: E731
        take_steps(self, steps, self.update, self.save, progress, save_every, after, clock=lambda: float(next(ticks)))


def test_each_step_has_a_row_and_is_followed(tmp_path: Path) -> None:
    run = Counter(tmp_path)
    run.go(3)
    assert (tmp_path / LOG).read_text().splitlines() == [
        "step,loss,rate,seconds", "1,1,0.5,1.000", "2,0.5,0.5,2.000", "3,0.333333,0.5,3.000",
    ]  # fmt: skip
    assert read_log(tmp_path / LOG)["loss"] == [1, 0.5, 0.333333]
    assert (run.followed, run.saved) == ([1, 2, 3], [])


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Counter(tmp_path).go(5, stop_at=2)
    with (tmp_path / LOG).open("a") as log:
        log.write("3,0.3,0.5,9.000\n4,0.")  # what a process wrote that was killed later
    again = Counter(tmp_path)
    again.go(5)
    assert again.followed == [3, 4, 5]
    assert again.weights.tolist() == [5, 5]
    assert read_log(tmp_path / LOG)["step"] == [1, 2, 3, 4, 5]
    assert read_log(tmp_path / LOG)["seconds"] == [1, 2, 3, 4, 5]


def test_a_step_that_fails_leaves_the_state_of_the_one_before(tmp_path: Path) -> None:
    run = Counter(tmp_path, fails_at=3)
    with pytest.raises(RunError, match="nan"):
        run.go(5)
    assert run.saved == [2]
    again = Counter(tmp_path)
    again.go(2)
    assert (again.step, again.weights.tolist()) == (2, [2, 2])


def test_the_state_is_saved_after_each_step_where_that_is_asked(tmp_path: Path) -> None:
    run = Counter(tmp_path)
    run.go(3, save_every=0.0)
    assert run.saved == [1, 2, 3]
