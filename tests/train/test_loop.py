"""The training loop: the same bits whatever happens, and nothing lost when it cannot go on."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from ushape.cli import main
from ushape.data.classes import grouping
from ushape.data.rois import Pixels, Roi, open_pixels
from ushape.errors import RunError
from ushape.nets.device import pick_precision
from ushape.nets.weights import load_tensors, load_weights
from ushape.predict.engine import Predictor, evaluate
from ushape.predict.score import macro_dice
from ushape.threads import Lanes
from ushape.train import fitting, loop
from ushape.train import steps as stepping
from ushape.train.loop import train, validation_steps
from ushape.train.recipe import Recipe
from ushape.train.replicas import Replicas
from ushape.train.run import RunPlan, open_run
from ushape.train.schedule import learning_rate
from ushape.train.steps import read_log

CPU = torch.device("cpu")
ALWAYS = {"save_every": 0.0}
NEVER = {"save_every": 1e9}

Train = Callable[..., Path]


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def steps(folder: Path) -> list[int]:
    return [int(s) for s in read_log(folder / "log.csv")["step"]]


def same_tensors(one: Path, other: Path) -> bool:
    a, b = (load_tensors(folder / "weights.safetensors")[0] for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def assert_same_run(folder: Path, reference: Path) -> None:
    """Equal weights to the bit, and logs with each step once and equal but for the time."""
    assert same_tensors(folder, reference)
    assert weights(folder) == weights(reference)
    assert steps(folder) == list(range(1, len(steps(reference)) + 1))
    for column in ("loss", "gradient_norm", "rate"):
        assert read_log(folder / "log.csv")[column] == read_log(reference / "log.csv")[column]
    assert (folder / "validation.csv").read_bytes() == (reference / "validation.csv").read_bytes()
    assert (folder / "rois.json").read_bytes() == (reference / "rois.json").read_bytes()


def at_loss(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Any], Any]) -> None:
    """Let `act` change the loss that is computed as the `number`-th (two a step: one for each shard)."""
    counted, compute = [0], loop.segmentation_loss

    def wrapped(*given: Any) -> Any:
        counted[0] += 1
        made = compute(*given)
        return act(made) if counted[0] == number else made

    monkeypatch.setattr(loop, "segmentation_loss", wrapped)


def send(number: signal.Signals) -> Callable[[Any], Any]:
    def act(value: Any) -> Any:
        os.kill(os.getpid(), number)
        return value

    return act


# -- the same bits ---------------------------------------------------------------------------------------------------


def test_one_and_two_lanes_give_the_same_bits(tmp_path: Path, fit: Train, reference: Path):
    assert_same_run(fit(tmp_path / "run", lanes=2), reference)


def test_two_runs_are_identical_and_another_seed_is_another_run(tmp_path: Path, plan: RunPlan, reference: Path):
    short = replace(plan, recipe=replace(plan.recipe, steps=3, validations=1), test=())
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        open_run(tmp_path / name, replace(short, seed=seed))
        with Lanes(1) as lanes:
            train(replace(short, seed=seed), tmp_path / name, lanes, CPU)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert not same_tensors(tmp_path / "a", tmp_path / "c")


def test_dropout_does_not_depend_on_lanes(tmp_path: Path, fit: Train, reference: Path):
    spec = "unet[width=4,levels=3,dropout=0.3]"
    one, two = (fit(tmp_path / str(n), n, spec, steps=5, validations=1) for n in (1, 2))
    assert weights(one) == weights(two)
    without = fit(tmp_path / "without", steps=5, validations=1)
    assert not same_tensors(one, without)


def test_deep_supervision_trains_alike_on_one_and_two_lanes(tmp_path: Path, fit: Train):
    spec = "unet[width=4,levels=3]+deep-supervision"
    one, two = (fit(tmp_path / str(n), n, spec, steps=3, validations=1) for n in (1, 2))
    assert weights(one) == weights(two)


@pytest.mark.parametrize(
    "changed",
    [
        {"elastic": 6.0},
        {"focal": 2.0},
        {"smoothing": 0.2},
        {"class_weight": 0.5},
        {"prior": 1.0},
        {"schedule": "polynomial"},
    ],
)
def test_each_ingredient_trains_alike_on_one_and_two_lanes_and_changes_the_weights(
    tmp_path: Path, fit: Train, changed: dict[str, Any]
):
    given = {"steps": 2, "validations": 1}
    one, two = (fit(tmp_path / str(n), n, **given, **changed) for n in (1, 2))
    assert weights(one) == weights(two)
    assert not same_tensors(one, fit(tmp_path / "without", **given))


def test_the_loss_gets_the_recipes_weights_in_their_places(tmp_path: Path, fit: Train, monkeypatch: pytest.MonkeyPatch):
    given, compute = [], loop.segmentation_loss
    monkeypatch.setattr(loop, "segmentation_loss", lambda s, y, *more: given.append(more) or compute(s, y, *more))
    fit(tmp_path / "run", steps=1, validations=1, dice=0.7, focal=2.0, smoothing=0.2, class_weight=0.5, prior=0.0)
    dice, focal, smoothing, weights_, shift = given[0]
    assert (dice, focal, smoothing, shift) == (0.7, 2.0, 0.2, None)
    assert len(weights_) == 5


def test_shards_share_one_optimisation_step(tmp_path: Path, fit: Train):
    spec = "unet[width=4,levels=3,norm=none]"  # with a batch norm each shard has statistics of its own
    made = [fit(tmp_path / str(n), 1, spec, shards=n, steps=1, validations=1, precision="float32", dice=0.0,
                ema=0.0, stain=0.0) for n in (1, 2)]  # fmt: skip
    norms = [read_log(folder / "log.csv")["gradient_norm"][0] for folder in made]
    # cross-entropy is a mean over counted pixels of a shard: equal but for uneven numbers of ignored pixels
    assert norms[0] == pytest.approx(norms[1], rel=0.2)
    assert read_log(made[0] / "log.csv")["loss"][0] == pytest.approx(read_log(made[1] / "log.csv")["loss"][0], rel=0.05)


# -- learning --------------------------------------------------------------------------------------------------------


def test_the_loss_falls(reference: Path):
    losses = read_log(reference / "log.csv")["loss"]
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 0.1


def test_a_finished_run_leaves_these_files_and_no_state(reference: Path, plan: RunPlan):
    assert sorted(p.name for p in reference.iterdir()) == [
        "log.csv", "predictions", "rois.json", "run.yaml", "validation.csv", "weights.safetensors",
    ]  # fmt: skip
    assert [p.stem for p in (reference / "predictions").iterdir()] == [plan.test[0].name]


def test_the_weights_say_what_they_are_for(reference: Path, plan: RunPlan):
    about = load_weights(reference).about
    assert about["grouping"] == grouping("bcss-5").describe()
    assert about["recipe"] == plan.recipe.to_dict()
    assert about["trained_on"] == sorted({roi.patient for roi in plan.train})
    assert about["validated_on"] == [plan.validation[0].patient]
    assert plan.test[0].patient not in {*about["trained_on"], *about["validated_on"]}


def test_the_checkpoint_chosen_is_the_first_best_on_validation_patients(
    tmp_path: Path, fit: Train, monkeypatch: pytest.MonkeyPatch
):
    told, looked = iter([0.1, 0.5, 0.4, 0.5]), []
    monkeypatch.setattr(loop, "macro_dice", lambda _: next(told, 0.0))
    validate = loop._Run._validate

    def watched(run: Any) -> None:
        validate(run)
        looked.append({k: v.clone() for k, v in run.average.state_dict().items()})

    monkeypatch.setattr(loop._Run, "_validate", watched)
    folder = fit(tmp_path / "run", steps=8)
    log = read_log(folder / "validation.csv")
    assert log == {"step": [5, 6, 7, 8], "macro_dice": [0.1, 0.5, 0.4, 0.5]}
    assert load_weights(folder).about["chosen_step"] == 6
    kept = load_tensors(folder / "weights.safetensors")[0]
    assert all(torch.equal(kept[k], v) for k, v in looked[1].items())
    assert not all(torch.equal(kept[k], v) for k, v in looked[3].items())


def test_the_weights_kept_score_what_the_validation_log_says(plan: RunPlan, reference: Path):
    log, made = read_log(reference / "validation.csv"), load_weights(reference)
    assert made.about["chosen_step"] == log["step"][int(np.argmax(log["macro_dice"]))]
    with Lanes(1) as lanes:
        predictor = Predictor(made.net, CPU, pick_precision("auto", CPU), lanes)
        pixels = [open_pixels(roi, plan.recipe.mpp, plan.recipe.normalise) for roi in plan.validation]
        matrices = [each.confusion for each in evaluate(predictor, pixels, grouping("bcss-5"))]
    assert float(macro_dice(np.sum(matrices, axis=0))) == pytest.approx(max(log["macro_dice"]), abs=1e-6)


def test_validation_patients_are_scored_together(tmp_path: Path, plan: RunPlan):
    two = replace(plan, validation=plan.train[:2], train=plan.train[2:], test=())
    two = replace(two, recipe=replace(two.recipe, steps=6, validations=1))
    open_run(tmp_path / "run", two)
    with Lanes(1) as lanes:
        train(two, tmp_path / "run", lanes, CPU)
        predictor = Predictor(load_weights(tmp_path / "run").net, CPU, pick_precision("auto", CPU), lanes)
        pixels = [open_pixels(roi, two.recipe.mpp, two.recipe.normalise) for roi in two.validation]
        matrices = [each.confusion for each in evaluate(predictor, pixels, grouping("bcss-5"))]
    (told,) = read_log(tmp_path / "run" / "validation.csv")["macro_dice"]
    pooled = float(macro_dice(np.sum(matrices, axis=0)))
    assert told == pytest.approx(pooled, abs=1e-6)
    for other in (np.mean(macro_dice(np.stack(matrices))), macro_dice(matrices[0])):
        assert abs(other - pooled) > 1e-4


def test_the_best_look_so_far_survives_an_interruption(tmp_path: Path, fit: Train, monkeypatch: pytest.MonkeyPatch):
    told = iter([0.5, 0.1, 0.2, 0.3])
    monkeypatch.setattr(loop, "macro_dice", lambda _: next(told, 0.0))

    def stop(step: int, loss: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", steps=8, more={"progress": stop})
    assert read_log(tmp_path / "run" / "validation.csv")["macro_dice"][0] == 0.5
    fit(tmp_path / "run", steps=8)
    assert load_weights(tmp_path / "run").about["chosen_step"] == 5


def test_without_validation_the_last_weights_are_kept(tmp_path: Path, plan: RunPlan):
    alone = replace(plan, validation=(), test=(), recipe=replace(plan.recipe, steps=3))
    open_run(tmp_path / "run", alone)
    with Lanes(1) as lanes:
        train(alone, tmp_path / "run", lanes, CPU)
    assert load_weights(tmp_path / "run").about["chosen_step"] == 3
    assert not (tmp_path / "run" / "rois.json").exists()


def test_the_test_patients_are_never_seen_in_training(tmp_path: Path, plan: RunPlan, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr(loop, "open_pixels", lambda roi, *how: opened.append(roi.patient) or open_pixels(roi, *how))
    open_run(tmp_path / "run", plan)
    with Lanes(1) as lanes, pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "run", lanes, CPU, progress=stop_after(2))
    assert set(opened) == {roi.patient for roi in (*plan.train, *plan.validation)}
    assert plan.test[0].patient not in opened


def stop_after(last: int) -> Callable[[int, float], None]:
    def progress(step: int, loss: float) -> None:
        if step == last:
            raise KeyboardInterrupt

    return progress


def test_the_rate_of_the_log_is_that_of_the_schedule(reference: Path, plan: RunPlan):
    expected = [learning_rate(plan.recipe, step) for step in range(plan.recipe.steps)]
    assert read_log(reference / "log.csv")["rate"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("count", "total"), [(1, 10), (4, 30), (6, 1200), (7, 3), (1, 1)])
def test_validations_lie_in_the_last_half_and_end_with_the_last_step(count: int, total: int):
    looks = validation_steps(Recipe(validations=count, steps=total))
    assert max(looks) == total
    assert min(looks) >= total / 2
    gaps = np.diff(sorted({total / 2, *looks}))
    assert len(looks) == min(count, total // 2 + 1)
    assert max(abs(gaps - total / 2 / len(looks))) <= 1, "evenly, but for whole steps"


def test_without_validations_nobody_is_looked_at(tmp_path: Path, fit: Train):
    assert validation_steps(Recipe(validations=0)) == frozenset()
    folder = fit(tmp_path / "run", steps=2, validations=0)
    assert read_log(folder / "validation.csv") == {}
    assert load_weights(folder).about["chosen_step"] == 2


# -- interruptions ---------------------------------------------------------------------------------------------------


def command(plan: RunPlan, folder: Path, *more: str) -> list[str]:
    """The command line of a run that has no test patients but is the plan's otherwise."""
    recipe = plan.recipe
    settings = [f"{k}={getattr(recipe, k)}" for k in ("crop", "batch", "shards", "steps", "validations")]
    words = ["train", plan.spec.name, "--data", str(plan.data), "--out", str(folder), "--fold", "1/3", "--threads", "1"]
    return [*words, "--set", *settings, *more]


