"""Normalisations: batch, instance, group, layer, none. Each takes a batch of one, and a single pixel.

torch's own refuse a batch that holds one value a channel, which is what the bottom of the U gets from one small
image in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import divisor


class BatchNorm(nn.BatchNorm2d):
    """Ioffe and Szegedy 2015, arXiv:1502.03167; one value a channel is normalised by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> the same
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class GroupNorm(nn.GroupNorm):
    """Wu and He 2018, arXiv:1803.08494, equation 7; the number of groups is lowered until it divides the channels.

    Default: 8 groups, as suits the narrow levels of a U (the paper: 32, in widths from 64).
    """

    def __init__(self, channels: int, groups: int) -> None:
        if groups < 1:
            raise SpecError(f"groups={groups}: give 1 or more")
        super().__init__(divisor(channels, groups), channels)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> the same
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class InstanceNorm(GroupNorm):
    """Ulyanov et al. 2016, arXiv:1607.08022, with scale and shift as in nnU-Net: a group a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel (Ba et al. 2016, arXiv:1607.06450).

    eps: 1e-5, torch's, is that of the transformers whose code relies on it; ConvNeXt's code has 1e-6.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> the same
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def layer_norm(channels: int) -> nn.Module:
    """ChannelNorm; nothing for one channel, of which it would leave a constant."""
    return ChannelNorm(channels) if channels > 1 else nn.Identity()


def no_norm(channels: int) -> nn.Module:
    return nn.Identity()
