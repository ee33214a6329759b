"""The learning rate of each step, as each schedule's formula has it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ushape.train.recipe import Recipe
from ushape.train.schedule import learning_rate

RECIPE = Recipe(steps=200, rate=1e-2, warmup=0.2)


def rates(**changed: Any) -> list[float]:
    recipe = replace(RECIPE, **changed)
    return [learning_rate(recipe, step) for step in range(recipe.steps)]


def test_the_learning_rate_is_one_cycle():
    recipe = Recipe(steps=200, rate=1e-2, warmup=0.2)
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(recipe.rate / 25)
    assert int(np.argmax(rates)) == 40
    assert rates[40] == pytest.approx(recipe.rate)
    assert np.all(np.diff(rates[:41]) > 0)
    assert np.all(np.diff(rates[40:]) < 0)
    assert rates[20] == pytest.approx((recipe.rate + recipe.rate / 25) / 2)
    assert learning_rate(recipe, recipe.steps) == pytest.approx(recipe.rate / 1e4)


def test_without_a_warmup_the_rate_starts_at_its_top():
    assert learning_rate(Recipe(warmup=0.0, rate=0.5), 0) == 0.5


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "constant"])
def test_the_others_rise_linearly_to_the_same_top(schedule: str):
    made = rates(schedule=schedule)
    np.testing.assert_allclose(made[:40], RECIPE.rate * np.arange(1, 41) / 40)
    assert made[40] == RECIPE.rate == max(made)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
        ("polynomial", lambda t: (1 - t) ** 0.9),
        ("constant", lambda t: 1.0),
    ],
)
def test_after_the_top_each_has_its_formula(schedule: str, formula: Any):
    made = rates(schedule=schedule)
    np.testing.assert_allclose(made[40:], [RECIPE.rate * formula((step - 40) / 160) for step in range(40, 200)])


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.9])
def test_the_shortest_trainings_have_rates_above_0(schedule: str, steps: int, warmup: float):
    made = rates(schedule=schedule, steps=steps, warmup=warmup)
    assert all(0 < rate <= RECIPE.rate for rate in made)
