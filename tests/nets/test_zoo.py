"""Every published network: its pinned count, its canonical spec, and the shared tester on a narrow one."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tester
import torch

from ushape.errors import SpecError
from ushape.nets.registry import NETWORK, modifications
from ushape.nets.spec import Spec, parse
from ushape.nets.tables import nets_markdown, nets_table
from ushape.nets.unet import Network, build, parameters
from ushape.nets.zoo import Published, find_published, published

NARROW = 8
"""The tester runs networks whose finest level has about this many channels."""

every = pytest.mark.parametrize("network", published(), ids=lambda n: n.name)
of_the_u = pytest.mark.parametrize(
    "network", [n for n in published() if parse(n.name).network.name == "unet"], ids=lambda n: n.name
)
leaves = pytest.mark.parametrize(
    "network", [n for n in published() if parse(n.name).network.name == n.name], ids=lambda n: n.name
)
"""Without those that give a module other options: they compute nothing that its first form does not."""


def narrow(network: Published) -> Spec:
    """The network with all widths scaled down, each still at least 2; a small encoder in place of timm's."""
    spec = parse(network.name)
    if spec.encoder.name.startswith("timm:"):
        pytest.importorskip("timm")
        spec = replace(spec, encoder=replace(spec.encoder, name="timm:resnet10t"))
    narrow = 2 if network.name == "kiu-net" else NARROW  # it computes at up to 8 times the image's resolution
    factor = min(1.0, narrow / min(spec.widths))
    return replace(spec, widths=tuple(max(2, round(w * factor)) for w in spec.widths))


def make(spec: Spec, in_channels: int, classes: int, seed: int) -> Network:
    return build(spec, in_channels, classes, seed)


@every
def test_count(network: Published) -> None:
    """The count of the source, or the one that the note explains; our own where none was published."""
    if parse(network.name).encoder.name.startswith("timm:"):
        pytest.importorskip("timm")
    with torch.device("meta"):  # shapes without numbers
        found = parameters(build(network.name, network.in_channels, network.classes))
    assert network.parameters is not None or network.ours is not None, "no count is pinned"
    if network.ours is not None:
        assert network.note, "a count that differs from the source needs its reason"
        assert network.ours != network.parameters
    assert found == (network.parameters if network.ours is None else network.ours)


@every
def test_names(network: Published) -> None:
    spec = parse(network.name)
    assert parse(spec.name) == spec
    assert parse(network.spec) == spec
    assert network.spec == spec.name, "the table shows the canonical name"
    assert network.source
    assert network.pin


@leaves
def test_a_network_that_leaves_the_u_passes_the_shared_tester(network: Published, tmp_path: Path) -> None:
    tester.computes(partial(make, narrow(network)), tmp_path)
    tester.learns(partial(make, narrow(network)))


@of_the_u
def test_a_spec_of_the_u_computes_and_every_weight_is_reached(network: Published) -> None:
    """Its parts pass the whole tester, each alone (test_modifications.py)."""
    net = build(narrow(network), in_channels=3, classes=5, seed=0)
    x = tester.image(net, tester.sizes(net)[0])
    tester.check_shape(net, tester.scores(net, x), x, 5)
    tester.gradients(net, x)


def test_odd_widths() -> None:
    """A network that leaves the U builds and runs at any widths: `match` scales them."""
    for network in published():
        spec = parse(network.name)
        if spec.network.name == "unet":
            continue
        odd = replace(spec, widths=tuple(5 + 2 * i for i in range(spec.levels)))
        net = build(odd, 3, 2, seed=0)
        x = tester.image(net, (37, 53), batch=1)
        tester.check_shape(net, tester.scores(net, x), x, 2)


def test_every_network_that_leaves_the_u_is_published() -> None:
    assert {m.name for m in modifications(NETWORK)} - {"unet"} <= {n.name for n in published()}


def test_changed() -> None:
    """A published network is a place to start from; an axis that it sets cannot be set again behind a +."""
    assert parse("attention-unet[width=16]+se") == parse("unet[width=16,bias=always]+nearest+attention-gate+se")
    assert parse("attention-unet[skip=add]").skip.name == "add"
    with pytest.raises(SpecError, match="both modifications of the axis skip"):
        parse("attention-unet+residual-path")


def test_the_table_of_the_docs_is_what_the_code_gives() -> None:
    """docs/networks.md holds the table that `nets_markdown` makes; USHAPE_WRITE_DOCS=1 writes it anew."""
    pytest.importorskip("timm")
    page = Path(__file__).parents[2] / "docs" / "networks.md"
    before, begin, rest = page.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of the table -->\n")
    made = before + begin + nets_markdown(nets_table()) + end + after
    if os.environ.get("USHAPE_WRITE_DOCS"):
        page.write_text(made)
    assert page.read_text() == made, "docs/networks.md is old: run this test with USHAPE_WRITE_DOCS=1"


def test_unknown() -> None:
    with pytest.raises(SpecError, match="did you mean 'attention-unet'"):
        parse("attention-unte")
    with pytest.raises(SpecError, match="ushape nets"):
        find_published("nothing-like-it")


@pytest.mark.parametrize(("text", "kept"), [("mednext-l[kernel=5]", "blocks"), ("swin-unet-lite[window=4]", "depths")])
def test_brackets_set_what_they_name_and_nothing_else(text: str, kept: str) -> None:
    """What a published network sets otherwise than its module's defaults stays so."""
    name, _, rest = text.partition("[")
    key, _, value = rest.removesuffix("]").partition("=")
    plain, changed = (dict(parse(each).network.options) for each in (name, text))
    assert kept in plain
    assert changed == plain | {key: int(value)}
