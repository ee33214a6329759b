from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ushape.errors import RunError
from ushape.nets.weights import load_tensors
from ushape.reproduce.unet2015.loop import fit, learning_rate, start_network, weighted_loss
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack

CPU = torch.device("cpu")


def test_initial_weights_have_the_papers_deviation() -> None:
    net = start_network(Settings(width=16))
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.in_channels * (9 if module.kernel_size == (3, 3) else 1)
            few = 4 / math.sqrt(2 * module.weight.numel())  # four standard errors of a deviation
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / inputs), rel=few)
            assert module.bias is not None
            assert (module.bias == 0).all()


def test_initial_weights_follow_the_seed() -> None:
    one, same, other = (start_network(Settings(width=2, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_the_loss_by_hand() -> None:
    """Two pixels of weights 3 and 1, whose labels have probabilities 1/2 and 1/4."""
    scores = torch.log(torch.tensor([[[[0.5, 0.75]], [[0.5, 0.25]]]]))  # [1, 2, 1, 2]
    made = weighted_loss(scores, torch.tensor([[[0, 1]]]), torch.tensor([[[3.0, 1.0]]]))
    assert float(made) == pytest.approx((3 * math.log(2) + math.log(4)) / 4)


def test_the_rate_rises_stays_and_falls() -> None:
    settings = Settings(steps=300, warmup=10, rate=1.0)
    rates = [learning_rate(settings, step) for step in range(300)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:200] == [1.0] * 191
    assert rates[250] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.01)
    assert learning_rate(replace(settings, warmup=0), 0) == 1.0


class Killed(Exception):
    """What ends a process without asking it."""


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(
    tmp_path: Path, stack: Stack, small: Settings, error: type[BaseException]
) -> None:
    fit(stack, range(4), small, tmp_path / "whole", CPU)

    def stop(step: int, loss: float) -> None:
        if step == 3:
            raise error

    with pytest.raises(error):
        fit(stack, range(4), small, tmp_path / "cut", CPU, stop, save_every=0.0)
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    fit(stack, range(4), small, tmp_path / "cut", CPU)
    whole, cut = (load_tensors(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    logs = [
        [row.split(",")[:3] for row in (tmp_path / n / "log.csv").read_text().splitlines()] for n in ("whole", "cut")
    ]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 1 + small.steps
    assert not (tmp_path / "cut" / "state.safetensors").exists()


def test_one_step_is_sgd_with_momentum(tmp_path: Path, stack: Stack, small: Settings) -> None:
    """Beside torch's own optimiser, fed the same gradients."""
    from ushape.reproduce.unet2015.loop import _Run

    run = _Run(stack, range(4), small, tmp_path, CPU)
    other = start_network(small)
    optimiser = torch.optim.SGD(other.parameters(), lr=1.0, momentum=small.momentum)
    for rate in (0.001, 0.0005):
        before = {n: v.clone() for n, v in run.momentum.items()}
        run._update(rate)
        for name, p in other.named_parameters():
            p.grad = run.momentum[name] - small.momentum * before[name]
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        run.step += 1
    for mine, theirs in zip(run.net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), atol=1e-6)


def test_training_lowers_the_loss(tmp_path: Path, stack: Stack, small: Settings) -> None:
    settings = replace(small, width=4, steps=40, warmup=5, rate=3e-3, dropout=0.0)
    losses: list[float] = []
    fit(stack, range(4), settings, tmp_path, CPU, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[1:6])


def test_a_loss_that_is_not_finite_stops_with_the_reason(tmp_path: Path, stack: Stack, small: Settings) -> None:
    endless = replace(stack, light=np.full_like(stack.light, np.inf))
    with pytest.raises(RunError, match=r"the loss is nan at step 1: training stopped; the rate 0.001 is too high"):
        fit(endless, range(4), small, tmp_path, CPU)
