"""One training run, from a plan to weights; `ushape.train.fitting` has its step, `ushape.train.steps` repeats it.

Every step cuts its batch into `shards` of equal size. Each shard is drawn, augmented, passed forward and backward by
one lane (see `ushape.threads`) on a replica of the network: replicas share parameters, and have gradients and
normalisation statistics of their own, which are summed and averaged in a fixed order. So the weights do not
depend, in a single bit, on how many lanes there are, on what else the machine does, or on interruptions. A step that
fails leaves no trace: the network itself changes only when all of its shards are done and finite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ushape import __version__
from ushape.data.augment import Bytes, CropSettings, Float
from ushape.data.classes import IGNORE, grouping
from ushape.data.crops import Crops
from ushape.data.images import ImageCrops, Picture, find_images, open_images
from ushape.data.rois import Pixels, open_pixels
from ushape.data.splits import class_counts
from ushape.errors import RunError
from ushape.files import cannot_write, read_json, remove_parts, write_json
from ushape.nets.device import pick_precision
from ushape.nets.weights import load_weights, save_weights
from ushape.predict.colours import save_labels
from ushape.predict.engine import Predictor, evaluate
from ushape.predict.score import macro_dice, plain
from ushape.threads import Lanes
from ushape.train.fitting import Fitting
from ushape.train.losses import class_weights, distillation_loss, prior_shift, segmentation_loss
from ushape.train.places import SCORED, STATE, VALIDATION
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan
from ushape.train.sources import find_teachers, known_patients, sources
from ushape.train.start import began_trained, start_network
from ushape.train.steps import Progress, cut_back, load_state, save_state, take_steps
from ushape.train.teaching import Teachers


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
            (folder / SCORED).unlink(missing_ok=True)  # by other weights, where these were removed
            sources(recipe, plan.patients("test"), plan.patients("validation"), plan.mpp)  # refuses leaks
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


class _Run(Fitting):
    """A segmentation network in training, with the best of its averaged weights so far."""

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
        self.plan, self.validation, self.grouping = plan, validation, grouping(recipe.grouping)
        settings = recipe.crop_settings
        teachers = _teachers(plan, lanes, device)
        maps = [teachers.maps([each.image])[0] for each in pixels] if teachers else None
        self.crops = Crops(pixels, self.grouping, settings, plan.seed, maps)
        self.unlabelled = _unlabelled(plan, settings, teachers) if teachers and recipe.unlabelled != "none" else None
        weights = shift = None
        if recipe.class_weight:
            counts = np.sum(list(class_counts(pixels, self.grouping).values()), axis=0)
            weights = class_weights(counts, recipe.class_weight).to(device)
        if recipe.prior and recipe.balanced:
            shift = prior_shift(*self.crops.shares(), recipe.prior).to(device)
        self.loss = (recipe.dice, recipe.focal, recipe.smoothing, weights, shift)
        net = start_network(plan.spec, recipe, len(self.grouping.classes), plan.seed)
        slow = began_trained(net, plan.spec, recipe, plan.seed) if recipe.pretrained_rate != 1 else ()
        super().__init__(net, recipe, plan.seed, folder, lanes, device, slow, recipe.pretrained_rate)
        self.best: dict[str, Tensor] = {}
        self.best_step, self.best_dice = 0, -1.0

    # -- the loop ----------------------------------------------------------------------------------------------

    def fit(self, progress: Progress, save_every: float, looks: Collection[int]) -> None:
        """Take the steps that are left; after those of `looks` the validation patients are scored."""

        def after() -> None:
            if self.validation and self.step in looks:
                self._validate()

        self.load()
        take_steps(self, self.recipe.steps, self.update, self.save, progress, save_every, after)

    def shard_loss(self, shard: int) -> Tensor:
        """Draw a shard and pass it forward on its replica; its loss."""
        places = self.places(shard)
        labelled = len(places) - self.plan.recipe.unlabelled_crops
        drawn = [self._draw(place, place - places[0] < labelled) for place in places]
        light = torch.from_numpy(np.stack([d[0] for d in drawn])).to(self.device)  # [n, S, S, 3]
        labels = torch.from_numpy(np.stack([d[1] for d in drawn])).to(self.device)  # [n, S, S]
        scores = self.scores(shard, light)
        loss = segmentation_loss(scores, labels, *self.loss)
        if self.crops.maps is not None:
            taught = torch.from_numpy(np.stack([np.asarray(d[2]) for d in drawn])).to(self.device).float()
            taught = (taught / taught.sum(-1, keepdim=True)).movedim(-1, 1)  # [n, C, S, S]
            loss = loss + self.plan.recipe.distil * distillation_loss(scores, taught)
        return loss

    def _draw(self, place: int, labelled: bool) -> tuple[Float, NDArray[np.int64], Bytes | None]:
        """Light, labels and teachers' probabilities of a crop; one without a mask has labels of IGNORE."""
        if labelled or self.unlabelled is None:
            return self.crops.draw_all(self.step, place)
        light, taught = self.unlabelled.draw(self.step, place)
        return light, np.full(light.shape[:2], IGNORE, np.int64), taught

    def _validate(self) -> None:
        """Score the averaged weights on the validation patients; keep them if they are the best so far."""
        predictor = Predictor(self.average, self.device, self.precision, self.lanes)
        matrices = [each.confusion for each in evaluate(predictor, self.validation, self.grouping)]
        dice = float(macro_dice(np.sum(matrices, axis=0)))
        if dice > self.best_dice:
            self.best_step, self.best_dice = self.step, dice
            self.best = {k: v.clone() for k, v in self.average.state_dict().items()}
        with (self.folder / VALIDATION).open("a") as file:
            file.write(f"{self.step},{dice:.6f}\n")

    # -- files -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        tensors = self.state() | {f"best.{k}": v for k, v in self.best.items()}
        save_state(self, tensors, best_step=self.best_step, best_dice=self.best_dice)

    def load(self) -> None:
        """Go on from the state where there is one; logs are cut back to its step."""
        found = load_state(self, self.state())
        if found:
            tensors, about = found
            self.best = {k[5:]: v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
            self.best_step, self.best_dice = about["best_step"], about["best_dice"]
            self.replicas.restore_statistics()
        self.cut_log()
        cut_back(self.folder / VALIDATION, "step,macro_dice", self.step)

    def finish(self) -> None:
        """Write the chosen weights."""
        if self.best:
            self.average.load_state_dict(self.best)
        plan, recipe = self.plan, self.plan.recipe
        known = known_patients(recipe, plan.patients("test"), plan.patients("validation"), plan.mpp)
        about = {
            "ushape": __version__,
            "grouping": self.grouping.describe(),
            "mpp": recipe.mpp,
            "normalise": recipe.normalise,
            "tta": recipe.tta,
            "guided": recipe.guided,
            "recipe": recipe.told(),
            "seed": self.plan.seed,
            "precision": self.precision,
            "chosen_step": self.best_step or self.step,
        }
        if known is not None:
            about["trained_on"] = sorted({*plan.patients("train"), *known["trained_on"]})
            about["validated_on"] = sorted({*plan.patients("validation"), *known["validated_on"]})
        save_weights(self.folder / "weights.safetensors", self.average, about)


def _teachers(plan: RunPlan, lanes: Lanes, device: torch.device) -> Teachers | None:
    """The teachers that the plan may learn from; None where its recipe names none."""
    recipe = plan.recipe
    if recipe.teacher == "none":
        return None
    files = find_teachers(recipe, plan.patients("test"), plan.patients("validation"))
    return Teachers(files, recipe, len(grouping(recipe.grouping).classes), lanes, device)


def _unlabelled(plan: RunPlan, settings: CropSettings, teachers: Teachers) -> ImageCrops:
    """Crops of the plan's images without masks, with what the teachers make of them."""
    recipe = plan.recipe
    pictures = find_images(Path(recipe.unlabelled), plan.mpp)
    images = open_images(pictures, recipe.mpp, recipe.normalise)
    maps = [taught for some in _together(pictures, images) for taught in teachers.maps(some)]
    return ImageCrops(pictures, images, settings, plan.seed, maps)


TOGETHER = 64
"""Images of a slide whose maps are computed in one go, and lost together where that is interrupted."""


def _together(pictures: Sequence[Picture], images: Sequence[Bytes]) -> list[list[Bytes]]:
    """The images in groups of a slide, TOGETHER in each at most."""
    groups: list[list[Bytes]] = []
    for _, pairs in groupby(zip(pictures, images, strict=True), key=lambda pair: pair[0].slide):
        slide = [image for _, image in pairs]
        groups += [slide[i : i + TOGETHER] for i in range(0, len(slide), TOGETHER)]
    return groups


def have_taught(plan: RunPlan, lanes: Lanes, device: torch.device, watch: Callable[[int, int], None]) -> None:
    """Have the plan's teachers predict all images that it learns from, so that training finds their maps in the cache.

    watch: called with how many images are done, and of how many. Nothing is done for a recipe without teachers.
    """
    recipe, teachers = plan.recipe, _teachers(plan, lanes, device)
    if teachers is None:
        return
    groups = [[open_pixels(roi, recipe.mpp, recipe.normalise).image] for roi in plan.train]
    if recipe.unlabelled != "none":
        pictures = find_images(Path(recipe.unlabelled), plan.mpp)
        groups += _together(pictures, open_images(pictures, recipe.mpp, recipe.normalise))
    done, total = 0, sum(map(len, groups))
    for some in groups:
        teachers.maps(some)
        done += len(some)
        watch(done, total)


def score_test(plan: RunPlan, folder: Path, lanes: Lanes, device: torch.device) -> None:
    """Predict the test ROIs that are left with the run's weights: rois.json, once all are there, and predictions/."""
    weights, groups = load_weights(folder), grouping(plan.recipe.grouping)
    precision = pick_precision(plan.recipe.precision, device)
    predictor = Predictor(weights.net, device, precision, lanes, plan.recipe.tta, plan.recipe.guided)
    so_far = folder / SCORED
    rois = read_json(so_far) if so_far.exists() else {}
    rois = {name: each for name, each in rois.items() if (folder / "predictions" / f"{name}.png").exists()}
    left = [roi for roi in plan.test if roi.name not in rois]
    pixels = (open_pixels(roi, plan.recipe.mpp, plan.recipe.normalise) for roi in left)
    for each in evaluate(predictor, pixels, groups):
        save_labels(folder / "predictions" / f"{each.roi.name}.png", each.labels, groups)
        rois[each.roi.name] = {
            "patient": each.roi.patient,
            "macro_dice": plain(macro_dice(each.confusion)),
            "confusion": each.confusion.tolist(),
            "calibration": each.calibration.to_dict(),
        }
        write_json(so_far, {roi.name: rois[roi.name] for roi in plan.test if roi.name in rois})
    so_far.replace(folder / "rois.json")


def validation_steps(recipe: Recipe) -> frozenset[int]:
    """The steps after which the validation patients are scored: evenly over the last half, the last step included."""
    count = recipe.validations
    return frozenset(max(1, round(recipe.steps * (0.5 + 0.5 * i / count))) for i in range(1, count + 1))
