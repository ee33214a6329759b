"""Self-supervised pretraining: the network restores the colour of blocks that were taken out of images without masks.

Context encoders (Pathak et al. 2016, arXiv:1604.07379) restore a missing region from what surrounds it; masked image
modelling by plain regression (SimMIM: Xie et al. 2022, arXiv:2111.09886) hides many blocks at random and takes the L1
loss on those alone, with a head of one layer. Both need no labels. Here any network of the zoo does so, its head
giving three channels; as convolutions have no mask token, a hidden block has the mean colour of its crop.

Resumes to the same bits, as `ushape.train.loop` does, and takes the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ushape import __version__
from ushape.data.augment import CropSettings
from ushape.data.images import ImageCrops, Picture, fingerprint, open_images
from ushape.errors import RunError, SpecError, check_seed
from ushape.files import cannot_write, remove_parts
from ushape.locks import holding
from ushape.nets.device import Precision, training_precision
from ushape.nets.plugin import hashes
from ushape.nets.spec import Spec
from ushape.nets.weights import PRETRAINING, as_input, save_weights
from ushape.threads import Lanes
from ushape.train.fitting import Fitting
from ushape.train.places import STATE
from ushape.train.recipe import BOUNDS, check_bounds, check_shards, check_values
from ushape.train.run import claim
from ushape.train.schedule import Schedule
from ushape.train.start import check_start, start_network
from ushape.train.steps import Progress, take_steps
from ushape.versions import versions

_HIDE = 2
"""Added to a crop's (seed, step, place): which of its blocks are hidden."""


@dataclass(frozen=True)
class PretrainRecipe:
    """How a network is pretrained. `hidden`: share of a crop's blocks that are hidden; `block`: their side in px.

    All other keys are those of `ushape.train.recipe.Recipe`; `pretrained` takes no path.
    """

    mpp: float = 1.2
    normalise: Literal["none", "stain"] = "stain"
    crop: int = 96
    stain: float = 0.3
    scale: float = 0.5
    sharpness: float = 0.0
    elastic: float = 0.0
    pretrained: Literal["auto", "imagenet", "none"] = "auto"
    hidden: float = 0.5
    block: int = 16
    steps: int = 800
    batch: int = 16
    shards: int = 4
    rate: float = 2e-3
    schedule: Schedule = "one-cycle"
    warmup: float = 0.15
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.99
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        common = {field.name: BOUNDS[field.name] for field in fields(self) if field.name in BOUNDS}
        check_bounds(self, common | {"hidden": (0.01, 0.99), "block": (1, self.crop // 2)})
        check_shards(self.batch, self.shards)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_pretrain_recipe(values: object, where: str = "recipe") -> PretrainRecipe:
    """The default recipe with some keys changed; RecipeError on unknown keys, wrong types and values out of range."""
    return PretrainRecipe(**check_values(PretrainRecipe, values, where))


def pretrain(
    spec: Spec,
    pictures: Sequence[Picture],
    folder: Path,
    recipe: PretrainRecipe,
    seed: int,
    lanes: Lanes,
    device: torch.device,
    progress: Progress = lambda step, loss: None,
    save_every: float = 20.0,
) -> None:
    """Pretrain into `folder`, going on from the state found there; writes pretrain.yaml, log.csv, weights.safetensors.

    RunError where the folder is another's, the loss is not finite or the disk is full; RecipeError where ImageNet's
    weights are asked for and the network has none; SpecError where it scores a smaller area than the image; DataError
    where an image is too small or damaged.
    """
    recipe = replace(recipe, precision=training_precision(recipe.precision, device))
    check_start([(spec, recipe)])
    net = start_network(spec, recipe, 3, check_seed(seed))
    if net.shrink:
        raise SpecError(f"{spec.name}: pretraining needs an image of the crop's size: use padding=same")
    images = open_images(pictures, recipe.mpp, recipe.normalise)
    settings = CropSettings(recipe.crop, 0.0, recipe.stain, recipe.scale, recipe.sharpness, recipe.elastic)
    crops = ImageCrops(pictures, images, settings, seed)
    content = {
        "spec": spec.to_dict(),
        "plugins": hashes([spec]),
        "recipe": recipe.to_dict(),
        "seed": seed,
        "mpp": [picture.mpp for picture in pictures],
        "images": fingerprint(pictures),
        "versions": versions(),
    }
    claim(folder, folder / "pretrain.yaml", content, "run")
    try:
        with holding(folder / "pretrain.yaml"):
            remove_parts(folder)
            if not (folder / "weights.safetensors").exists():
                run = _Pretraining(net, recipe, seed, folder, lanes, device)
                run.crops = crops
                run.load()
                take_steps(run, recipe.steps, run.update, run.save, progress, save_every)
                about = {
                    "ushape": __version__,
                    PRETRAINING: "masked image modelling",
                    "mpp": recipe.mpp,
                    "normalise": recipe.normalise,
                    "recipe": recipe.to_dict(),
                    "seed": seed,
                    "precision": run.precision,
                    "trained_on": sorted({picture.patient for picture in pictures}),
                    "validated_on": [],
                }
                save_weights(folder / "weights.safetensors", run.average, about)
            (folder / STATE).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error


class _Pretraining(Fitting):
    recipe: PretrainRecipe
    crops: ImageCrops

    def shard_loss(self, shard: int) -> Tensor:
        """Draw a shard, hide blocks of it, and let its replica restore them."""
        drawn = np.stack([self.crops.draw(self.step, place)[0] for place in self.places(shard)])
        hidden = np.stack([self._hidden(place) for place in self.places(shard)])  # [n, S, S]
        mean = drawn.mean((1, 2), keepdims=True)
        seen = torch.from_numpy(np.where(hidden[..., None], mean, drawn)).to(self.device)
        aim = as_input(torch.from_numpy(drawn).to(self.device))
        return restoring_loss(self.scores(shard, seen), aim, torch.from_numpy(hidden).to(self.device))

    def _hidden(self, place: int) -> NDArray[np.bool_]:
        rng = np.random.default_rng((self.seed, self.step, place, _HIDE))
        return hide(self.recipe.crop, self.recipe.block, self.recipe.hidden, rng)


def hide(size: int, block: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which pixels of a crop are hidden, bool [size, size]: about a share of its blocks, one at least and not all."""
    side = -(-size // block)
    count = min(max(1, round(share * side**2)), side**2 - 1)
    blocks = np.zeros(side**2, bool)
    blocks[rng.permutation(side**2)[:count]] = True
    grid = blocks.reshape(side, side).repeat(block, 0).repeat(block, 1)
    return np.ascontiguousarray(grid[:size, :size])


def restoring_loss(scores: Tensor | list[Tensor], aim: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error over hidden pixels, in units of `as_input`; what is not hidden counts nothing.

    scores and aim [N, 3, H, W], hidden bool [N, H, W] -> scalar. Of several supervised levels the finest counts.
    """
    finest = scores[0] if isinstance(scores, list) else scores
    error = torch.where(hidden[:, None], (finest.float() - aim).abs(), 0.0)
    return error.sum() / (3 * hidden.sum()).clamp(min=1)
