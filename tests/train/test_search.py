"""The search for a learning rate: what it may look at, what it gives up, and that nothing interrupts it for good."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.errors import RunError
from ushape.files import read_json, write_json
from ushape.threads import Lanes
from ushape.train import loop
from ushape.train.fitting import Diverged
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan, read_run
from ushape.train.search import CHOICE, LOG, SEED, Search, find_rate, look_steps, make_search, open_search

CPU = torch.device("cpu")
TRIALS, STEPS = 5, 10

Look = Callable[..., Path]


def quiet(step: int, loss: float) -> None:
    """Nothing is done after a step."""


@pytest.fixture(scope="module")
def look(plan: RunPlan) -> Look:
    """Search into a folder."""

    def go(folder: Path, plan: RunPlan = plan, watch: Any = quiet, trials: int = TRIALS, **more: Any) -> Path:
        open_search(folder, plan, Search(trials, STEPS))
        with Lanes(1) as lanes:
            find_rate(folder, lanes, CPU, watch, **more)
        return folder

    return go


@pytest.fixture(scope="module")
def searched(look: Look, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return look(tmp_path_factory.mktemp("search") / "searched")


def test_the_recipes_own_rate_is_tried_first_and_the_others_reach_a_tenth_to_ten_times_it(
    searched: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert read_json(searched / "trials.json")[0]["rate"] == 2e-3
    monkeypatch.setattr(loop, "train", lambda plan, folder, *_: (folder / "validation.csv").write_text(VALIDATION))
    rates = [t["rate"] for t in read_json(look(tmp_path / "many", trials=40) / "trials.json")]
    assert rates[:TRIALS] == [t["rate"] for t in read_json(searched / "trials.json")]
    assert all(2e-4 <= rate <= 2e-2 for rate in rates)
    places = np.sort(np.log(np.array(rates[1:]) / 2e-4) / math.log(100))  # even on a logarithmic scale
    assert np.abs(places - (np.arange(39) + 0.5) / 39).max() < 0.06


VALIDATION = "step,macro_dice\n4,0.1\n6,0.1\n8,0.1\n10,0.1\n"


def test_the_best_of_the_completed_trials_is_chosen(searched: Path):
    made = read_json(searched / CHOICE)
    judged = [t for t in made["trials"] if not t["pruned"]]
    assert made["rate"] == max(judged, key=lambda t: t["macro_dice"])["rate"]
    assert len(made["trials"]) == TRIALS
    assert all(t["step"] == STEPS for t in judged)


def test_hopeless_trials_are_given_up_at_a_look(searched: Path):
    trials = read_json(searched / CHOICE)["trials"]
    given_up = [t for t in trials if t["pruned"]]
    assert given_up
    assert not any(t["pruned"] for t in trials[:2])
    for trial in given_up:
        assert trial["step"] in look_steps(STEPS)[:-1]
        number = trials.index(trial)
        rivals = [t for t in trials[:number] if not t["pruned"]]
        there = [dice for t in rivals for step, dice in t["looks"] if step == trial["step"]]
        assert max(dice for _, dice in trial["looks"]) < np.median(there)
        log = (searched / f"trial{number + 1}" / "log.csv").read_text().splitlines()
        assert log[-1].startswith(f"{trial['step']},")


def test_the_median_of_completed_trials_decides_whatever_they_are(
    tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
):
    looks = iter([[0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4], [0.19, 0.9, 0.9, 0.9], [0.21, 0.31, 0.5, 0.7]])

    def scripted(plan: RunPlan, folder: Path, lanes: Any, device: Any, progress: Any, *_: Any) -> None:
        made, text = dict(zip(look_steps(STEPS), next(looks), strict=True)), "step,macro_dice\n"
        for step in range(1, STEPS + 1):
            if step in made:
                text += f"{step},{made[step]}\n"
                (folder / "validation.csv").write_text(text)
            progress(step, 1.0)

    monkeypatch.setattr(loop, "train", scripted)
    trials = read_json(look(tmp_path / "search", trials=4) / CHOICE)["trials"]
    assert [t["pruned"] for t in trials] == [False, False, True, False]
    assert [t["step"] for t in trials] == [10, 10, 4, 10]
    assert read_json(tmp_path / "search" / CHOICE)["rate"] == trials[3]["rate"]


def test_tensors_of_trials_go_and_their_logs_stay(searched: Path):
    assert not list(searched.rglob("*.safetensors"))
    for number in range(1, TRIALS + 1):
        assert (searched / f"trial{number}" / "log.csv").exists()
        assert (
            read_run(searched / f"trial{number}").recipe.rate
            == read_json(searched / CHOICE)["trials"][number - 1]["rate"]
        )
    assert (searched / LOG).read_text().splitlines()[-1] == str(TRIALS * STEPS)


def test_a_search_has_no_test_rois_and_a_seed_of_no_run(searched: Path, plan: RunPlan):
    made = read_run(searched)
    assert plan.test
    assert made.test == ()
    assert made.seed == SEED
    assert read_run(searched / "trial2") == replace(made, recipe=read_run(searched / "trial2").recipe)


@pytest.mark.parametrize("step", [2, 4, 17, 30])
def test_a_search_interrupted_at_any_step_chooses_the_same(tmp_path: Path, look: Look, searched: Path, step: int):
    def interrupt(done: int, loss: float) -> None:
        if done == step and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise KeyboardInterrupt

    try:
        look(tmp_path / "search", watch=interrupt)
    except KeyboardInterrupt:
        look(tmp_path / "search")
    assert (tmp_path / "once").exists()
    assert same(tmp_path / "search", searched)


def same(one: Path, other: Path) -> bool:
    """Whether two searches are equal in their choice, and to the last digit of every trial's logged loss and looks."""

    def told(folder: Path) -> list[Any]:
        logs = [[row.rsplit(",", 1)[0] for row in p.read_text().splitlines()] for p in trial_files(folder, "log.csv")]
        return [(folder / CHOICE).read_text(), logs, [p.read_text() for p in trial_files(folder, "validation.csv")]]

    return told(one) == told(other)


