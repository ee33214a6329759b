"""Gradients of depthwise convolutions against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ushape.nets.parts.depthwise import DepthwiseConv, _Depthwise


def pair(kernel: int, stride: int, padding: int, bias: bool = False) -> tuple[DepthwiseConv, nn.Conv2d]:
    torch.manual_seed(0)
    made = [kind(6, 6, kernel, stride, padding, groups=6, bias=bias) for kind in (DepthwiseConv, nn.Conv2d)]
    ours, theirs = made
    theirs.load_state_dict(ours.state_dict())
    assert isinstance(ours, DepthwiseConv)
    return ours, theirs


def gradients(conv: nn.Conv2d, x: Tensor, bf16: bool = False) -> list[Tensor]:
    """Output, gradient of x, of the weight and of the bias."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = conv(x)
    weigh = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    (out.float() * weigh).sum().backward()
    found = [out.detach(), x.grad, conv.weight.grad, *([] if conv.bias is None else [conv.bias.grad])]
    assert not any(each is None for each in found)
    return [each for each in found if each is not None]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (9, 21)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 0), (7, 1, 3), (9, 3, 2)]
)
def test_gradients(
    kernel: int, stride: int, padding: int, shape: tuple[int, int], bias: bool, channels_last: bool
) -> None:
    x = torch.randn(2, 6, *shape, generator=torch.Generator().manual_seed(1))
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    ours, theirs = pair(kernel, stride, padding, bias)
    exact = gradients(theirs, x)
    for mine, expected in zip(gradients(ours, x), exact, strict=True):
        assert mine.dtype == expected.dtype
        assert mine.shape == expected.shape
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-5)
    ours, _ = pair(kernel, stride, padding, bias)
    for mine, expected in zip(gradients(ours, x, bf16=True), exact, strict=True):
        assert (mine.float() - expected).abs().max() < 0.02 * expected.abs().max()


def test_gradcheck() -> None:
    x = torch.randn(1, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: _Depthwise.apply(x, weight, (2, 2), (2, 2)), (x, weight))


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    ours, _ = pair(5, 2, 2)
    ours(torch.randn(1, 6, 8, 8)).sum().backward()  # the image
    assert ours.weight.grad is not None
    frozen, _ = pair(5, 2, 2)
    frozen.requires_grad_(False)
    x = torch.randn(1, 6, 8, 8, requires_grad=True)
    frozen(x).sum().backward()
    assert frozen.weight.grad is None
    assert x.grad is not None


@pytest.mark.parametrize(
    "conv",
    [
        DepthwiseConv(4, 8, 5, padding=2, groups=2),
        DepthwiseConv(4, 8, 5, padding=2, groups=4),
        DepthwiseConv(4, 4, (1, 5), padding=(0, 2), groups=4),
        DepthwiseConv(4, 4, 5, padding=4, dilation=2, groups=4),
        DepthwiseConv(4, 4, 5, padding="same", groups=4),
        DepthwiseConv(4, 4, 5, padding=2, padding_mode="reflect", groups=4),
    ],
)
def test_others_are_left_to_pytorch(conv: DepthwiseConv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Depthwise, "apply", lambda *_: pytest.fail("not depthwise with one square filter a channel"))
    assert conv(torch.randn(2, 4, 8, 8)).shape[2:] == (8, 8)
