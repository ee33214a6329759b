"""`ushape pretrain`: a network that learns from images without masks, to start others from."""

from __future__ import annotations

import argparse

from ushape.commands.shared import Bar, check_mpp, say, training_threads
from ushape.errors import RecipeError


def pretrain(options: argparse.Namespace) -> None:
    """Pretrain one network."""
    from ushape.data.images import find_images
    from ushape.nets.device import pick_device
    from ushape.nets.spec import parse
    from ushape.threads import Lanes
    from ushape.train.pretrain import make_pretrain_recipe
    from ushape.train.pretrain import pretrain as run_pretraining
    from ushape.train.recipe import read_settings

    settings = read_settings(options.set or [])
    if options.steps is not None:
        if "steps" in settings:
            raise RecipeError("--steps and --set steps= both set the steps: keep one of them")
        settings["steps"] = options.steps
    recipe = make_pretrain_recipe(settings, "--set")
    spec, pictures = parse(options.spec), find_images(options.data, options.mpp)
    check_mpp(options.mpp, [picture.name for picture in pictures])
    device, count = pick_device(options.device), training_threads(options.threads, recipe.shards)
    with Lanes(count) as lanes, Bar("steps", recipe.steps, "loss") as advance:
        run_pretraining(spec, pictures, options.out, recipe, options.seed, lanes, device, advance, options.save_every)
    weights = options.out / "weights.safetensors"
    say(f"weights: {weights}; start from them with --set pretrained={options.out}")
