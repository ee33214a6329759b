"""The U itself: counts by hand, padding, seeds, refusals, and modifications side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import tester
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.pairs import refusal
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.registry import AXES, modifications
from ushape.nets.spec import Choice, Spec, parse
from ushape.nets.unet import UNet, build, parameters
from ushape.nets.valid import valid_output


def counted(widths: tuple[int, ...], depth: int, in_channels: int, classes: int) -> int:
    """Parameters of the default U, from its drawing: convolutions without bias, batch norms, up-convolutions, head."""

    def level(cin: int, cout: int) -> int:
        convolutions = 9 * cin * cout + (depth - 1) * 9 * cout * cout
        return convolutions + depth * 2 * cout

    total = level(in_channels, widths[0]) + classes * (widths[0] + 1)
    for fine, coarse in pairwise(widths):
        total += level(fine, coarse) + level(2 * fine, fine) + (4 * coarse + 1) * fine
    return total


@given(
    st.lists(st.integers(1, 24), min_size=2, max_size=4).map(tuple), st.integers(1, 3), st.integers(1, 4),
    st.integers(1, 6),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_parameter_count_by_hand(widths: Any, depth: int, in_channels: int, classes: int) -> None:
    net = build(Spec(widths=widths, depth=depth), in_channels, classes, seed=0)
    assert parameters(net) == counted(widths, depth, in_channels, classes)


@given(st.integers(1, 21), st.integers(1, 21))
@settings(max_examples=20, deadline=None)
def test_padding_repeats_the_border_and_is_cut_off(height: int, width: int) -> None:
    net = build("unet[width=4,levels=3]", seed=0)
    x = tester.image(net, (height, width), batch=1)
    padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
    expected = tester.scores(net, padded)[:, :, :height, :width]
    assert torch.equal(tester.scores(net, x), expected)


def test_seeds() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    nets = [build("unet[width=4,levels=2]", seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before), "a seed of its own leaves torch's generator alone"
    first, same, other = ([p.clone() for p in net.parameters()] for net in nets)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_he_initialisation() -> None:
    net = build("unet[widths=64-64]", seed=0)
    (weight,) = [p for n, p in net.named_parameters() if n == "encoder.levels.1.0.1.0.weight"]
    assert float(weight.std().detach()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_dropout_has_a_generator_of_its_own() -> None:
    net = build("unet[width=4,levels=2,dropout=0.5]", seed=0).train()
    x = tester.image(net, (8, 8))

    def once(seed: int) -> torch.Tensor:
        seed_dropout(net, seed)
        return net(x).detach()

    state = torch.get_rng_state()
    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(torch.get_rng_state(), state)


# -- valid padding -----------------------------------------------------------------------------------------------


def test_valid_sizes_of_the_2015_paper() -> None:
    assert valid_output(572, levels=5, depth=2) == 388
    good = [n for n in range(1, 700) if valid_output(n, 5, 2) is not None]
    assert good == [n for n in range(188, 700) if n % 16 == 60 % 16]
    assert all(n - 184 == valid_output(n, 5, 2) for n in good)


def test_valid_network_sees_no_border() -> None:
    """Each score equals that of a larger image around it: nothing was padded."""
    net = build("unet[width=4,levels=3,norm=none,padding=valid]", seed=0)
    assert net.shrink == 40
    large = tester.image(net, (60, 68), batch=1)
    whole = tester.scores(net, large)
    assert whole.shape[2:] == (20, 28)
    part = tester.scores(net, large[:, :, 4:52, 8:60])  # moved by multiples of 4
    torch.testing.assert_close(part, whole[:, :, 4:12, 8:20])


def test_valid_names_the_next_sizes() -> None:
    net = build("unet[width=2,norm=none,padding=valid]", seed=0)
    with pytest.raises(SpecError, match=r"height of 200 .* give 188 or 204"):
        net(torch.zeros(1, 3, 200, 188))
    with pytest.raises(SpecError, match=r"width of 100 .* give 188 \(any 188 \+ 16k\)"):
        net(torch.zeros(1, 3, 188, 100))


# -- pairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unet[padding=valid]+residual", "choose padding=same"),
        ("unet[padding=valid]+nested", "choose padding=same"),
        ("unet[padding=valid]+channel-transformer", "choose padding=same"),
        ("unet[padding=valid]+deep-supervision", "choose padding=same"),
        ("unet[padding=valid,encoder=timm:resnet18]", "choose padding=same"),
        ("unet[levels=2,padding=valid]+strided[first=1]", "choose padding=same"),
        ("unet[skip=none]+nested", "keep one of the two"),
        ("unet+full-scale+attention-gate", "leave skip out"),
        ("unet+full-scale+bilinear", "leave up out"),
        ("unet[encoder=timm:resnet18]+haar", "leave down out"),
        ("unet[norm=none,bias=always]", "leave it out"),
    ],
)
def test_impossible_pairs_are_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        build(text)


def test_input_and_classes_must_exist() -> None:
    for channels, classes in ((0, 1), (1, 0)):
        with pytest.raises(SpecError, match="at least 1"):
            build("unet[width=4]", channels, classes)


def _sampled() -> st.SearchStrategy[Spec]:
    def together(axes: list[str]) -> st.SearchStrategy[Spec]:
        each = {axis: st.sampled_from(modifications(axis)).map(lambda m: Choice(m.name)) for axis in axes}
        widths = st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple)
        return st.fixed_dictionaries({"widths": widths, **each}).map(lambda d: Spec(**d))

    return st.lists(st.sampled_from(list(AXES)), min_size=2, max_size=6, unique=True).flatmap(together)


@given(_sampled(), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_modifications_stand_side_by_side(spec: Spec, height: int, width: int) -> None:
    """Any modifications on any axes build, compute and learn, or are refused by name."""
    if refusal(spec):
        with pytest.raises(SpecError):
            build(spec)
        return
    net = build(spec, in_channels=2, classes=3, seed=0)
    size = tester.sizes(net)[0] if net.shrink else (height, width)
    x = tester.image(net, size, batch=1)
    tester.check_shape(net, tester.scores(net, x), x, 3)
    tester.gradients(net, x)


def _pairs() -> Iterator[tuple[str, str, str, str]]:
    """Each choice on one of the axes that shape the U, with each on another of them."""
    axes = ("topology", "skip", "up", "down", "head", "padding")
    for i, one in enumerate(axes):
        for other in axes[i + 1 :]:
            for a in modifications(one):
                for b in modifications(other):
                    yield one, a.name, other, b.name


@pytest.mark.slow
def test_every_pair_on_the_axes_that_shape_the_u() -> None:
    base = parse("unet[widths=5-6-7]")
    for one, a, other, b in _pairs():
        spec = replace(base, **{one: Choice(a), other: Choice(b)})
        if refusal(spec):
            continue
        net: UNet = build(spec, in_channels=1, classes=2, seed=0)
        x = tester.image(net, tester.sizes(net)[0] if net.shrink else (9, 6), batch=1)
        tester.check_shape(net, tester.scores(net, x), x, 2)
        tester.gradients(net, x)