def trial_files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"trial*/{name}"))


def test_a_search_killed_in_the_middle_of_a_trial_chooses_the_same(tmp_path: Path, plan: RunPlan, searched: Path):
    folder = tmp_path / "search"
    open_search(folder, plan, Search(TRIALS, STEPS))
    command = [sys.executable, "-m", "ushape.train.search", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not (folder / "trial2" / "log.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "trials.json").exists()
    assert not (folder / CHOICE).exists(), "it was finished before it could be killed"
    subprocess.run(command, check=True)
    assert same(folder, searched)


@pytest.mark.parametrize("brought", ["all of it", "all but the last look"])
def test_a_trial_killed_between_its_last_step_and_its_record_is_judged_all_the_same(
    tmp_path: Path, look: Look, searched: Path, monkeypatch: pytest.MonkeyPatch, brought: str
):
    class Killed(BaseException):
        pass

    def die(path: Path, data: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("ushape.train.search.write_json", die)
        with pytest.raises(Killed):
            look(tmp_path / "search")
    trial = tmp_path / "search" / "trial1"
    before = (trial / "log.csv").read_bytes()
    if brought == "all but the last look":
        rows = (trial / "validation.csv").read_text().splitlines(keepends=True)
        (trial / "validation.csv").write_text("".join(rows[:-1]))
    look(tmp_path / "search")
    assert ((trial / "log.csv").read_bytes() == before) is (brought == "all of it")  # not trained again
    assert same(tmp_path / "search", searched)


def test_a_rate_at_which_the_loss_explodes_is_not_chosen(
    tmp_path: Path, look: Look, searched: Path, monkeypatch: pytest.MonkeyPatch
):
    best, train, loss = read_json(searched / CHOICE)["rate"], loop.train, loop.segmentation_loss

    def explosive(plan: RunPlan, *others: Any) -> None:
        with monkeypatch.context() as patch:
            if plan.recipe.rate == best:
                patch.setattr(loop, "segmentation_loss", lambda *given: loss(*given) * math.nan)
            train(plan, *others)

    monkeypatch.setattr(loop, "train", explosive)
    made = read_json(look(tmp_path / "search") / CHOICE)
    assert made["rate"] != best
    (exploded,) = (t for t in made["trials"] if t["rate"] == best)
    assert (exploded["macro_dice"], exploded["pruned"], exploded["step"]) == (None, False, 0)
    assert exploded["failed"].startswith("the loss is nan")


def test_where_every_trial_explodes_the_rate_is_named(tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch):
    def explode(plan: RunPlan, folder: Path, *_: object) -> None:
        raise Diverged(f"{folder}: the loss is nan and the gradient nan at step 1")

    monkeypatch.setattr(loop, "train", explode)
    with pytest.raises(RunError, match=r"no trial can be judged; the first: the loss is nan .*give another rate"):
        look(tmp_path / "search")


def test_a_search_is_not_mixed_with_another(tmp_path: Path, plan: RunPlan, look: Look, searched: Path):
    with pytest.raises(RunError, match=r"belongs to another run: its recipe.rate"):
        look(searched, replace(plan, recipe=replace(plan.recipe, rate=3e-3)))
    open_search(tmp_path / "search", plan, Search(TRIALS, STEPS))
    trials = read_json(searched / "trials.json")[:2]
    trials[1]["rate"] *= 2
    write_json(tmp_path / "search" / "trials.json", trials)
    with pytest.raises(RunError, match=r"trials.json: trial 2 had another rate: remove"):
        look(tmp_path / "search")


def test_without_a_pixel_that_counts_nothing_can_be_judged(tmp_path: Path, look: Look, plan: RunPlan):
    write_phantom(tmp_path / "data", patients=6, size=96)
    rois = find_rois(tmp_path / "data")
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(rois[4].mask)
    empty = replace(plan, data=tmp_path / "data", train=tuple(rois[:4]), validation=(rois[4],), test=())
    with pytest.raises(RunError, match="validation patients hold no pixel that counts"):
        look(tmp_path / "search", empty, trials=2)


def test_what_is_asked_for_is_checked(monkeypatch: pytest.MonkeyPatch):
    assert make_search(Recipe(steps=802), 6, None) == Search(6, 200)
    assert make_search(Recipe(steps=1), 2, None) == Search(2, 1)
    with pytest.raises(RunError, match=r"--tune-trials 1: .* give at least 2"):
        make_search(Recipe(), 1, None)
    with pytest.raises(RunError, match="--tune-steps 801: give 1 to 800"):
        make_search(Recipe(), 2, 801)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"--tune needs optuna: pip install 'ushape\[tune\]'"):
        make_search(Recipe(), 6, None)


def test_looks_of_few_steps_are_each_one_step():
    assert look_steps(200) == [80, 120, 160, 200]
    assert look_steps(2) == [1, 2]
    assert look_steps(1) == [1]


def test_a_failed_search_leaves_why(tmp_path: Path, plan: RunPlan):
    open_search(tmp_path / "search", plan, Search(2, 2))
    text = (tmp_path / "search" / "run.yaml").read_text().replace(str(plan.data), str(tmp_path / "gone"))
    (tmp_path / "search" / "run.yaml").write_text(text)
    command = [sys.executable, "-m", "ushape.train.search", str(tmp_path / "search")]
    made = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert made.returncode == 2
    assert "gone: no such folder" in (tmp_path / "search" / "error.txt").read_text()
    assert made.stderr == (tmp_path / "search" / "error.txt").read_text()
