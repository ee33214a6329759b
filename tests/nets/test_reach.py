"""The reach of a tile's edge."""

from __future__ import annotations

import pytest
import torch

from ushape.nets.field import receptive_field
from ushape.nets.reach import reach
from ushape.nets.spec import parse
from ushape.nets.unet import build

LOCAL = {
    "unet[width=4]": 96,  # counted: 92 px, and what one coarsest pixel spans
    "unet[width=4,levels=3]": None,
    "unet[width=4,levels=3]+residual+attention-gate": None,
    "unet[width=4,levels=3]+dense": None,
    "unet[width=4,levels=4]+layer+nested": None,
    "unet[width=4,levels=3]+blur-pool": None,
    "unet[width=4,levels=3]+nearest": None,
    "unet[width=12,levels=2,depth=3]+atrous-4-dense": None,
}
"""Specs of networks that see no further than so far; the reach itself where it was counted by hand."""

GLOBAL = [
    "unet[width=4,levels=3]+aspp",  # pools the whole image
    "unet[width=4,levels=3]+se",
    "unet[width=4,levels=3]+instance",
    "unet[width=4,levels=3]+non-local",
    "unet[width=4,levels=3]+channel-transformer",
    "unet[width=4,levels=3]+swin",  # windows of more than a coarsest pixel: tiles would have to lie on their grid
    "unet[width=4,levels=4]+rsu",
    "rolling-unet",
]


@pytest.mark.parametrize("spec", LOCAL)
def test_beyond_the_reach_nothing_changes_and_before_it_something_does(spec: str) -> None:
    margin = reach(parse(spec))
    assert margin is not None
    if LOCAL[spec] is not None:
        assert margin == LOCAL[spec]
    net = build(spec, seed=1).eval().double()
    unit = net.multiple
    assert margin % unit == 0
    image = torch.randn(1, 3, 2 * margin + 8 * unit, 2 * margin + 10 * unit, generator=torch.Generator().manual_seed(2))
    image = image.double()
    other = image.clone()
    other[..., : 3 * unit] = 5.0  # beyond the tile: its left corner lies at 3 units
    with torch.no_grad():
        scores = net(image)
        changed = (net(other) - scores).abs().amax((0, 1, 2))
        alone = (net(image[..., 3 * unit :].contiguous()) - scores[..., 3 * unit :]).abs().amax((0, 1, 2))
    assert float(changed[3 * unit + margin :].max()) < 1e-9
    assert float(alone[margin:].max()) < 1e-9
    assert float(changed[3 * unit + margin - unit :].max()) > 0  # a unit less would not do: the bound is the least


@pytest.mark.parametrize("spec", GLOBAL)
def test_networks_with_global_context_have_none(spec: str) -> None:
    assert reach(parse(spec)) is None


def test_it_is_never_more_than_the_receptive_field_and_a_unit() -> None:
    spec = parse("unet[width=4,levels=4]")
    field, margin = receptive_field(spec), reach(spec)
    assert field is not None
    assert margin is not None
    assert field // 2 - 8 <= margin <= field // 2 + 8
