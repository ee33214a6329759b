"""The network that a run starts from: random weights, ImageNet's, or those of another training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ushape.errors import RecipeError, SpecError
from ushape.nets.spec import Spec
from ushape.nets.unet import Network, build
from ushape.nets.weights import start_from
from ushape.train.recipe import Recipe


def start_network(spec: Spec, recipe: Recipe, classes: int, seed: int | None = None) -> Network:
    """The network of a spec with the weights that the recipe's `pretrained` gives it; the head's are always random.

    ImageNet weights are for timm encoders alone. SpecError or RunError where there are no such weights, or none fit.
    """
    net = build(spec, 3, classes, seed, "imagenet" if _takes_imagenet(spec, recipe) else None)
    if recipe.pretrained not in ("none", "imagenet"):
        start_from(net, Path(recipe.pretrained))
    return net


def check_trainable(specs: Sequence[Spec], recipe: Recipe, classes: int) -> None:
    """SpecError where a network cannot be built, has no such weights, or scores a smaller area than the labels.

    RunError where `pretrained` weights do not fit, RecipeError where ImageNet's have no effect on any of the networks.
    """
    for spec in specs:
        if start_network(spec, recipe, classes).shrink:
            raise SpecError(f"{spec.name}: training and scoring need scores of the image's size: use padding=same")
    if recipe.pretrained == "imagenet" and not any(_takes_imagenet(spec, recipe) for spec in specs):
        raise RecipeError(
            f"recipe: pretrained={recipe.pretrained} has no effect on {specs[0].name}: give a spec with "
            "encoder=timm:NAME, or leave it out"
        )


def _takes_imagenet(spec: Spec, recipe: Recipe) -> bool:
    return recipe.pretrained == "imagenet" and spec.encoder.name.startswith(("timm:", "efficientnet-lite"))
