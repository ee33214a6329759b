"""One training: a tile a step, weighted cross-entropy, SGD with momentum .99. Resumes to the same bits.

The network's weights start from N(0, sqrt(2 / N)), N the inputs of one neuron (section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ushape import __version__
from ushape.errors import RunError
from ushape.files import cannot_write
from ushape.nets.device import autocast, pick_precision
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.unet import Network, build
from ushape.nets.weights import load_weights, save_weights
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack
from ushape.reproduce.unet2015.tiles import Tiles
from ushape.train.places import LOG, STATE
from ushape.train.steps import Progress, cut_back, load_state, save_state, take_steps


def start_network(settings: Settings) -> Network:
    """The network of the settings with the paper's initial weights: normal, variance 2 / N; biases 0.

    N is what one output pixel of one channel is computed from: 9 times the channels for a 3x3 convolution, the
    channels alone for a 2x2 up-convolution of stride 2.
    """
    net = build(settings.spec, 1, 2, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.in_channels * (math.prod(module.kernel_size) if isinstance(module, nn.Conv2d) else 1)
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / inputs), generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return net


def weighted_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Sum of w(x) * -log p(x)(label) over the sum of w(x) (equation 1): [N, C, H, W], [N, H, W] twice -> scalar."""
    each = F.cross_entropy(scores.float(), labels, reduction="none")
    return (each * weights).sum() / weights.sum()


def learning_rate(settings: Settings, step: int) -> float:
    """Rising over the first `warmup` steps, constant, falling to 0 over the last third."""
    rising = (step + 1) / settings.warmup if settings.warmup else 1.0
    falling = (settings.steps - step) / max(settings.steps / 3, 1)
    return settings.rate * min(rising, falling, 1.0)


def fit(
    stack: Stack,
    slices: Sequence[int],
    settings: Settings,
    folder: Path,
    device: torch.device,
    progress: Progress = lambda step, loss: None,
    save_every: float = 20.0,
) -> Network:
    """Train on some slices into `folder`, going on from the state found there; the trained network, for evaluation.

    Writes log.csv, state.safetensors (every `save_every` seconds and when interrupted; gone at the end) and
    weights.safetensors. RunError: loss not finite, disk full.
    """
    try:
        if not (folder / "weights.safetensors").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _Run(stack, slices, settings, folder, device).fit(progress, save_every)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error
    return load_weights(folder).net.to(device)


class _Run:
    """Network, momentum, step; everything else of a step follows from seed and step."""

    def __init__(
        self, stack: Stack, slices: Sequence[int], settings: Settings, folder: Path, device: torch.device
    ) -> None:
        self.settings, self.folder, self.device = settings, folder, device
        self.slices = [stack.names[i] for i in slices]
        self.precision = pick_precision("auto", device)
        net = start_network(settings)
        self.tiles = Tiles(stack, slices, settings, net.shrink)
        self.net: Network = net.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.momentum = {name: torch.zeros_like(p) for name, p in self.net.named_parameters()}
        self.step, self.seconds = 0, 0.0

    def fit(self, progress: Progress, save_every: float) -> None:
        def update() -> tuple[float, float]:
            rate = learning_rate(self.settings, self.step)
            return self._update(rate), rate

        self._load()
        take_steps(self, self.settings.steps, update, self._save, progress, save_every)
        self._finish()

    def _update(self, rate: float) -> float:
        """One step: v = momentum v + gradient; weights -= rate v. RunError where the loss is not finite."""
        tile = self.tiles.draw(self.step)
        light, labels, weights = (self._batch(a) for a in (tile.light, tile.labels, tile.weights))
        seed_dropout(self.net, self.settings.seed * 1_000_003 + self.step)
        with autocast(self.precision, self.device):
            scores = self.net(light[:, None].contiguous(memory_format=torch.channels_last))  # [1, 2, T - s, T - s]
        loss = weighted_loss(scores, labels, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                f"{self.folder}: the loss is {value:g} at step {self.step + 1}: training stopped; the rate "
                f"{self.settings.rate:g} is too high for these slices"
            )
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                assert p.grad is not None
                self.momentum[name].mul_(self.settings.momentum).add_(p.grad)
                p.sub_(self.momentum[name], alpha=rate)
                p.grad = None
        return value

    def _batch(self, array: NDArray[np.generic]) -> Tensor:
        """A batch of one, on the device."""
        return torch.from_numpy(array).to(self.device)[None]

    # -- files -------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        return tensors | {f"momentum.{k}": v for k, v in self.momentum.items()}

    def _save(self) -> None:
        save_state(self, self._state())

    def _load(self) -> None:
        """Go on from the state where there is one; the log is cut back to its step."""
        load_state(self, self._state())
        cut_back(self.folder / LOG, "step,loss,rate,seconds", self.step)

    def _finish(self) -> None:
        about = {
            "ushape": __version__,
            "classes": ["membrane", "interior"],
            "input": "grey slices of mean 0 and deviation 1",
            "settings": self.settings.to_dict(),
            "precision": self.precision,
            "seconds": self.seconds,
            "trained_on": self.slices,
        }
        save_weights(self.folder / "weights.safetensors", self.net, about)
        (self.folder / STATE).unlink(missing_ok=True)
