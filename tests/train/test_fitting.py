"""One optimisation step, beside the same done by hand with PyTorch's own optimiser."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ushape.nets.unet import build
from ushape.nets.weights import as_input
from ushape.threads import Lanes
from ushape.train.fitting import Fitting
from ushape.train.recipe import Recipe
from ushape.train.schedule import learning_rate

RECIPE = Recipe(batch=2, shards=2, steps=4, rate=0.01, weight_decay=0.3, clip=0.05, ema=0.9, precision="float32")
LIGHT = torch.rand(2, 1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
"""A crop for each shard."""
SLOW = "topology."


class Squares(Fitting):
    def shard_loss(self, shard: int) -> Tensor:
        scores = self.scores(shard, LIGHT[shard])
        assert isinstance(scores, Tensor)
        return scores.square().mean()


def test_steps_are_those_of_adamw_on_clipped_gradients_averaged_as_the_recipe_says(tmp_path: Path) -> None:
    net = build("unet[width=4,levels=2,norm=none]", seed=0)  # with a batch norm shards are not one batch
    by_hand, slow = copy.deepcopy(net), [name for name, _ in net.named_parameters() if name.startswith(SLOW)]
    average = {name: value.clone() for name, value in by_hand.state_dict().items()}
    groups = [
        {"params": [p], "weight_decay": 0.3 if p.ndim > 1 else 0.0, "slowness": 0.5 if name in slow else 1.0}
        for name, p in by_hand.named_parameters()
    ]
    assert 0 < len(slow) < len(groups)
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    with Lanes(1) as lanes:
        run = Squares(net, RECIPE, 0, tmp_path, lanes, torch.device("cpu"), slow, 0.5)
        for step in range(4):
            loss, norm, rate = run.update()
            run.step += 1
            expected = torch.stack([by_hand(as_input(light)).square().mean() for light in LIGHT]).mean()
            optimiser.zero_grad()
            expected.backward()
            whole = torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.05)
            assert float(whole) > 0.05  # there is something to clip
            assert (loss, norm) == pytest.approx((expected.item(), float(whole)), rel=1e-4)
            assert rate == learning_rate(RECIPE, step)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["slowness"]
            optimiser.step()
            keep = min(0.9, (1 + step) / (10 + step))
            for name, value in by_hand.state_dict().items():
                average[name] = keep * average[name] + (1 - keep) * value
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(run.net.state_dict()[name], value, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(run.average.state_dict()[name], average[name], atol=2e-5, rtol=1e-4)
