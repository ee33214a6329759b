"""Margins at which the core of a tile is what the whole image gives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from ushape.data.phantom import phantom_roi
from ushape.nets.reach import reach
from ushape.nets.unet import Network, build
from ushape.nets.weights import as_input
from ushape.predict import margin as module
from ushape.predict.margin import effective_margin


@cache
def tissue(size: int, patient: int) -> Tensor:
    """[1, 3, size, size]"""
    return as_input(torch.from_numpy(phantom_roi(2, patient, size)[0])[None].float() / 255)


@cache
def settled(spec: str) -> Network:
    """A network whose norms have seen tissue, and whose probabilities are not all alike."""
    net = build(spec, seed=0)
    image = tissue(128, 1)
    with torch.no_grad():
        for _ in range(20):
            net(image)
    return net.eval()


@torch.inference_mode()
def probabilities(net: Network, image: Tensor) -> Tensor:
    scores = net(image)
    assert isinstance(scores, Tensor)
    return scores.softmax(1)[0]


@pytest.mark.parametrize(
    "spec", ["unet[width=4,levels=4]+residual", "unet[width=4,levels=3]+attention-gate", "unet[width=4,levels=3]+dense"]
)
@pytest.mark.parametrize("corner", [(0, 0), (16, 48), (64, 32)])
def test_the_core_of_a_tile_is_that_of_the_whole(spec: str, corner: tuple[int, int]) -> None:
    net = settled(spec)
    edge = effective_margin(net)
    assert edge is not None
    image = tissue(256, 0)
    whole = probabilities(net, image)
    top, left = corner
    bottom, right = top + 2 * edge + 64, left + 2 * edge + 48
    tile = probabilities(net, image[..., top:bottom, left:right].contiguous())
    core = tile[:, edge:-edge, edge:-edge]
    expected = whole[:, top + edge : top + edge + core.shape[1], left + edge : left + edge + core.shape[2]]
    core = core[:, : expected.shape[1], : expected.shape[2]]
    assert core.numel() > 1000
    assert float((core - expected).abs().max()) < 1e-4


def test_a_long_reach_is_shortened_to_what_is_felt(monkeypatch: pytest.MonkeyPatch) -> None:
    net = settled("unet[width=4,levels=3,depth=6]")
    exact = reach(net.spec)
    assert exact is not None
    monkeypatch.setattr(module, "NEAR", 16)
    edge = effective_margin(net)
    assert edge is not None
    assert net.multiple <= edge <= exact
    assert edge % net.multiple == 0
    image = tissue(256, 0)
    whole = probabilities(net, image)
    tile = probabilities(net, image[..., 32:-32, 32:-32].contiguous())
    inside = slice(32 + edge, -32 - edge)
    change = (whole[:, inside, inside] - tile[:, edge:-edge, edge:-edge]).abs()
    assert change.numel() > 1000
    assert float(change.max()) < 1e-4


def test_it_is_the_same_each_time_and_none_for_global_context(monkeypatch: pytest.MonkeyPatch) -> None:
    assert effective_margin(settled("unet[width=4,levels=3]+se")) is None
    monkeypatch.setattr(module, "NEAR", 8)
    monkeypatch.setattr(module, "TILE", 128)
    net = settled("unet[width=4,levels=3]")
    assert effective_margin(net) == effective_margin(net)


def test_tissue_is_mirrored_to_any_size() -> None:
    made = module._tissue(600)
    assert made.shape == (600, 600, 3)
    assert np.array_equal(made[256:512], made[:256][::-1])
    assert np.array_equal(made[:, 512:], made[:, :88])
