"""Every block and stem in a small U, and by hand what can be checked by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.bottleneck import Bottleneck
from ushape.nets.parts.blocks.depthwise_separable import DepthwiseSeparable
from ushape.nets.parts.blocks.kan import KANBlock, KANLinear, bspline_basis
from ushape.nets.parts.blocks.large_kernel import LargeKernelBlock
from ushape.nets.parts.blocks.multires import multires_widths
from ushape.nets.parts.blocks.recurrent_residual import RecurrentResidualBlock
from ushape.nets.parts.blocks.residual import ResidualBlock
from ushape.nets.parts.blocks.residual_pre import ResidualPreBlock
from ushape.nets.parts.blocks.rsu import RSU
from ushape.nets.parts.blocks.selective_scan import SelectiveScan, linear_scan
from ushape.nets.parts.blocks.shifted_mlp import ShiftedMLPBlock, shift
from ushape.nets.parts.blocks.swin import WindowAttention, partition, reverse
from ushape.nets.parts.norms import BatchNorm as batch_norm
from ushape.nets.parts.norms import no_norm
from ushape.nets.parts.plain import DilatedConv, Style
from ushape.nets.registry import modifications
from ushape.nets.unet import build, parameters

PARTS = [f"{m.axis}={m.name}" for axis in ("stem", "block") for m in modifications(axis)]
each_part = pytest.mark.parametrize("part", PARTS)


def style(depth: int = 2, bias: bool = False) -> Style:
    return Style(norm=batch_norm, activation=relu, depth=depth, bias=bias)


def count(*modules: nn.Module) -> int:
    return sum(parameters(module) for module in modules)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# -- every block and stem ------------------------------------------------------------------------------------------


@each_part
def test_trains_on_one_image_of_any_size_and_every_parameter_learns(part: str) -> None:
    net = build(f"unet[width=6,levels=3,{part}]", seed=0).train().to(memory_format=torch.channels_last)
    x = image(1, 3, 37, 53).contiguous(memory_format=torch.channels_last)
    scores = net(x)
    assert isinstance(scores, Tensor)
    assert scores.shape == (1, 5, 37, 53)
    (scores * image(1, 5, 37, 53)).mean().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@each_part
def test_bfloat16_is_finite_and_tiny_images_train(part: str) -> None:
    net = build(f"unet[width=5,levels=2,norm=none,{part}]", seed=0).train()
    with torch.autocast("cpu", torch.bfloat16):
        scores = net(image(2, 3, 20, 12))
    scores.float().square().mean().backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net(image(1, 3, 1, 1)).isfinite().all()


@each_part
def test_smallest_map_that_plain_trains_on(part: str) -> None:
    """A bottom of 1 x 2 pixels: two values a channel, the fewest that a batch of one can be normalised over."""
    net = build(f"unet[width=7,levels=3,{part}]", seed=0).train()
    assert net(image(1, 3, 4, 8)).isfinite().all()


@each_part
def test_same_pixels_same_scores_again_and_alone(part: str) -> None:
    net = build(f"unet[widths=6-5-12,{part}]", seed=0).eval()
    x = image(2, 3, 36, 20)
    with torch.no_grad():
        scores = net(x)
        assert torch.equal(net(x), scores)
        near = 1e-5 * float(scores.abs().max())
        torch.testing.assert_close(net(x[1:]), scores[1:], rtol=0, atol=near)
    torch.testing.assert_close(net(x).detach(), scores, rtol=0, atol=near)  # with gradients: the same numbers


@pytest.mark.parametrize(
    "bad",
    [
        "rms[dilations=0]",
        "mednext[kernel=4]",
        "convnext[scale=0]",
        "shifted-mlp[shifts=4]",
        "bottleneck[reduction=0]",
        "rsu[height=1]",
        "kan[order=0]",
        "swin[window=0]",
        "selective-scan[state=0]",
        "recurrent-residual[steps=0]",
        "leaky[slope=-0.1]",
        "group[groups=0]",
    ],
)
def test_parameters_without_meaning_are_refused_with_a_remedy(bad: str) -> None:
    with pytest.raises(SpecError, match=r"give|must be"):
        build(f"unet[width=4,levels=2]+{bad}")


@pytest.mark.parametrize(("channels", "groups"), [(24, 1), (17, 17), (32, 32)])
def test_dilated_convolutions_train_in_bfloat16_at_widths_that_onednn_gets_wrong(channels: int, groups: int) -> None:
    """Dilated, channels_last, bfloat16: the bare convolution's weight gradient is wrong or ends the process."""
    last = torch.channels_last
    conv = DilatedConv(channels, groups * 4, 3, padding=4, dilation=4, groups=groups).to(memory_format=last)
    x = image(1, channels, 96, 96).bfloat16().float().contiguous(memory_format=last)
    behind = image(2, groups * 4, 96, 96)[1:].bfloat16().float().contiguous(memory_format=last)
    with torch.no_grad():
        conv.weight.copy_(conv.weight.bfloat16())
    gradients = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            scores = conv(x)
        (gradient,) = torch.autograd.grad(scores.float(), conv.weight, behind)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, rtol=0, atol=0.01 * float(gradients[1].abs().max()))


