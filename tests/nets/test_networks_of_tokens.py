"""Parts of the transformers of the zoo, against what they do by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ushape.errors import SpecError
from ushape.nets.parts.networks.axial_attention import AxialAttention
from ushape.nets.parts.networks.missformer import Bridge
from ushape.nets.parts.networks.reduced_attention import Attention
from ushape.nets.parts.networks.tokens import depth_rates
from ushape.nets.parts.plain import StochasticDepth, seed_dropout
from ushape.nets.parts.positions import Positions
from ushape.nets.unet import build, parameters


def test_positions_of_the_published_size_are_the_table() -> None:
    positions = Positions(2, grid=3)
    with torch.no_grad():
        positions.table.copy_(torch.arange(18.0))
    given = torch.arange(18.0).reshape(1, 2, 3, 3)
    assert torch.equal(positions(torch.zeros(1, 2, 3, 3)), given)
    other = positions(torch.ones(1, 2, 6, 2)).detach() - 1
    assert other.shape == (1, 2, 6, 2)
    assert float(other[0, 0].mean()) == pytest.approx(4)  # the table's mean, as its resampling is symmetric
    assert bool((other[0, 0].diff(dim=0) >= 0).all())
    with pytest.raises(SpecError, match="1 or more"):
        Positions(2, grid=0)


def test_stochastic_depth_drops_whole_images() -> None:
    drop = StochasticDepth(0.5).train()
    drop.generator.manual_seed(0)
    x = torch.ones(400, 2, 3)
    out = drop(x)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert bool((out.flatten(1) == out[:, :1, 0]).all())
    assert 0.4 < float((out[:, 0, 0] > 0).float().mean()) < 0.6
    assert torch.equal(drop.eval()(x), x)


def test_branches_of_a_network_are_dropped_apart() -> None:
    branches = nn.ModuleList(StochasticDepth(0.5) for _ in range(20)).train()
    seed_dropout(branches, 3)
    x = torch.ones(400, 1)
    kept = torch.cat([branch(x) for branch in branches], 1) > 0  # [images, branches]
    together = torch.corrcoef(kept.float().T) - torch.eye(20)
    assert float(together.abs().max()) < 0.25  # of 190 pairs of 400 each, by chance up to about 0.18
    assert float(kept.float().sum(1).var()) == pytest.approx(20 * 0.25, rel=0.3)
    seed_dropout(branches, 3)
    assert torch.equal(torch.cat([branch(x) for branch in branches], 1) > 0, kept)


def test_rates_of_stochastic_depth() -> None:
    assert depth_rates((2, 1), 0.2) == [[0.0, 0.1], [0.2]]
    with pytest.raises(SpecError, match="probability"):
        depth_rates((2, 1), 1.0)


def test_pixels_fall_into_places_of_the_shrunk_grid() -> None:
    attention = Attention(4, heads=2, reduce=2)
    found = attention.offsets(4, torch.device("cpu"))
    assert found.tolist() == [[1, 0], [1, 0], [2, 1], [2, 1]]  # place of the pixel - place in the grid + 1
    assert attention.offsets(1, torch.device("cpu")).tolist() == [[1, 0]]


def test_the_bridge_lays_maps_into_tokens_and_back() -> None:
    bridge = Bridge(3, (1, 2), head=3)
    features = [torch.randn(2, 3, 4, 6), torch.randn(2, 6, 2, 3)]
    rows = [f.flatten(2).transpose(1, 2).reshape(2, -1, 3) for f in features]
    tokens = torch.cat(rows, dim=1)
    assert tokens.shape == (2, 4 * 6 + 2 * 2 * 3, 3)
    maps = bridge._maps(tokens, [r.shape[1] for r in rows], features)
    for found, given in zip(maps, features, strict=True):
        assert torch.equal(found, given)


def test_offsets_of_axial_attention() -> None:
    """Pixel i sees pixel j with the vector of i - j; a table for another length keeps its middle, offset 0."""
    attention = AxialAttention(2, length=3)
    with torch.no_grad():
        attention.table.copy_(torch.arange(4)[:, None].mul(10).add(torch.arange(5.0)).flatten())
    own = attention.offsets(3)
    assert own.shape == (4, 3, 3)
    assert own[0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert bool((own[1] == own[0] + 10).all())
    longer = attention.offsets(5)
    assert longer[0].diagonal().tolist() == [2] * 5
    assert longer[0, 4, 0] == 4
    assert longer[0, 1, 0] == 2.5


def test_axial_attention_without_positions() -> None:
    """Of a constant sequence each pixel sees the mean of equal values: what went in, normalised."""
    attention = AxialAttention(4, length=0).eval()
    x = torch.randn(2, 4, 1).expand(2, 4, 6)
    values = attention.norm_qkv(attention.qkv(x[..., None]))[..., 0].reshape(2, 2, 4, 6)[:, :, 2:]
    expected = attention.norm_out(values.reshape(2, 4, 6, 1))[..., 0]
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(
    ("spec", "classes", "count"),
    [
        ("transunet[grid=14]", 1, 105_275_921),  # what the entry's note says
        ("uctransnet[grid=14]", 1, 66_430_657),
    ],
)
def test_counts_of_other_sizes(spec: str, classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(build(spec, 3, classes)) == count


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("swin-unet[depths=2-2]", "one number for each of the 4 widths"),
        ("vm-unet[decoder=1-2-2]", "one number for each of the 4 widths"),
        ("swin-unet[drop=1.5]", "probability"),
        ("utnet[blocks=1-1]", "as many of both"),
        ("transunet[widths=8-16-32]", "give 5"),
        ("medt[widths=8-16-32]", "give 4"),
    ],
)
def test_refused(spec: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        build(spec)
