"""Training the cascade: the paper's loss and descent, the same bits after any interruption and with any lanes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ushape.errors import RunError, SpecError, UshapeError
from ushape.lits.crops import Crops
from ushape.lits.prepare import open_prepared
from ushape.lits.recipe import CLASS_WEIGHTS, Recipe
from ushape.lits.train import Training, train_cascade
from ushape.nets.unet import build
from ushape.nets.weights import load_weights
from ushape.threads import Lanes
from ushape.train.steps import read_log

CPU = torch.device("cpu")
STAGES = ("liver", "lesion")


def _same(one: Path, other: Path) -> None:
    for stage in STAGES:
        ours, theirs = (load_file(folder / stage / "weights.safetensors") for folder in (one, other))
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert torch.equal(tensor, theirs[key]), key
        logs = [read_log(folder / stage / "log.csv") for folder in (one, other)]
        assert logs[0]["loss"] == logs[1]["loss"]
        assert logs[0]["step"] == list(range(1, 7))


def test_a_run_leaves_two_networks(run: Path) -> None:
    for stage, classes in (("liver", 2), ("lesion", 3)):
        weights = load_weights(run / stage)
        assert (weights.net.in_channels, weights.net.classes) == (5, classes)
        assert weights.about["lits"] == stage
        assert weights.about["cases"] == ["0", "1", "2"]
        assert not (run / stage / "state.safetensors").exists()


def test_the_first_step_is_the_papers(tiny: Recipe, prepared: Path, tmp_path: Path) -> None:
    """Against torch alone: weighted cross-entropy, momentum, weight decay, on one batch."""
    recipe = replace(tiny, shards=1, precision="float32", rate=0.1)
    crops = Crops(open_prepared(prepared, "lesion"), recipe.crop, recipe.slices, recipe.balanced, 3)
    with Lanes(1) as lanes:
        ours = Training("lesion", tmp_path, crops, recipe, 3, lanes, CPU)
        losses = [ours._update()]
        ours.step += 1
        losses.append(ours._update())
    net = build(recipe.spec, 5, 3, 4).to(memory_format=torch.channels_last)
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    for step in range(2):
        drawn = [crops.draw(step, place) for place in range(4)]
        image, labels = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        log_p = net(image).log_softmax(1)
        weight = torch.tensor(CLASS_WEIGHTS["lesion"])[labels]
        loss = -(weight * log_p.gather(1, labels[:, None])[:, 0]).sum() / weight.sum()
        assert losses[step] == pytest.approx(float(loss.detach()), rel=1e-4)
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, v in zip(net.parameters(), velocity, strict=True):
                v.mul_(recipe.momentum).add_(p.grad + recipe.weight_decay * p)
                p.sub_(recipe.rate_at(step, "lesion") * v)
    for mine, theirs in zip(ours.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_lanes_change_no_bit(tiny: Recipe, prepared: Path, run: Path, tmp_path: Path) -> None:
    with Lanes(2) as lanes:
        train_cascade(prepared, tmp_path / "run", tiny, 0, lanes, CPU)
    _same(tmp_path / "run", run)


@pytest.mark.parametrize("at", [2, 8])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    tiny: Recipe, prepared: Path, run: Path, tmp_path: Path, at: int
) -> None:
    def stop(step: int, loss: float) -> None:
        if step == at and loss == loss:
            raise KeyboardInterrupt

    with Lanes(1) as lanes:
        with pytest.raises(KeyboardInterrupt):
            train_cascade(prepared, tmp_path / "run", tiny, 0, lanes, CPU, stop, save_every=1e9)
        stage = tmp_path / "run" / ("liver" if at < 6 else "lesion")
        assert (stage / "state.safetensors").exists()
        train_cascade(prepared, tmp_path / "run", tiny, 0, lanes, CPU)
    _same(tmp_path / "run", run)


def test_a_killed_process_goes_on_to_the_same_bits(tiny: Recipe, prepared: Path, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = [f"{key}={value}" for key, value in tiny.to_dict().items()]
    words = ["lits", "train", str(prepared), "--out", str(folder), "--threads", "1", "--save-every", "0", "--set"]
    command = [sys.executable, "-m", "ushape", *words, *settings]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not (folder / "liver" / "state.safetensors").exists():
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "lesion" / "weights.safetensors").exists(), "it was killed too late to show anything"
    with Lanes(1) as lanes:
        train_cascade(prepared, folder, tiny, 0, lanes, CPU)
    _same(folder, run)


def test_another_runs_folder_is_left_alone(tiny: Recipe, prepared: Path, run: Path) -> None:
    with Lanes(1) as lanes, pytest.raises(RunError, match=r"its recipe\.slices is 5, not 3"):
        train_cascade(prepared, run, replace(tiny, slices=3), 0, lanes, CPU)


def test_a_loss_that_is_not_finite_stops(tiny: Recipe, prepared: Path, tmp_path: Path) -> None:
    recipe = replace(tiny, rate=10.0, liver_steps=50, precision="float32", momentum=0.999, weight_decay=1.0)
    with Lanes(1) as lanes, pytest.raises(RunError, match=r"the loss is .* with a lower rate \(now 10\)"):
        train_cascade(prepared, tmp_path / "run", replace(recipe, decay=1.0), 0, lanes, CPU)


def test_unpadded_networks_are_refused(tiny: Recipe, prepared: Path, tmp_path: Path) -> None:
    with Lanes(1) as lanes, pytest.raises(SpecError, match="use padding=same"):
        train_cascade(prepared, tmp_path / "run", replace(tiny, spec="unet-2015[width=4]"), 0, lanes, CPU)
    assert not (tmp_path / "run").exists(), "the folder is free for the command put right"


def test_another_precision_and_a_seed_out_of_range_are_refused(
    tiny: Recipe, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lanes(1) as lanes:
        with pytest.raises(UshapeError, match="seed 300000000000 is out of range"):
            train_cascade(prepared, tmp_path / "run", tiny, 300_000_000_000, lanes, CPU)
        assert not (tmp_path / "run").exists()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
        with pytest.raises(KeyboardInterrupt):
            train_cascade(prepared, tmp_path / "run", replace(tiny, precision="auto"), 0, lanes, CPU, _stop)
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
        with pytest.raises(RunError, match=r"recipe\.precision is bf16, not float32"):
            train_cascade(prepared, tmp_path / "run", replace(tiny, precision="auto"), 0, lanes, CPU)
        with pytest.raises(RunError, match="precision=bf16: this cpu does not compute bfloat16 itself"):
            train_cascade(prepared, tmp_path / "run", replace(tiny, precision="bf16"), 0, lanes, CPU)


def _stop(step: int, loss: float) -> None:
    raise KeyboardInterrupt
