"""Gated axial attention (Valanarasu et al. 2021, MedT, arXiv:2102.10662, equations 2-4; details from the code).

Attention along one axis of a map: every row, or every column, is a sequence of its own. Queries, keys and values each
have a learned vector for every offset between two pixels; four learned gates say how much of that passes. Similarities
and outputs are batch-normalised part by part, then added. A table of offsets is made for one length of the axis and
resampled for others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import divisor


class AxialAttention(nn.Module):
    """Sequences [B, C, L] -> the same shape; C even. `length`: of the table of offsets; 0: no positions, no gates."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.length, self.groups = length, divisor(channels // 2, 8)
        self.inner = channels // self.groups  # values of a group; its queries and keys have half as many
        self.qkv = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.norm_qkv = BatchNorm(2 * channels)
        self.norm_similar = BatchNorm((3 if length else 1) * self.groups)
        self.norm_out = BatchNorm((2 if length else 1) * channels)
        if length:
            self.table = nn.Parameter(
                torch.randn(2 * self.inner * (2 * length - 1)) / self.inner**0.5
            )  # flat: no decay
            self.gates = nn.Parameter(
                torch.tensor([0.1, 0.1, 1.0, 0.1])
            )  # of q's, k's offsets; of values, their offsets

    def initialise(self) -> None:
        nn.init.normal_(self.qkv.weight, std=self.qkv.in_channels**-0.5)

    def offsets(self, length: int) -> Tensor:
        """Vectors of the offsets of pixel i from pixel j: [2 inner, L, L]."""
        table = self.table.view(1, 2 * self.inner, -1)
        if length != self.length:
            table = F.interpolate(table[:, :, None], (1, 2 * length - 1), mode="bilinear", align_corners=True)[:, :, 0]
        place = torch.arange(length, device=table.device)
        return table[0, :, place[:, None] - place + length - 1]

    def forward(self, x: Tensor) -> Tensor:
        b, channels, length = x.shape
        qkv = self.norm_qkv(self.qkv(x[..., None])).reshape(b, self.groups, 2 * self.inner, length)
        half = self.inner // 2
        q, k, v = torch.split(qkv, [half, half, self.inner], dim=2)  # [B, groups, c, L]
        similar = q.transpose(2, 3) @ k  # [B, groups, L, L]
        if not self.length:
            weights = self.norm_similar(similar).softmax(-1)
            return self.norm_out((v @ weights.transpose(2, 3)).reshape(b, channels, length, 1))[..., 0]
        of_q, of_k, of_v = torch.split(self.offsets(length), [half, half, self.inner])  # [c, L, L]
        from_q = torch.einsum("bgci,cij->bgij", q, of_q) * self.gates[0]
        from_k = torch.einsum("bgcj,cji->bgij", k, of_k) * self.gates[1]
        parts = self.norm_similar(torch.cat([similar, from_q, from_k], dim=1))
        weights = parts.reshape(b, 3, self.groups, length, length).sum(1).softmax(-1)  # [B, groups, L, L]
        of_values = torch.einsum("bgij,bgcj->bgci", weights, v) * self.gates[2]
        of_places = torch.einsum("bgij,cij->bgci", weights, of_v) * self.gates[3]
        both = torch.stack([of_values, of_places], dim=3).reshape(b, 2 * channels, length, 1)
        return self.norm_out(both).reshape(b, channels, 2, length).sum(2)


class AxialBlock(nn.Module):
    """[N, cin, H, W] -> [N, 2 planes, H / stride, W / stride]: a bottleneck that attends down columns, along rows."""

    def __init__(self, cin: int, planes: int, stride: int, length: int) -> None:
        super().__init__()
        inner, cout = planes + planes % 2, 2 * planes
        self.stride = stride
        self.narrow = nn.Sequential(nn.Conv2d(cin, inner, 1, bias=False), BatchNorm(inner), nn.ReLU(inplace=True))
        self.columns, self.rows = AxialAttention(inner, length), AxialAttention(inner, length)
        self.widen = nn.Sequential(nn.Conv2d(inner, cout, 1, bias=False), BatchNorm(cout))
        self.shortcut = (
            nn.Identity()
            if stride == 1 and cin == cout
            else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm(cout))
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.narrow(x)  # [N, c, H, W]
        n, c, height, width = out.shape
        out = self.columns(out.permute(0, 3, 1, 2).reshape(n * width, c, height))
        out = out.reshape(n, width, c, height).permute(0, 3, 2, 1)  # [N, H, c, W]
        out = self.rows(out.reshape(n * height, c, width)).reshape(n, height, c, width).transpose(1, 2)
        if self.stride > 1:
            out = F.avg_pool2d(out, self.stride)
        return F.relu(self.shortcut(x) + self.widen(F.relu(out)))