# -- counts that papers and their code give ------------------------------------------------------------------------


def test_counts_of_single_blocks() -> None:
    assert count(Bottleneck(256, 256, style(), 4)) == 256 * 64 + 9 * 64 * 64 + 64 * 256 + 2 * (64 + 64 + 256)
    assert count(DepthwiseSeparable(32, 64, style())) == 9 * 32 + 32 * 64 + 2 * 32 + 2 * 64
    assert count(KANLinear(20, 30, 5, 3)) == 10 * 20 * 30


def test_multires_widths_are_the_papers() -> None:
    for unit in (32, 64, 128, 256, 512):
        filters = 1.67 * unit
        paper = [int(filters * 0.167), int(filters * 0.333), int(filters * 0.5)]
        assert multires_widths(sum(paper)) == paper
    assert [sum(multires_widths(c)) for c in range(1, 99)] == list(range(1, 99))


def test_r2unet_has_39_091_393_parameters() -> None:
    widths, biased = [64, 128, 256, 512, 1024], style(bias=True)
    pairs = list(zip([3, *widths], widths, strict=False)) + [(2 * w, w) for w in widths[:-1]]
    blocks = count(*(RecurrentResidualBlock(a, b, biased, 2) for a, b in pairs))
    ups = count(*(biased.unit(2 * w, w) for w in widths[:-1]))
    assert blocks + ups + 65 == 39_091_393


def test_cmunext_has_3_149_185_parameters() -> None:
    widths, depths, kernels = [16, 32, 128, 160, 256], [1, 1, 1, 3, 1], [3, 3, 7, 7, 7]
    pairs = list(zip([3, *widths], widths, strict=False))
    total = count(
        *(LargeKernelBlock(a, b, style(d, True), k) for (a, b), d, k in zip(pairs, depths, kernels, strict=True)),
        *(LargeKernelBlock(2 * w, w, style(1, True), 3) for w in widths[:-1]),
        *(style(bias=True).unit(b, a) for a, b in pairwise(widths)),  # after bilinear upsampling
    )
    assert total + 17 == 3_149_185


def test_unext_has_1_471_921_parameters() -> None:
    """Three convolution levels, then shifted MLPs at 160 and 256; decoder convolutions lead to MLPs at 160 and 128."""
    convolutions = [(3, 16), (16, 32), (32, 128), (256, 160), (160, 128), (128, 32), (32, 16), (16, 16)]
    total = sum(9 * a * b + b for a, b in convolutions)
    total += 2 * (16 + 32 + 128 + 160 + 128 + 32 + 16)  # batch norms; the last decoder convolution has none
    total += count(ShiftedMLPBlock(128, 160, style(1), 5), ShiftedMLPBlock(160, 256, style(1), 5))
    for width in (160, 128):  # decoder: the block without the embedding
        total += count(*list(ShiftedMLPBlock(1, width, style(1), 5))[2:])
    assert total + 17 == 1_471_921


