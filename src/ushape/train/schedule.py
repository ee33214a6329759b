"""The learning rate of each step."""

from __future__ import annotations

import math
from typing import Literal, Protocol

Schedule = Literal["one-cycle", "cosine", "polynomial", "constant"]

POWER = 0.9
"""Of the polynomial schedule (Isensee et al. 2021, 10.1038/s41592-020-01008-z)."""


class Scheduled(Protocol):
    """What a recipe says of its schedule: `rate` is the highest, `warmup` the share of the steps that lead up to it."""

    @property
    def schedule(self) -> Schedule: ...
    @property
    def rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def steps(self) -> int: ...


def learning_rate(recipe: Scheduled, step: int) -> float:
    """The rate of a step, counted from 0.

    one-cycle (Smith and Topin 2018, arXiv:1708.07120): cosine from rate / 25 up to rate, then down to rate / 1e4.
    The others rise linearly from rate / warm-up steps (Goyal et al. 2017, arXiv:1706.02677, section 2.2), then:
    cosine falls as half a wave to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts); polynomial as
    (1 - t)^0.9 to 0 (Isensee et al. 2021); constant stays.
    """
    top = recipe.warmup * recipe.steps
    done = (step - top) / max(recipe.steps - top, 1)
    if recipe.schedule == "one-cycle":
        if step < top:
            low, high, done = recipe.rate / 25, recipe.rate, step / top
        else:
            low, high = recipe.rate, recipe.rate / 1e4
        return high + (low - high) * (1 + math.cos(math.pi * done)) / 2
    if step < top:
        return recipe.rate * min(1.0, (step + 1) / top)
    if recipe.schedule == "cosine":
        return recipe.rate * (1 + math.cos(math.pi * done)) / 2
    return recipe.rate * max(0.0, 1 - done) ** POWER if recipe.schedule == "polynomial" else recipe.rate
