"""Depthwise convolutions whose gradients are computed fast on CPUs.

oneDNN (as of PyTorch 2.14) has fast kernels for the weight gradient of filters of 3 x 3, and takes a plain loop for
larger ones; in bfloat16 it takes one for the input gradient of strided convolutions too. Ten to a hundred times as
slow, the two were half of a training step of EfficientNet-Lite. Here the weight gradient of a larger filter is put
together from those of 3 x 3 parts, and the input gradient of a strided convolution in bfloat16 is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]
FAST = 3
"""Side of filters whose weight gradient has a fast kernel."""


class DepthwiseConv(nn.Conv2d):
    """nn.Conv2d; where it has one square filter a channel, its gradients are those of this module."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        height, width = self.kernel_size
        depthwise = self.groups == self.in_channels == self.out_channels and height == width
        slow = height > FAST or max(self.stride) > 1
        plain = isinstance(self.padding, str) or self.padding_mode != "zeros" or max(self.dilation) > 1
        if not (depthwise and slow) or plain or x.device.type != "cpu" or not torch.is_grad_enabled():
            return super()._conv_forward(x, weight, bias)
        made: Tensor = _Depthwise.apply(x, weight, self.stride, self.padding)
        return made if bias is None else made + bias.to(made.dtype)[:, None, None]


class _Depthwise(torch.autograd.Function):
    """x [N, C, H, W], weight [C, 1, k, k] -> [N, C, H', W'], in the precision of the autocast around it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        grad = grad.contiguous(memory_format=layout)
        of_x, of_weight = ctx.needs_input_grad[:2]
        return (
            _of_input(grad, x, weight, ctx.stride, ctx.padding) if of_x else None,
            _of_weight(grad, x, weight, ctx.stride, ctx.padding, layout) if of_weight else None,
            None,
            None,
        )


def _of_input(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    dtype = torch.float32 if max(stride) > 1 and grad.dtype == torch.bfloat16 else grad.dtype
    shape = torch.empty_like(x, dtype=dtype)  # all that is asked of it is its shape and layout
    made = _gradients(grad.to(dtype), shape, weight.to(dtype), stride, padding, (True, False, False))[0]
    return made.to(x.dtype)


def _of_weight(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, layout: torch.memory_format
) -> Tensor:
    side = weight.shape[-1]
    x = x.to(grad.dtype)
    if side <= FAST:
        made = _gradients(grad, x, weight.to(grad.dtype), stride, padding, (False, True, False))[1]
        return made.to(weight.dtype)
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((count - 1) * step + FAST for count, step in zip(grad.shape[2:], stride, strict=True))
    shape = grad.new_empty(len(weight), 1, FAST, FAST)
    out = torch.empty_like(weight, dtype=grad.dtype)
    starts = [min(start, side - FAST) for start in range(0, side, FAST)]  # parts of 3 x 3; the last ones overlap
    for top in starts:
        for left in starts:
            seen = x[:, :, top : top + height, left : left + width].contiguous(memory_format=layout)
            part = _gradients(grad, seen, shape, stride, (0, 0), (False, True, False))[1]
            out[:, :, top : top + FAST, left : left + FAST] = part
    return out.to(weight.dtype)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's own gradients of x, weight and bias; those that are not wanted are None."""
    made: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return made
