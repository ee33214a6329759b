"""The recipe of the cascade: the paper's numbers, and what is refused."""

from __future__ import annotations

import pytest

from ushape.errors import RecipeError, SpecError
from ushape.lits.recipe import CLASS_WEIGHTS, FULL, Recipe, read_recipe
from ushape.nets.unet import build


def test_the_papers_numbers() -> None:
    assert CLASS_WEIGHTS["lesion"] == (0.2, 1.2, 2.2)
    assert (FULL.rate, FULL.decay, FULL.momentum, FULL.weight_decay) == (1e-3, 0.9, 0.9, 5e-4)
    assert (FULL.slices, FULL.crop, FULL.balanced) == (5, 320, 0)
    assert build(FULL.spec, 5, 3).spec == build("han-2017", 5, 3).spec


def test_the_rate_falls_by_a_tenth_fifty_times() -> None:
    recipe = read_recipe(False, None, ["liver_steps=500", "rate=1", "lesion_steps=100"])
    assert [recipe.rate_at(step, "liver") for step in (0, 9, 10, 499)] == pytest.approx([1, 1, 0.9, 0.9**49])
    assert recipe.rate_at(99, "lesion") == pytest.approx(0.9**49)


def test_full_slices_and_settings_go_together() -> None:
    recipe = read_recipe(True, 1, ["rate=2e-3"])
    assert (recipe.slices, recipe.rate, recipe.crop) == (1, 2e-3, 320)
    assert read_recipe(False, None, []) == Recipe()


@pytest.mark.parametrize(
    ("slices", "settings", "message"),
    [
        (4, [], "slices=4 has no slice in the middle"),
        (3, ["slices=5"], "both set the slices"),
        (None, ["step=4"], "unknown key 'step'; did you mean"),
        (None, ["rate=fast"], "rate='fast': give a value of type float"),
        (None, ["crop=8"], "crop=8 is out of range: give 16 to 1024"),
        (None, ["batch=3"], "batch=3 does not divide into shards=2"),
    ],
)
def test_what_is_refused(slices: int | None, settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(False, slices, settings)


def test_a_spec_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError):
        read_recipe(False, None, ["spec=han-2018"])
