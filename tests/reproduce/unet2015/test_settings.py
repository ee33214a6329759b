from __future__ import annotations

import pytest

from ushape.errors import RecipeError, SpecError
from ushape.nets.unet import build, parameters
from ushape.reproduce.unet2015.settings import FULL_WIDTH, Settings


def test_the_full_network_is_the_papers() -> None:
    net = build(Settings(width=FULL_WIDTH).spec, 1, 2)
    assert parameters(net) == 31_030_658
    assert net.shrink == 572 - 388


@pytest.mark.parametrize("change", [{"width": 0}, {"momentum": 1.0}, {"rate": 0.0}, {"rotations": 0}, {"sigma": 0.0}])
def test_numbers_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(change))}=.*out of range"):
        Settings(**change)  # type: ignore[arg-type]


def test_a_tile_that_does_not_pass_down_and_up_is_refused() -> None:
    with pytest.raises(SpecError, match="556 or 572"):
        Settings(tile=570)
