"""The network that a run starts from: random weights, ImageNet's, or those of another training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from ushape.errors import RecipeError, SpecError
from ushape.nets.plugin import files
from ushape.nets.spec import Spec
from ushape.nets.unet import Network, build
from ushape.nets.weights import start_from
from ushape.train.recipe import WORDS, Recipe


class Begun(Protocol):
    """What a recipe says of the weights that a network starts from."""

    @property
    def pretrained(self) -> str: ...


def start_network(spec: Spec, recipe: Begun, classes: int, seed: int | None = None) -> Network:
    """The network of a spec with the weights that the recipe's `pretrained` gives it; the head's are always random.

    ImageNet weights are for encoders that have some. SpecError or RunError where there are no such weights, or none
    fit.
    """
    imagenet = recipe.pretrained in ("auto", "imagenet") and _takes_imagenet(spec, recipe)
    net = build(spec, 3, classes, seed, "imagenet" if imagenet else None)
    if recipe.pretrained not in WORDS:
        start_from(net, Path(recipe.pretrained))
    return net


def began_trained(net: Network, spec: Spec, recipe: Recipe, seed: int) -> set[str]:
    """Names of the parameters of a network of `start_network` that are not the random ones of its seed."""
    random = dict(
        start_network(
            spec, replace(recipe, pretrained="none", pretrained_rate=1.0), net.classes, seed
        ).named_parameters()
    )
    return {name for name, p in net.named_parameters() if not torch.equal(p.cpu(), random[name])}


def effective(spec: Spec, recipe: Recipe) -> Recipe:
    """The recipe with every key that changes nothing for this network at the value at which it is off."""
    pretrained = recipe.pretrained
    if pretrained in ("auto", "imagenet"):
        pretrained = "imagenet" if _takes_imagenet(spec, recipe) else "none"
    rate = recipe.pretrained_rate if pretrained != "none" else 1.0
    return replace(recipe, pretrained=pretrained, pretrained_rate=rate, prior=recipe.prior if recipe.balanced else 0.0)


def check_trainable(arms: Sequence[tuple[Spec, Recipe]], classes: int) -> None:
    """SpecError where a network cannot be built, has no such weights, or scores a smaller area than the labels.

    SpecError also where a plugin draws by torch's own generator, which would not give the same bits twice;
    RunError where `pretrained` weights do not fit, RecipeError where ImageNet's, or a rate of what began trained, have
    no effect on any of the networks.
    """
    for spec, recipe in arms:
        net = start_network(spec, recipe, classes)
        if files([spec]):
            before = torch.get_rng_state()
            with torch.no_grad():  # a plugin's part may fail when it computes
                net(torch.zeros(2, 3, max(64, net.multiple), max(64, net.multiple)))
            if not torch.equal(before, torch.get_rng_state()):
                raise SpecError(
                    f"{spec.name}: a part of its plugin draws by torch's own generator, which would depend on threads "
                    "and interruptions: use ushape.nets.parts.plain.Dropout, or a generator of its own"
                )
        if net.shrink:
            raise SpecError(f"{spec.name}: training and scoring need scores of the image's size: use padding=same")
    check_start(arms)
    slower = [(spec, recipe) for spec, recipe in arms if recipe.pretrained_rate != 1]
    if slower and all(effective(*arm).pretrained == "none" for arm in slower):
        spec, recipe = slower[0]
        raise RecipeError(
            f"recipe: pretrained_rate={recipe.pretrained_rate:g} has no effect on {spec.name}, of which nothing begins "
            "trained: give a spec with encoder=efficientnet-lite, or pretrained=PATH, or leave it out"
        )


def check_start(arms: Iterable[tuple[Spec, Begun]]) -> None:
    """RecipeError where ImageNet's weights are asked for by name, and none of the networks has any."""
    asked = [(spec, recipe) for spec, recipe in arms if recipe.pretrained == "imagenet"]
    if asked and not any(_takes_imagenet(*arm) for arm in asked):
        raise RecipeError(
            f"recipe: pretrained=imagenet has no effect on {asked[0][0].name}: give a spec with "
            "encoder=efficientnet-lite or encoder=timm:NAME, or leave it out"
        )


def _takes_imagenet(spec: Spec, recipe: Begun) -> bool:
    """`auto` takes what comes with the package, `imagenet` also what timm has to download."""
    return spec.encoder.name == "efficientnet-lite" if recipe.pretrained == "auto" else spec.encoder.name != "own"
