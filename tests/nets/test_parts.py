"""What single parts compute, against a definition or against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ushape.nets.parts.activations import relu
from ushape.nets.parts.attention.eca import EfficientChannelAttention
from ushape.nets.parts.bridges.non_local import NonLocal
from ushape.nets.parts.bridges.pyramid_pooling import _means
from ushape.nets.parts.norms import BatchNorm, ChannelNorm, GroupNorm, InstanceNorm, no_norm
from ushape.nets.parts.plain import Style, divisor
from ushape.nets.parts.resampling.blur_pool import BlurPool
from ushape.nets.parts.resampling.dysample import DySample
from ushape.nets.parts.resampling.haar import haar
from ushape.nets.parts.resampling.pixel_shuffle import PixelShuffle
from ushape.nets.unet import _initialise, build

STYLE = Style(norm=no_norm, activation=relu, depth=2, bias=True)


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (BatchNorm(6), nn.BatchNorm2d(6)),
        (InstanceNorm(6), nn.InstanceNorm2d(6, affine=True)),
        (GroupNorm(6, 3), nn.GroupNorm(3, 6)),
        (GroupNorm(6, 4), nn.GroupNorm(3, 6)),
    ],
)
def test_norms_are_torchs(ours: nn.Module, theirs: nn.Module) -> None:
    x = features(2, 6, 5, 7) * 3 + 1
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_norms_of_a_single_value() -> None:
    x = features(1, 6, 1, 1)
    torch.testing.assert_close(InstanceNorm(6)(x), torch.zeros_like(x), rtol=0, atol=1e-4)
    norm = BatchNorm(6)
    torch.testing.assert_close(norm(x), x, rtol=1e-4, atol=1e-5)  # running mean 0, variance 1
    assert torch.equal(norm.running_mean, torch.zeros(6)), "and they are left alone"


def test_layer_norm_is_per_pixel() -> None:
    out = ChannelNorm(6)(features(2, 6, 5, 7) * 3 + 1)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5, 7), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(2, 5, 7), rtol=1e-3, atol=1e-3)


@given(st.integers(1, 500), st.integers(1, 64))
def test_divisor(channels: int, most: int) -> None:
    found = divisor(channels, most)
    assert channels % found == 0
    assert found == max(d for d in range(1, most + 1) if channels % d == 0)


def test_haar_loses_nothing() -> None:
    x = features(2, 3, 8, 6)
    out = haar(x)
    assert out.shape == (2, 12, 4, 3)
    torch.testing.assert_close(out.square().sum(), x.square().sum())
    assert torch.equal(haar(torch.ones(1, 1, 2, 2)).flatten(), torch.tensor([2.0, 0, 0, 0]))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_blur_pool_keeps_constants_and_moves_with_the_image(size: int) -> None:
    pool = BlurPool(3, 6, STYLE, size)
    assert torch.allclose(pool(torch.full((1, 3, 8, 8), 2.5)), torch.full((1, 3, 4, 4), 2.5))
    x = features(1, 3, 32, 32)
    moved = pool(x.roll((2, 2), (2, 3)))
    torch.testing.assert_close(moved[..., 4:-4, 4:-4], pool(x).roll((1, 1), (2, 3))[..., 4:-4, 4:-4])


def test_dysample_starts_as_bilinear_and_samples_where_told() -> None:
    up = DySample(8, 4, STYLE, groups=4)
    x = features(2, 8, 5, 7)
    with torch.no_grad():
        up.offset.weight.zero_()
        up.offset.bias.zero_()
    torch.testing.assert_close(up(x), F.interpolate(x, scale_factor=2, mode="bilinear"), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        up.offset.bias.view(8, 4)[::2] = 4.0  # a quarter of it: one coarse pixel to the right, in every group
    shifted = F.interpolate(torch.cat([x[..., 1:], x[..., -1:]], dim=3), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(up(x)[..., 2:-3], shifted[..., 2:-3], rtol=1e-4, atol=1e-5)


def test_pixel_shuffle_starts_without_a_checkerboard() -> None:
    up = PixelShuffle(3, 2, STYLE, kernel=3)
    _initialise(up)
    out = up(features(1, 3, 4, 5))
    assert torch.equal(out, F.interpolate(out[..., ::2, ::2], scale_factor=2))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 7))
def test_means_are_adaptive_pooling(height: int, width: int, side: int) -> None:
    x = features(2, 3, height, width)
    torch.testing.assert_close(_means(x, side), F.adaptive_avg_pool2d(x, side))


def test_non_local_is_its_equation() -> None:
    block = NonLocal(4, STYLE)
    x = features(1, 4, 2, 3)
    theta, phi, g = (f(x)[0].flatten(1) for f in (block.theta, block.phi, block.g))
    columns = []
    for i in range(6):
        weight = torch.stack([theta[:, i] @ phi[:, j] for j in range(6)]).softmax(0)
        columns.append(sum(weight[j] * g[:, j] for j in range(6)))
    y = torch.stack(columns, dim=1).reshape(1, 2, 2, 3)
    torch.testing.assert_close(block(x), x + block.out(y))


@pytest.mark.parametrize(("channels", "kernel"), [(1, 1), (8, 3), (64, 3), (128, 5), (256, 5), (512, 5)])
def test_eca_kernels(channels: int, kernel: int) -> None:
    """As the paper's code computes them: int(|log2(C) / 2 + 1 / 2|), made odd upwards."""
    assert EfficientChannelAttention(channels, STYLE).conv.kernel_size == (kernel,)


def test_full_scale_and_nested_widths() -> None:
    nested = build("unet[widths=5-7-9]+nested")
    assert nested.topology.widths == (5, 7)
    assert set(nested.topology.nodes) == {"0_1", "1_1", "0_2"}
    assert build("unet[widths=5-7-9]+full-scale").topology.widths == (15, 15)


def test_deep_supervision_scores_every_level_in_training() -> None:
    for topology in ("plain", "nested", "full-scale", "double"):
        net = build(f"unet[widths=4-5-6,topology={topology}]+deep-supervision", 1, 2, seed=0)
        out = net.train()(torch.zeros(2, 1, 10, 7))
        assert [tuple(s.shape) for s in out] == [(2, 2, 10, 7), (2, 2, 6, 4)]  # padded to 12 x 8
