"""What any training by AdamW here shares: replicas, optimiser, averaged weights, a step of shards, the saved state."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ushape.errors import RunError
from ushape.nets.device import Precision, autocast, pick_precision
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.unet import Network
from ushape.nets.weights import as_input
from ushape.threads import Lanes
from ushape.train.optimisers import AdamW
from ushape.train.places import LOG
from ushape.train.replicas import Replicas
from ushape.train.schedule import Scheduled, learning_rate
from ushape.train.steps import cut_back, load_state, save_state


class Diverged(RunError):
    """The loss or the gradient is not finite."""


class Fitted(Scheduled, Protocol):
    """What a recipe says of an optimisation."""

    @property
    def batch(self) -> int: ...
    @property
    def shards(self) -> int: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def ema(self) -> float: ...
    @property
    def precision(self) -> Precision: ...


class Fitting(ABC):
    """A network in training in `folder`. `recipe`, `seed`: what its steps depend on, beside what `shard_loss` sees.

    slow: names of parameters that learn at `slowness` times the rate of the others.
    """

    def __init__(
        self,
        net: Network,
        recipe: Fitted,
        seed: int,
        folder: Path,
        lanes: Lanes,
        device: torch.device,
        slow: Collection[str] = (),
        slowness: float = 1.0,
    ) -> None:
        self.recipe, self.seed, self.folder, self.lanes, self.device = recipe, seed, folder, lanes, device
        self.precision = pick_precision(recipe.precision, device)
        self.net: Network = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.replicas = Replicas(self.net, recipe.shards)
        self.parameters = list(self.net.parameters())
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, p in self.net.named_parameters():
            key = (recipe.weight_decay if p.ndim > 1 else 0.0, slowness if name in slow else 1.0)
            groups.setdefault(key, []).append(p)
        self.moving = [p for (_, factor), of in groups.items() if factor for p in of]
        self.optimiser = AdamW(
            [{"params": of, "weight_decay": decay, "factor": factor} for (decay, factor), of in groups.items()],
            betas=(0.9, 0.99),
            fused=True,
        )
        for p in self.parameters:  # AdamW would make these at its first step; a resumed run fills them before
            zeros = (torch.zeros_like(p, memory_format=torch.preserve_format) for _ in range(2))
            counted = torch.zeros((), device=p.device)
            self.optimiser.state[p] = dict(zip(("exp_avg", "exp_avg_sq"), zeros, strict=True), step=counted)
        self.step, self.seconds = 0, 0.0

    @abstractmethod
    def shard_loss(self, shard: int) -> Tensor:
        """The loss of a shard of this step's batch, by way of `scores`; scalar."""

    def scores(self, shard: int, light: Tensor) -> Tensor | list[Tensor]:
        """What the shard's replica makes of light [n, S, S, 3], 0 to 1."""
        replica = self.replicas.modules[shard]
        seed_dropout(replica, (self.seed * 1_000_003 + self.step) * 64 + shard)
        with autocast(self.precision, self.device):
            made: Tensor | list[Tensor] = replica(as_input(light).contiguous(memory_format=torch.channels_last))
        return made

    def places(self, shard: int) -> range:
        """The places of a shard's crops in the batch."""
        share = self.recipe.batch // self.recipe.shards
        return range(shard * share, (shard + 1) * share)

    def update(self) -> tuple[float, float, float]:
        """One optimisation step: its loss, gradient norm and learning rate; Diverged where they are not finite."""
        recipe = self.recipe
        losses = list(self.lanes.map(self._shard, range(recipe.shards)))
        self.replicas.gather_gradients()
        norm = float(torch.nn.utils.clip_grad_norm_(self.moving, recipe.clip))
        loss = sum(losses)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"{self.folder}: the loss is {loss:g} and the gradient {norm:g} at step {self.step + 1}: training "
                f"stopped; the checkpoint of step {self.step} is kept. Start a new run with a lower rate (now "
                f"{recipe.rate:g}) or clip (now {recipe.clip:g})"
            )
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.replicas.share_statistics()
        self._average_weights()
        return loss, norm, rate

    def _shard(self, shard: int) -> float:
        """Pass a shard forward and backward on its replica; its part of the loss."""
        loss = self.shard_loss(shard) / self.recipe.shards
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Exponential moving average of parameters and statistics, warming up from the first steps' weights."""
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        mine, theirs = ([*net.parameters(), *net.buffers()] for net in (self.average, self.net))
        for averaged, now in zip(mine, theirs, strict=True):  # each once, also where a part has it under two names
            if averaged.is_floating_point():
                averaged.lerp_(now, 1 - keep)
            else:
                averaged.copy_(now)

    # -- files -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state; a training with more to keep than tensors and the step adds it."""
        save_state(self, self.state())

    def load(self) -> None:
        """Go on from the state where there is one; the log is cut back to its step."""
        if load_state(self, self.state()):
            self.replicas.restore_statistics()
        self.cut_log()

    def cut_log(self) -> None:
        """Keep the log's rows up to the step."""
        cut_back(self.folder / LOG, "step,loss,gradient_norm,rate,seconds", self.step)

    def state(self) -> dict[str, Tensor]:
        """All tensors that the next step depends on, by name."""
        state = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, p in self.net.named_parameters():
            state |= {f"{key}.{name}": v for key, v in self.optimiser.state[p].items()}
        return state
