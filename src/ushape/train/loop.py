"""One training run, from a plan to weights, to be read from top to bottom; `ushape.train.steps` repeats the step.

Every step cuts its batch into `shards` of equal size. Each shard is drawn, augmented, passed forward and backward by
one lane (see `ushape.threads`) on a replica of the network: replicas share parameters, and have gradients and
normalisation statistics of their own, which are summed and averaged in a fixed order. So the weights do not
depend, in a single bit, on how many lanes there are, on what else the machine does, or on interruptions. A step that
fails leaves no trace: the network itself changes only when all of its shards are done and finite.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ushape import __version__
from ushape.data.augment import CropSettings
from ushape.data.classes import grouping
from ushape.data.crops import Crops
from ushape.data.rois import Pixels, open_pixels
from ushape.data.splits import class_counts
from ushape.errors import RunError
from ushape.files import cannot_write, remove_parts, write_json
from ushape.nets.device import autocast, pick_precision
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.unet import Network, build
from ushape.nets.weights import as_input, load_weights, save_weights
from ushape.predict.colours import save_labels
from ushape.predict.engine import Predictor, evaluate
from ushape.predict.score import macro_dice, plain
from ushape.threads import Lanes
from ushape.train.losses import class_weights, segmentation_loss
from ushape.train.places import LOG, STATE
from ushape.train.recipe import Recipe
from ushape.train.replicas import Replicas
from ushape.train.run import RunPlan, pretrained
from ushape.train.schedule import learning_rate
from ushape.train.steps import Progress, cut_back, load_state, save_state, take_steps


class Diverged(RunError):
    """The loss or the gradient is not finite."""


def train(
    plan: RunPlan,
    folder: Path,
    lanes: Lanes,
    device: torch.device,
    progress: Progress = lambda step, loss: None,
    save_every: float = 20.0,
    looks: Collection[int] | None = None,
) -> None:
    """Train into `folder`, going on from the state found there; returns when weights and scores are written.

    `looks`: steps after which the validation patients are scored (None: as `validation_steps` has it).

    Writes log.csv (a row a step), validation.csv, state.safetensors (every `save_every` seconds and when
    interrupted; gone at the end), weights.safetensors, and, where the plan has test ROIs, rois.json and predictions/.
    Diverged: loss not finite. RunError: disk full. DataError: pixels that cannot be used.
    """
    recipe = plan.recipe
    try:
        remove_parts(folder)
        if not (folder / "weights.safetensors").exists():
            pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in plan.train]
            validation = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in plan.validation]
            run = _Run(plan, folder, lanes, device, pixels, validation)
            run.fit(progress, save_every, validation_steps(recipe) if looks is None else looks)
            run.finish()
        (folder / STATE).unlink(missing_ok=True)
        if plan.test and not (folder / "rois.json").exists():
            score_test(plan, folder, lanes, device)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error


class _Run:
    """The state of a run: replicas, optimiser, averaged weights, the best of them so far."""

    def __init__(
        self,
        plan: RunPlan,
        folder: Path,
        lanes: Lanes,
        device: torch.device,
        pixels: list[Pixels],
        validation: list[Pixels],
    ) -> None:
        recipe = plan.recipe
        self.plan, self.folder, self.lanes, self.device = plan, folder, lanes, device
        self.precision = pick_precision(recipe.precision, device)
        self.grouping = grouping(recipe.grouping)
        settings = CropSettings(
            recipe.crop, recipe.balanced, recipe.stain, recipe.scale, recipe.sharpness, recipe.elastic
        )
        self.crops, self.validation = Crops(pixels, self.grouping, settings, plan.seed), validation
        counts = np.sum(list(class_counts(pixels, self.grouping).values()), axis=0)
        weights = class_weights(counts, recipe.class_weight) if recipe.class_weight else None
        self.loss = (recipe.dice, recipe.focal, recipe.smoothing, None if weights is None else weights.to(device))

        net = build(plan.spec, 3, len(self.grouping.classes), plan.seed, pretrained(plan.spec, recipe))
        self.net: Network = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.replicas = Replicas(self.net, recipe.shards)
        self.parameters = list(self.net.parameters())
        decayed = [p for p in self.parameters if p.ndim > 1]
        free = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}],
            betas=(0.9, 0.99),
            fused=True,
        )
        for p in self.parameters:  # AdamW would make these at its first step; a resumed run fills them before
            zeros = (torch.zeros_like(p, memory_format=torch.preserve_format) for _ in range(2))
            self.optimiser.state[p] = dict(zip(("exp_avg", "exp_avg_sq"), zeros, strict=True), step=torch.zeros(()))
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, Tensor] = {}
        self.best_step, self.best_dice = 0, -1.0

    # -- the loop ----------------------------------------------------------------------------------------------

    def fit(self, progress: Progress, save_every: float, looks: Collection[int]) -> None:
        """Take the steps that are left; after those of `looks` the validation patients are scored."""

        def after() -> None:
            if self.validation and self.step in looks:
                self._validate()

        self._load()
        take_steps(self, self.plan.recipe.steps, self._update, self._save, progress, save_every, after)

    def _update(self) -> tuple[float, float, float]:
        """One optimisation step: its loss, gradient norm and learning rate; Diverged where they are not finite."""
        recipe = self.plan.recipe
        losses = list(self.lanes.map(self._shard, range(recipe.shards)))
        self.replicas.gather_gradients()
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip))
        loss = sum(losses)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"{self.folder}: the loss is {loss:g} and the gradient {norm:g} at step {self.step + 1}: training "
                f"stopped; the checkpoint of step {self.step} is kept. Start a new run with a lower rate (now "
                f"{recipe.rate:g}) or clip (now {recipe.clip:g})"
            )
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.replicas.share_statistics()
        self._average_weights()
        return loss, norm, rate

    def _shard(self, shard: int) -> float:
        """Draw a shard, pass it forward and backward on its replica; its part of the loss."""
        recipe, replica = self.plan.recipe, self.replicas.modules[shard]
        share = recipe.batch // recipe.shards
        drawn = [self.crops.draw(self.step, shard * share + i) for i in range(share)]
        light = torch.from_numpy(np.stack([d[0] for d in drawn])).to(self.device)  # [n, S, S, 3]
        labels = torch.from_numpy(np.stack([d[1] for d in drawn])).to(self.device)  # [n, S, S]
        seed_dropout(replica, (self.plan.seed * 1_000_003 + self.step) * 64 + shard)
        with autocast(self.precision, self.device):
            scores = replica(as_input(light).contiguous(memory_format=torch.channels_last))
        loss = segmentation_loss(scores, labels, *self.loss) / recipe.shards
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Exponential moving average of parameters and statistics, warming up from the first steps' weights."""
        keep = min(self.plan.recipe.ema, (1 + self.step) / (10 + self.step))
        for averaged, now in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if averaged.is_floating_point():
                averaged.lerp_(now, 1 - keep)
            else:
                averaged.copy_(now)

    def _validate(self) -> None:
        """Score the averaged weights on the validation patients; keep them if they are the best so far."""
        predictor = Predictor(self.average, self.device, self.precision, self.lanes)
        matrices = [each.confusion for each in evaluate(predictor, self.validation, self.grouping)]
        dice = float(macro_dice(np.sum(matrices, axis=0)))
        if dice > self.best_dice:
            self.best_step, self.best_dice = self.step, dice
            self.best = {k: v.clone() for k, v in self.average.state_dict().items()}
        with (self.folder / "validation.csv").open("a") as file:
            file.write(f"{self.step},{dice:.6f}\n")

    # -- files -------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        """All tensors that the next step depends on, by name."""
        state = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, p in self.net.named_parameters():
            state |= {f"{key}.{name}": v for key, v in self.optimiser.state[p].items()}
        return state

    def _save(self) -> None:
        tensors = self._state() | {f"best.{k}": v for k, v in self.best.items()}
        save_state(self, tensors, best_step=self.best_step, best_dice=self.best_dice)

    def _load(self) -> None:
        """Go on from the state where there is one; logs are cut back to its step."""
        found = load_state(self, self._state())
        if found:
            tensors, about = found
            self.best = {k[5:]: v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
            self.best_step, self.best_dice = about["best_step"], about["best_dice"]
            self.replicas.restore_statistics()
        cut_back(self.folder / LOG, "step,loss,gradient_norm,rate,seconds", self.step)
        cut_back(self.folder / "validation.csv", "step,macro_dice", self.step)

    def finish(self) -> None:
        """Write the chosen weights."""
        if self.best:
            self.average.load_state_dict(self.best)
        recipe = self.plan.recipe
        about = {
            "ushape": __version__,
            "grouping": self.grouping.describe(),
            "mpp": recipe.mpp,
            "normalise": recipe.normalise,
            "tta": recipe.tta,
            "recipe": recipe.to_dict(),
            "seed": self.plan.seed,
            "precision": self.precision,
            "chosen_step": self.best_step or self.step,
            "trained_on": sorted({roi.patient for roi in self.plan.train}),
            "validated_on": sorted({roi.patient for roi in self.plan.validation}),
        }
        save_weights(self.folder / "weights.safetensors", self.average, about)


def score_test(plan: RunPlan, folder: Path, lanes: Lanes, device: torch.device) -> None:
    """Predict the test ROIs with the run's weights: rois.json and predictions/."""
    weights, groups = load_weights(folder), grouping(plan.recipe.grouping)
    precision = pick_precision(plan.recipe.precision, device)
    predictor = Predictor(weights.net, device, precision, lanes, plan.recipe.tta)
    pixels = (open_pixels(roi, plan.recipe.mpp, plan.recipe.normalise) for roi in plan.test)
    rois = {}
    for each in evaluate(predictor, pixels, groups):
        save_labels(folder / "predictions" / f"{each.roi.name}.png", each.labels, groups)
        rois[each.roi.name] = {
            "patient": each.roi.patient,
            "macro_dice": plain(macro_dice(each.confusion)),
            "confusion": each.confusion.tolist(),
            "calibration": each.calibration.to_dict(),
        }
    write_json(folder / "rois.json", rois)


def validation_steps(recipe: Recipe) -> frozenset[int]:
    """The steps after which the validation patients are scored: evenly over the last half, the last step included."""
    count = recipe.validations
    return frozenset(max(1, round(recipe.steps * (0.5 + 0.5 * i / count))) for i in range(1, count + 1))
