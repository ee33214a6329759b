"""Training one network of the cascade: like `train.loop`, from crops of CT, by the paper's gradient descent.

The same to the last bit with one lane or many, and after any interruption; see `train.loop` for why.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ushape import __version__
from ushape.errors import RunError, SpecError, check_seed
from ushape.files import cannot_write, read_json, remove_parts
from ushape.lits.crops import Crops
from ushape.lits.prepare import open_prepared
from ushape.lits.recipe import CLASS_WEIGHTS, STAGES, Recipe, Stage
from ushape.locks import holding
from ushape.nets.device import autocast, pick_precision, training_precision
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.unet import Network, build
from ushape.nets.weights import save_weights
from ushape.threads import Lanes
from ushape.train.optimisers import SGD
from ushape.train.places import LOG, STATE
from ushape.train.replicas import Replicas
from ushape.train.run import claim
from ushape.train.steps import Progress, cut_back, load_state, save_state, take_steps
from ushape.versions import versions


def train_cascade(
    data: Path,
    folder: Path,
    recipe: Recipe,
    seed: int,
    lanes: Lanes,
    device: torch.device,
    progress: Progress = lambda step, loss: None,
    save_every: float = 20.0,
) -> None:
    """Train both networks into folder/liver and folder/lesion, going on from what is found there.

    `progress` hears of the steps of both networks together. RunError where the folder is another run's, a loss is not
    finite, or the disk is full; DataError where `data` is not prepared.
    """
    recipe = replace(recipe, precision=training_precision(recipe.precision, device))
    cases = {stage: open_prepared(data, stage) for stage in STAGES}
    content = {
        "data": str(data.resolve()),
        "cases": [case.name for case in cases["liver"]],
        "fingerprint": read_json(data / "prepared.json")["fingerprint"],
        "recipe": recipe.to_dict(),
        "seed": check_seed(seed),
        "versions": versions("lits"),
    }
    for stage in STAGES:
        _built(stage, recipe, seed)  # what cannot be trained is told before anything is written
    claim(folder, folder / "lits.yaml", content, "run")
    done = 0
    try:
        with holding(folder / "lits.yaml"):
            remove_parts(folder)
            for stage in STAGES:
                (folder / stage).mkdir(exist_ok=True)
                if not (folder / stage / "weights.safetensors").exists():
                    size, share = recipe.crop, recipe.balanced
                    crops = Crops(cases[stage], size, recipe.slices, share, seed)
                    run = Training(stage, folder / stage, crops, recipe, seed, lanes, device)
                    before = done
                    run.fit(lambda step, loss, before=before: progress(before + step, loss), save_every)  # type: ignore[misc]
                    run.finish(content["cases"])
                done += recipe.steps(stage)
                progress(done, math.nan)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error


def _built(stage: Stage, recipe: Recipe, seed: int) -> Network:
    """A stage's network before its training; SpecError where it cannot be trained on crops."""
    net = build(recipe.spec, recipe.slices, len(CLASS_WEIGHTS[stage]), seed + STAGES.index(stage))
    if net.shrink:
        raise SpecError(f"{net.spec.name}: scores of the crop's size are needed: use padding=same")
    return net


class Training:
    """One network, its replicas and its optimiser."""

    def __init__(
        self, stage: Stage, folder: Path, crops: Crops, recipe: Recipe, seed: int, lanes: Lanes, device: torch.device
    ) -> None:
        self.stage, self.folder, self.crops, self.recipe = stage, folder, crops, recipe
        self.seed, self.lanes, self.device = seed, lanes, device
        self.precision = pick_precision(recipe.precision, device)
        self.weights = torch.tensor(CLASS_WEIGHTS[stage], device=device)
        net = _built(stage, recipe, seed)
        self.net: Network = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.replicas = Replicas(self.net, recipe.shards)
        self.optimiser = SGD(
            self.net.parameters(), lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        for p in self.net.parameters():  # SGD would make these at its first step; a resumed run fills them before
            zeros = torch.zeros_like(p, memory_format=torch.preserve_format)
            self.optimiser.state[p] = {"momentum_buffer": zeros}
        self.step, self.seconds = 0, 0.0

    def fit(self, progress: Progress, save_every: float) -> None:
        """Train to the last step; log.csv has a row a step, `seconds` of the processor's time."""
        self._load()
        steps, clock = self.recipe.steps(self.stage), time.process_time
        take_steps(self, steps, lambda: (self._update(),), self._save, progress, save_every, clock=clock)

    def finish(self, cases: object) -> None:
        """Write the weights and remove the state."""
        about = {
            "ushape": __version__,
            "lits": self.stage,
            "slices": self.recipe.slices,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "precision": self.precision,
            "cases": cases,
        }
        save_weights(self.folder / "weights.safetensors", self.net.eval(), about)
        (self.folder / STATE).unlink(missing_ok=True)

    def _update(self) -> float:
        """One step: its loss; RunError where it is not finite."""
        loss = sum(self.lanes.map(self._shard, range(self.recipe.shards)))
        self.replicas.gather_gradients()
        if not math.isfinite(loss):
            raise RunError(
                f"{self.folder}: the loss is {loss:g} at step {self.step + 1}: training stopped; start a new run "
                f"with a lower rate (now {self.recipe.rate:g})"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.stage)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.replicas.share_statistics()
        return loss

    def _shard(self, shard: int) -> float:
        """Draw a shard, pass it forward and backward on its replica; its part of the loss."""
        replica, share = self.replicas.modules[shard], self.recipe.batch // self.recipe.shards
        drawn = [self.crops.draw(self.step, shard * share + i) for i in range(share)]
        image = torch.from_numpy(np.stack([d[0] for d in drawn])).to(self.device)  # [n, slices, S, S]
        labels = torch.from_numpy(np.stack([d[1] for d in drawn])).to(self.device)  # [n, S, S]
        seed_dropout(replica, (self.seed * 1_000_003 + self.step) * 64 + shard)
        with autocast(self.precision, self.device):
            scores = replica(image.contiguous(memory_format=torch.channels_last))
        finest = scores[0] if isinstance(scores, list) else scores
        loss = F.cross_entropy(finest.float(), labels, self.weights) / self.recipe.shards
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    # -- files -------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        state = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        for name, p in self.net.named_parameters():
            state[f"momentum.{name}"] = self.optimiser.state[p]["momentum_buffer"]
        return state

    def _save(self) -> None:
        save_state(self, self._state())

    def _load(self) -> None:
        if load_state(self, self._state()):
            self.replicas.restore_statistics()
        cut_back(self.folder / LOG, "step,loss,seconds", self.step)