def ushape(words: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


def start(words: list[str]) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "ushape", *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the log has a row of `step`."""
    for _ in range(12_000):
        log = folder / "log.csv"
        if log.exists() and log.read_text().count("\n") > step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"no step {step} within a minute")


@pytest.fixture(scope="session")
def uninterrupted(plan: RunPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training by the command line, uninterrupted."""
    folder = tmp_path_factory.mktemp("train") / "uninterrupted"
    assert ushape(command(plan, folder)) == 0
    return folder


def test_a_run_killed_at_a_random_step_goes_on_to_the_same_bits(tmp_path: Path, plan: RunPlan, uninterrupted: Path):
    step = random.SystemRandom().randint(2, plan.recipe.steps - 6)
    folder = tmp_path / f"killed-at-{step}"
    process = start(command(plan, folder, "--save-every", "0"))
    wait_for_step(folder, step, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "weights.safetensors").exists()
    assert (folder / "state.safetensors").exists(), f"killed at {step}"
    assert ushape(command(plan, folder)) == 0
    assert_same_run(folder, uninterrupted)


def test_ctrl_c_saves_tells_and_goes_on_to_the_same_bits(tmp_path: Path, plan: RunPlan, uninterrupted: Path):
    process = start(command(plan, tmp_path / "run", "--save-every", "1000000"))
    wait_for_step(tmp_path / "run", 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(err.splitlines()) == 1
    assert err.startswith("ushape: interrupted")
    saved = json.loads(load_tensors(tmp_path / "run" / "state.safetensors")[1]["state"])["step"]
    assert saved >= 3
    assert ushape(command(plan, tmp_path / "run")) == 0
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_does_not_tear_the_state(
    tmp_path: Path, plan: RunPlan, uninterrupted: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        at_loss(patch, 13, send(number))  # the first shard of step 7
        assert ushape(command(plan, tmp_path / "run", "--save-every", "1000000")) == 130
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert (tmp_path / "run" / "state.safetensors").exists()
    assert ushape(command(plan, tmp_path / "run")) == 0
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("part", "method"),
    [(Replicas, "share_statistics"), (loop._Run, "_average_weights"), (loop._Run, "_validate")],
)
def test_signals_between_the_parts_of_a_step_do_not_tear_the_state(
    tmp_path: Path,
    plan: RunPlan,
    uninterrupted: Path,
    part: type,
    method: str,
    times: int,
    monkeypatch: pytest.MonkeyPatch,
):
    whole, calls = getattr(part, method), [0]
    with monkeypatch.context() as patch:

        def interrupted(self: Any) -> None:
            calls[0] += 1
            for _ in range(times if getattr(self, "step", calls[0]) >= 18 else 0):  # an impatient user presses twice
                os.kill(os.getpid(), signal.SIGINT)
            whole(self)

        patch.setattr(part, method, interrupted)
        assert ushape(command(plan, tmp_path / "run", "--save-every", "1000000")) == 130
    assert ushape(command(plan, tmp_path / "run")) == 0
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_second_signal_while_saving_leaves_no_half_file(
    tmp_path: Path, plan: RunPlan, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = stepping.save_tensors
    with monkeypatch.context() as patch:

        def interrupted(*given: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            whole(*given)

        patch.setattr(stepping, "save_tensors", interrupted)
        at_loss(patch, 13, send(signal.SIGINT))
        assert ushape(command(plan, tmp_path / "run", "--save-every", "1000000")) == 130
    left = [p.name for p in (tmp_path / "run").iterdir() if p.name.endswith(".part")]
    assert left == []
    assert ushape(command(plan, tmp_path / "run")) == 0
    assert_same_run(tmp_path / "run", uninterrupted)


def test_rows_that_a_killed_process_left_behind_are_cut(tmp_path: Path, fit: Train, plan: RunPlan, reference: Path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", more={"progress": stop_after(20)})
    with (tmp_path / "run" / "log.csv").open("a") as log:
        log.write("21,9,9,9,9\n22,9,9,9,9\n23,9")
    with (tmp_path / "run" / "validation.csv").open("a") as log:
        log.write("22,0.999\n")
    assert_same_run(fit(tmp_path / "run"), reference)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, fit: Train, monkeypatch: pytest.MonkeyPatch):
    folder = fit(tmp_path / "run", steps=2, validations=1)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    monkeypatch.setattr(loop, "open_pixels", lambda *_: pytest.fail("looked at pixels again"))
    fit(folder, steps=2, validations=1)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_run_killed_before_its_score_is_scored_only(tmp_path: Path, fit: Train, reference: Path):
    folder = fit(tmp_path / "run")
    (folder / "rois.json").unlink()
    trained = weights(folder)
    fit(folder)
    assert weights(folder) == trained
    assert (folder / "rois.json").read_bytes() == (reference / "rois.json").read_bytes()


def test_scoring_goes_on_with_the_rois_that_are_left(tmp_path: Path, plan: RunPlan, monkeypatch: pytest.MonkeyPatch):
    plan = replace(plan, recipe=replace(plan.recipe, steps=1), validation=(), test=(*plan.validation, *plan.test))
    folder = tmp_path / "run"

    def fit() -> list[str]:
        """The ROIs that it looked at."""
        looked: list[str] = []

        def watched(roi: Roi, *how: Any) -> Pixels:
            looked.append(roi.name)
            return open_pixels(roi, *how)

        monkeypatch.setattr(loop, "open_pixels", watched)
        with Lanes(1) as lanes:
            train(plan, folder, lanes, torch.device("cpu"))
        return looked

    open_run(folder, plan)
    fit()
    whole = (folder / "rois.json").read_bytes()
    first, second = json.loads(whole)
    (folder / "rois.json").unlink()
    (folder / "scored.json").write_text(json.dumps({first: json.loads(whole)[first]}))
    assert fit() == [second]
    assert (folder / "rois.json").read_bytes() == whole
    assert not (folder / "scored.json").exists()

    (folder / "rois.json").rename(folder / "scored.json")
    (folder / "predictions" / f"{first}.png").unlink()  # counted, and its map lost
    assert fit() == [first]
    assert (folder / "rois.json").read_bytes() == whole
    assert (folder / "predictions" / f"{first}.png").exists()


def test_scores_by_weights_that_are_gone_do_not_count(tmp_path: Path, fit: Train, reference: Path):
    folder = fit(tmp_path / "run")
    rois = json.loads((folder / "rois.json").read_text())
    (folder / "rois.json").unlink()
    wrong = {name: each | {"macro_dice": -1.0} for name, each in rois.items()}
    (folder / "scored.json").write_text(json.dumps(wrong))
    (folder / "weights.safetensors").unlink()
    fit(folder)
    assert (folder / "rois.json").read_bytes() == (reference / "rois.json").read_bytes()


@pytest.mark.parametrize("scored", [False, True])
def test_what_a_kill_left_behind_is_removed_when_the_run_is_started_again(
    tmp_path: Path, fit: Train, reference: Path, scored: bool
):
    folder = fit(tmp_path / "run")
    if not scored:
        (folder / "rois.json").unlink()
    leftovers = [folder / ".state.safetensors.4711.part", folder / "predictions" / ".ROI.png.4711.part"]
    leftovers.append(folder / "state.safetensors")  # killed between writing weights and removing it
    for path in leftovers:
        path.write_bytes(b"half a file")
    fit(folder)
    assert not [path for path in leftovers if path.exists()]
    assert_same_run(folder, reference)


# -- a loss that is not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tmp_path: Path, fit: Train, reference: Path, monkeypatch: pytest.MonkeyPatch, bad: float
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_loss(patch, 24, lambda loss: loss * bad)  # the second shard of step 12
        with pytest.raises(RunError, match=r"at step 12: .*the checkpoint of step 11 is kept.*rate .*clip") as caught:
            fit(folder, more=NEVER)
    assert "\n" not in str(caught.value)
    assert not (folder / "weights.safetensors").exists()
    tensors, metadata = load_tensors(folder / "state.safetensors")
    assert json.loads(metadata["state"])["step"] == 11
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
    assert steps(folder) == list(range(1, 12))
    # the state is that of step 11 and nothing of step 12 is in it: without the mishap the run ends as it would have
    assert_same_run(fit(folder), reference)


def test_scores_that_are_not_finite_leave_finite_statistics(
    tmp_path: Path, fit: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    # infinite light spoils normalisation statistics in the forward pass, before the loss is seen
    counted, convert = [0], fitting.as_input

    def dazzled(light: torch.Tensor) -> torch.Tensor:
        counted[0] += 1
        return convert(light * math.inf if counted[0] == 23 else light)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "as_input", dazzled)
        with pytest.raises(RunError, match="at step 12"):
            fit(tmp_path / "run", more=NEVER)
    tensors = load_tensors(tmp_path / "run" / "state.safetensors")[0]
    assert [k for k, t in tensors.items() if not bool(torch.isfinite(t).all())] == []
    assert_same_run(fit(tmp_path / "run"), reference)


def test_a_loss_that_is_not_finite_exits_with_2_in_one_line(
    tmp_path: Path, plan: RunPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    at_loss(monkeypatch, 5, lambda loss: loss * math.nan)
    assert ushape(command(plan, tmp_path / "run")) == 2
    told = capsys.readouterr().err
    assert told.startswith("ushape: ")
    assert len(told.splitlines()) == 1
    assert "step 3" in told
    assert (tmp_path / "run" / "state.safetensors").exists()


# -- a full disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_stops_the_run_and_room_lets_it_go_on(
    plan: RunPlan, uninterrupted: Path, tiny_disk: Any, capsys: pytest.CaptureFixture[str]
):
    state = (uninterrupted / "weights.safetensors").stat().st_size * 4 // 1000  # network, average, two moments
    run = tiny_disk(state * 3 // 2 + 20) / "run"  # kB: room for a state, not for its replacement beside it
    assert ushape(command(plan, run, "--save-every", "0")) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert told.startswith(f"ushape: cannot write {run}")
    assert "free some space" in told
    assert not list(run.glob(".*"))
    kept = json.loads(load_tensors(run / "state.safetensors")[1]["state"])["step"]
    assert kept >= 1
    tiny_disk(20_000)
    assert ushape(command(plan, run)) == 0
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("file", ["log.csv", "validation.csv"])
def test_a_full_disk_under_a_log_is_an_error_with_a_remedy(
    tmp_path: Path, fit: Train, reference: Path, monkeypatch: pytest.MonkeyPatch, file: str
):
    with monkeypatch.context() as patch:
        fill(patch, file)
        with pytest.raises(RunError, match=r"cannot write .*No space left on device; free some space"):
            fit(tmp_path / "run", more=ALWAYS)
    assert (tmp_path / "run" / "state.safetensors").exists()
    assert_same_run(fit(tmp_path / "run"), reference)


def fill(patch: pytest.MonkeyPatch, name: str) -> None:
    """Appending to the file `name` fails from its 4th row on as on a full disk."""
    opened = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        file = opened(self, mode, *more, **named)
        if self.name == name and "a" in mode:
            write = file.write

            def limited(text: str) -> int:
                if self.read_text().count("\n") >= (4 if name == "log.csv" else 2):
                    raise OSError(28, os.strerror(28))
                return write(text)

            file.write = limited
        return file

    patch.setattr(Path, "open", full)


def test_a_full_disk_under_the_state_is_an_error_and_keeps_the_last_state(
    tmp_path: Path, fit: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", more={"progress": stop_after(4)})
    kept = (tmp_path / "run" / "state.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("ushape.nets.weights.save_file", full_disk)
        with pytest.raises(RunError, match="free some space"):
            fit(tmp_path / "run", more=ALWAYS)
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == kept
    assert not list((tmp_path / "run").glob(".*"))
    assert_same_run(fit(tmp_path / "run"), reference)


def full_disk(*_: object) -> NoReturn:
    raise OSError(28, os.strerror(28))


def test_a_full_disk_at_the_start_does_not_cost_the_log(
    tmp_path: Path, fit: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", more={"progress": stop_after(20)})
    rows = steps(tmp_path / "run")

    def full(self: Path, *_: object, **__: object) -> int:
        self.open("w").close()  # a file is emptied before its first byte finds no room
        return full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(RunError, match="free some space"):
            fit(tmp_path / "run")
    assert steps(tmp_path / "run") == rows
    assert_same_run(fit(tmp_path / "run"), reference)