def test_ukan_has_25_359_265_parameters() -> None:
    double = [(3, 32), (32, 64), (64, 256)]  # convolution levels: two convolutions
    decoder = [(512, 320), (320, 256), (256, 64), (64, 32), (32, 32)]  # first at the width that comes in
    total = sum(9 * (a * b + b * b) + 2 * b + 4 * b for a, b in double)
    total += sum(9 * (a * a + a * b) + a + b + 2 * (a + b) for a, b in decoder)
    total += count(KANBlock(256, 320, style(1, True), 5, 3), KANBlock(320, 512, style(1, True), 5, 3))
    for width in (320, 256):
        total += count(*list(KANBlock(1, width, style(1, True), 5, 3))[2:])
    assert total + 33 == 25_359_265


def test_u2net_weighs_176_megabytes() -> None:
    encoder = [(3, 32, 64, 7), (64, 32, 128, 6), (128, 64, 256, 5), (256, 128, 512, 4), (512, 256, 512, 0)]
    decoder = [(1024, 256, 512, 0), (1024, 128, 256, 4), (512, 64, 128, 5), (256, 32, 64, 6), (128, 16, 64, 7)]
    total = sum(
        count(RSU(cin, inner, cout, style(bias=True), height or 4, flat=height == 0))
        for cin, inner, cout, height in [*encoder, encoder[-1], *decoder]
    )
    total += sum(9 * width + 1 for width in (64, 64, 128, 256, 512, 512)) + 7
    assert total == 44_009_869  # 176.0 MB of float32; the file of 176.3 MB holds running statistics as well


