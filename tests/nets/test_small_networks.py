"""What the shared tester cannot see of the small networks that leave the U."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ushape.errors import SpecError
from ushape.nets.parts.networks.dc import dual_widths
from ushape.nets.parts.networks.dcsau import SplitAttention
from ushape.nets.parts.networks.ege import LearnedMap
from ushape.nets.parts.networks.kiu import Exchange
from ushape.nets.parts.networks.lv import eighths
from ushape.nets.parts.networks.malunet import ExternalAttention
from ushape.nets.parts.networks.rolling import rolled
from ushape.nets.parts.networks.tinyu import Cascade
from ushape.nets.unet import build


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    channels=st.integers(1, 12),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    axis=st.sampled_from([2, 3]),
    sign=st.sampled_from([-1, 1]),
)
def test_rolling_is_torchs_roll_of_each_channel(channels: int, height: int, width: int, axis: int, sign: int) -> None:
    x = image(2, channels, height, width)
    expected = [x[:, c].roll(sign * c, dims=axis - 1) for c in range(channels)]
    assert torch.equal(rolled(x, axis, sign), torch.stack(expected, dim=1))


@pytest.mark.parametrize("size", [(8, 8), (8, 1), (1, 8)])
def test_a_learned_map_varies_along_its_own_axes_alone(size: tuple[int, int]) -> None:
    weights = LearnedMap(3, size)
    with torch.no_grad():
        weights.map.copy_(image(1, 3, *size))
        out = weights(torch.ones(1, 3, 16, 12))
    for axis, side in zip((2, 3), size, strict=True):
        first = out.narrow(axis, 0, 1).expand_as(out)
        assert torch.equal(out, first) == (side == 1)


def test_side_scores_halve_from_level_to_level() -> None:
    sides = build("ege-unet", 3, 2, seed=0).train()(image(2, 3, 64, 96))
    assert isinstance(sides, list)
    assert [tuple(s.shape) for s in sides] == [(2, 2, 64 >> i, 96 >> i) for i in range(6)]


def test_keys_and_values_of_external_attention_start_as_each_others_transpose() -> None:
    net = build("malunet", 3, 1, seed=0)
    found = [m for m in net.modules() if isinstance(m, ExternalAttention)]
    assert len(found) == 6
    for attention in found:
        assert torch.equal(attention.keys.weight, attention.values.weight.transpose(0, 1))


def test_each_branch_of_an_exchange_keeps_its_size_and_sees_the_other() -> None:
    exchange = Exchange(2).eval()
    u, ki = image(1, 2, 4, 4), image(1, 2, 16, 16, seed=1)
    new_u, new_ki = exchange(u, ki)
    assert (new_u.shape, new_ki.shape) == (u.shape, ki.shape)
    other_u, same_ki = exchange(u, torch.zeros_like(ki))
    assert not torch.equal(new_u, other_u)
    torch.testing.assert_close(same_ki, new_ki - ki)  # what comes from the U does not depend on the Ki-Net


def test_two_groups_are_weighed_by_shares_that_sum_to_one() -> None:
    attention = SplitAttention(4).eval()
    with torch.no_grad():  # both groups equal: any weights that sum to 1 give the same
        torch.nn.init.zeros_(attention.second[0].weight)
        attention.both[0].weight[4:] = 0
        out = attention(image(1, 4, 5, 5))
        first = attention.both(image(1, 4, 5, 5)).relu()[:, :4]
        weights = out / first
    assert bool(((weights >= 0) & (weights <= 1) | (first == 0)).all())
    shares = weights.nan_to_num(-1).amax((2, 3))
    torch.testing.assert_close(shares[..., None, None].expand_as(first) * first, out)  # one share a channel


def test_a_cascade_sees_as_far_as_its_seven_links() -> None:
    cascade = Cascade(4, 32).eval()
    x = torch.zeros(1, 4, 33, 33, requires_grad=True)
    (gradient,) = torch.autograd.grad(cascade(x)[0, :, 16, 16].sum(), x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (16 - 7, 16 + 7)


def test_widths_of_the_papers() -> None:
    assert [sum(dual_widths(u)) for u in (32, 64, 128, 256, 512)] == [51, 105, 212, 426, 853]
    assert [eighths(c) for c in (18, 30, 1, 120)] == [24, 32, 8, 120]


@pytest.mark.parametrize(
    "bad",
    ["rolling-unet[widths=8-16]", "rolling-unet[drop=1.0]", "lv-unet[widths=8-16-32]", "unet+conv-mixer[layers=0]"],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(bad: str) -> None:
    with pytest.raises(SpecError, match="give"):
        build(bad)
