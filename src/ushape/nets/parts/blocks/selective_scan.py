"""Two-dimensional selective scan (VMamba, Liu et al. 2024, arXiv:2401.10166, sections 3-4; S6 of Mamba, 2312.00752).

A state h runs over the pixels, one sequence by rows, one by columns, and both backwards:
    h_t = exp(d_t A) h_{t-1} + d_t B_t x_t,    y_t = C_t h_t + D x_t
with the step d_t, B_t and C_t computed from x_t (hence "selective"). The four outputs are added. Around it, as in
VMamba's first version: LN, two 1x1 layers to `expansion` times the width, one gated path, one with a depthwise 3x3
convolution, SiLU, scan and LN; their product, a 1x1 layer, a shortcut. `state` is the size of h for a channel: 16 in
that version, 1 in the released networks and here, because a CPU pays for h with memory. A 1x1 convolution comes
first where the width changes; LN and SiLU are the paper's. The scan is exact, not an approximation (see `_scan`);
its many large tensors are computed again in the backward pass rather than kept.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.blocks.common import at_least, depthwise, project, recompute
from ushape.nets.parts.norms import ChannelNorm
from ushape.nets.parts.plain import StochasticDepth, Style

CHUNK = 16


def _scan(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + drive_t from h = 0, along the first of two axes: [L, M], [L, M] -> [L, M].

    Chunks of the sequence run side by side from zero states; what each would carry on is a sequence 16 times
    shorter, scanned the same way; its states are then added to the chunks, decayed. Some 16 log16(L) operations.
    """
    length = len(drive)
    whole = length <= CHUNK
    if not whole:
        missing = -length % CHUNK
        decay, drive = (F.pad(x, (0, 0, 0, missing)).view(-1, CHUNK, x.shape[1]) for x in (decay, drive))
    steps = 0 if whole else 1  # the axis to step along: of [L, M], or of [chunks, CHUNK, M]
    decays, drives = decay.unbind(steps), drive.unbind(steps)
    states = [drives[0]]
    for a, b in zip(decays[1:], drives[1:], strict=True):
        states.append(torch.addcmul(b, a, states[-1]))
    if whole:
        return torch.stack(states)
    products = [decays[0]]
    for a in decays[1:]:
        products.append(a * products[-1])
    carried = _scan(products[-1], states[-1])  # [chunks, M]: the state at the end of each chunk
    before = F.pad(carried[:-1], (0, 0, 1, 0))[:, None]  # [chunks, 1, M]: the state before each
    out = torch.addcmul(torch.stack(states, 1), torch.stack(products, 1), before)
    return out.flatten(0, 1)[:length]


class _LinearScan(torch.autograd.Function):
    """`_scan` whose backward pass is a scan as well, from the end, and keeps two tensors only."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = _scan(decay, drive)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        later = F.pad(decay[1:], (0, 0, 0, 1)).flip(0)  # decay_{t+1}, from the end
        drive_grad = _scan(later, grads[0].flip(0)).flip(0)  # g_t = grad_t + decay_{t+1} g_{t+1}
        return drive_grad * F.pad(states[:-1], (0, 0, 1, 0)), drive_grad


def linear_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + drive_t along the first axis: [L, ...], [L, ...] -> [L, ...]."""
    flat = decay.flatten(1), drive.flatten(1)
    states: Tensor = _LinearScan.apply(*flat) if torch.is_grad_enabled() else _scan(*flat)
    return states.view(drive.shape)


class SelectiveScan(nn.Module):
    """[N, D, H, W] -> the same shape."""

    def __init__(self, channels: int, rank: int, state: int) -> None:
        super().__init__()
        self.channels, self.rank, self.state = channels, rank, state
        self.inputs = nn.Parameter(torch.randn(4, rank + 2 * state, channels) / math.sqrt(channels))
        self.steps = nn.Parameter((2 * torch.rand(4, channels, rank) - 1) / math.sqrt(rank))
        step = torch.exp(torch.rand(4 * channels) * math.log(100) + math.log(1e-3))  # from .001 to .1
        # the rest is flat, so that weight decay leaves it alone
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # softplus of it is `step`
        self.log_rate = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(4 * channels))
        self.through = nn.Parameter(torch.ones(4 * channels))

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        rows = x.flatten(2).permute(2, 0, 1)  # [L, N, D]
        columns = x.transpose(2, 3).flatten(2).permute(2, 0, 1)
        x = torch.stack([rows, columns, rows.flip(0), columns.flip(0)], dim=2)  # [L, N, 4, D]
        inputs = torch.einsum("lnkd,ked->lnke", x, self.inputs)  # [L, N, 4, rank + 2 state]
        step, b, c = torch.split(inputs, [self.rank, self.state, self.state], dim=3)
        step = torch.einsum("lnkr,kdr->lnkd", step, self.steps).float()
        step = F.softplus(step + self.step_bias.view(4, channels))[..., None]  # [L, N, 4, D, 1]
        x, b, c = x.float(), b.float()[..., None, :], c.float()[..., None, :]  # b, c: [L, N, 4, 1, state]
        rate = self.log_rate.exp().view(4, channels, self.state)
        states = linear_scan(torch.exp(-step * rate), step * b * x[..., None])  # [L, N, 4, D, state]
        y = (states * c).sum(-1) + self.through.view(4, channels) * x  # [L, N, 4, D]
        y_rows, y_columns = y[:, :, 0] + y[:, :, 2].flip(0), y[:, :, 1] + y[:, :, 3].flip(0)  # [L, N, D]
        by_rows = y_rows.permute(1, 2, 0).reshape(-1, channels, height, width)  # [N, D, H, W]
        return by_rows + y_columns.permute(1, 2, 0).reshape(-1, channels, width, height).transpose(2, 3)


class SelectiveScanUnit(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, state: int, expansion: int, drop: float = 0.0) -> None:
        super().__init__()
        self.drop = StochasticDepth(drop)
        inner = expansion * channels
        self.norm = ChannelNorm(channels, eps=1e-6)
        self.widen = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.filter = nn.Sequential(depthwise(inner, 3), nn.SiLU())
        self.scan = SelectiveScan(inner, math.ceil(channels / 16), state)
        self.inner_norm = ChannelNorm(inner)
        self.narrow = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scanned, gate = self.widen(self.norm(x)).chunk(2, dim=1)  # each [N, inner, H, W]
        scanned = self.inner_norm(recompute(self.scan, self.filter(scanned)))
        out: Tensor = x + self.drop(self.narrow(scanned * F.silu(gate)))
        return out


class SelectiveScanBlock(nn.Sequential):
    """`style.depth` units: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, state: int, expansion: int) -> None:
        at_least(1, state=state, expansion=expansion)
        units = (SelectiveScanUnit(cout, state, expansion) for _ in range(style.depth))
        super().__init__(project(cin, cout), *units)