# -- by hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 100, 257, 300])
def test_scan_is_the_recurrence(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    decay = torch.rand(length, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    drive = torch.randn(length, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    state, states = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(length):
        state = decay[t] * state + drive[t]
        states.append(state)
    expected, got = torch.stack(states), linear_scan(decay, drive)
    weight = torch.randn(length, 2, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(got, expected)
    for one, other in zip(
        torch.autograd.grad((got * weight).sum(), (decay, drive)),
        torch.autograd.grad((expected * weight).sum(), (decay, drive)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(linear_scan(decay, drive), expected)


def test_selective_scan_is_the_equation_in_four_directions() -> None:
    torch.manual_seed(0)
    scan = SelectiveScan(3, rank=2, state=2)
    x = image(1, 3, 4, 5)
    expected = torch.zeros_like(x)
    rows = [(i, j) for i in range(4) for j in range(5)]
    columns = [(i, j) for j in range(5) for i in range(4)]
    for k, path in enumerate((rows, columns, rows[::-1], columns[::-1])):
        h = torch.zeros(3, 2)
        for i, j in path:
            pixel = x[0, :, i, j]
            inputs = scan.inputs[k] @ pixel
            step = nn.functional.softplus(scan.steps[k] @ inputs[:2] + scan.step_bias.view(4, 3)[k])[:, None]
            rate = scan.log_rate.exp().view(4, 3, 2)[k]
            h = torch.exp(-step * rate) * h + step * inputs[2:4] * pixel[:, None]
            expected[0, :, i, j] += h @ inputs[4:6] + scan.through.view(4, 3)[k] * pixel
    torch.testing.assert_close(scan(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("grid", "order"), [(5, 3), (4, 1), (3, 2), (7, 4)])
def test_splines_are_de_boors_and_sum_to_one(grid: int, order: int) -> None:
    x = torch.linspace(-3, 3, 997, dtype=torch.float64)
    knots = torch.arange(-order, grid + order + 1, dtype=torch.float64) * 2 / grid - 1
    basis = ((x[:, None] >= knots[:-1]) & (x[:, None] < knots[1:])).double()
    for k in range(1, order + 1):
        rise = (x[:, None] - knots[: -k - 1]) / (knots[k:-1] - knots[: -k - 1]) * basis[:, :-1]
        fall = (knots[k + 1 :] - x[:, None]) / (knots[k + 1 :] - knots[1:-k]) * basis[:, 1:]
        basis = rise + fall
    got = bspline_basis(x, grid, order)
    torch.testing.assert_close(got, basis, atol=1e-9, rtol=0)
    inside = x.abs() <= 1
    torch.testing.assert_close(got[inside].sum(-1), torch.ones(int(inside.sum()), dtype=torch.float64))


def test_kan_layer_is_a_sum_of_functions_of_single_inputs() -> None:
    torch.manual_seed(0)
    layer, x = KANLinear(2, 3, 5, 3), torch.tensor([[0.3, -0.8]])
    expected = torch.zeros(3)
    for j in range(3):
        for i in range(2):
            spline = (layer.spline[j, i] * bspline_basis(x[0, i], 5, 3)).sum()
            expected[j] += layer.base[j, i] * nn.functional.silu(x[0, i]) + layer.scale[j, i] * spline
    torch.testing.assert_close(layer(x)[0], expected)


def test_windows_are_cut_and_put_back() -> None:
    x = image(2, 8, 12, 5)
    windows = partition(x, 4)
    assert windows.shape == (2, 6, 16, 5)
    assert torch.equal(windows[1, 4].view(4, 4, 5), x[1, 4:8, 4:8])
    assert torch.equal(reverse(windows, 4, 8, 12), x)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 7), (3, 9), (2, 3), (1, 1)])
@pytest.mark.parametrize("shifted", [False, True])
def test_a_pixel_sees_its_window_and_nothing_else(height: int, width: int, shifted: bool) -> None:
    """Attention over each window alone, computed without padding or rolling, is what the module gives."""
    torch.manual_seed(0)
    window, attention = 4, WindowAttention(6, 4, 3, shifted)
    x = image(1, height, width, 6)
    expected = torch.zeros_like(x)

    def cuts(size: int) -> list[range]:
        first = window // 2 if shifted and size > window else window
        edges = [0, *range(first, size, window), size]
        return [range(a, b) for a, b in pairwise(edges)]

    for rows in cuts(height):
        for columns in cuts(width):
            places = [(i, j) for i in rows for j in columns]
            tokens = torch.stack([x[0, i, j] for i, j in places])
            q, k, v = attention.qkv(tokens).view(-1, 3, 2, 3).permute(1, 2, 0, 3)  # [heads, places, 3]
            offset = [[(a - c + 3) * 7 + b - d + 3 for c, d in places] for a, b in places]
            bias = attention.bias.view(2, -1)[:, torch.tensor(offset)]
            weight = (q @ k.transpose(1, 2) / math.sqrt(3) + bias).softmax(-1)
            out = attention.join((weight @ v).transpose(0, 1).flatten(1))
            for (i, j), value in zip(places, out, strict=True):
                expected[0, i, j] = value
    torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


def test_channel_groups_are_shifted_and_zeros_come_in() -> None:
    x = torch.arange(1.0, 6.0).expand(1, 5, 1, 5)
    rows = [[3.0, 4, 5, 0, 0], [2.0, 3, 4, 5, 0], [1.0, 2, 3, 4, 5], [0.0, 1, 2, 3, 4], [0.0, 0, 1, 2, 3]]
    assert shift(x, 5, axis=3)[0, :, 0].tolist() == rows
    assert torch.equal(shift(x.transpose(2, 3), 5, axis=2), shift(x, 5, axis=3).transpose(2, 3))


def test_preactivation_leaves_its_input_alone() -> None:
    """An in-place activation behind no normalisation would rectify the identity's path and the skip."""
    bare = Style(norm=no_norm, activation=relu, depth=2, bias=True)
    block, x = ResidualPreBlock(4, 4, bare), image(1, 4, 6, 6)
    kept = x.clone()
    for p in block.parameters():
        nn.init.zeros_(p)
    assert torch.equal(block(x), kept)
    assert torch.equal(x, kept)


def test_a_deep_residual_level_is_a_chain_of_blocks_of_every_so_many_convolutions() -> None:
    """He's networks have a shortcut over every two convolutions; the default is one over the whole level."""
    style = Style(nn.BatchNorm2d, nn.ReLU, depth=5, bias=False)
    block = ResidualBlock(3, 4, style, every=2).eval()
    parts = [m for m in block.modules() if isinstance(m, ResidualBlock)]
    assert [sum(isinstance(m, nn.Conv2d) for m in part.residual) for part in parts] == [2, 2, 1]
    x = image(1, 3, 12, 12)
    expected = x
    for part in parts:
        expected = part.activation(part.residual(expected) + part.shortcut(expected))
    torch.testing.assert_close(block(x), expected)
    one = ResidualBlock(3, 4, style)
    assert sum(isinstance(m, ResidualBlock) for m in one.modules()) == 1
    assert count(one) == count(block)
