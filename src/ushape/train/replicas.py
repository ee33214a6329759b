"""Copies of a network that compute the shards of a batch side by side: shared parameters, gradients of their own.

Gradients are added, and normalisation statistics averaged, in the order of the replicas: the result is the same
however many lanes compute them.
"""

from __future__ import annotations

import copy

import torch
from torch import nn


class Replicas:
    """`count` replicas of `net`, in `modules`; `net` keeps the parameters, the statistics and the summed gradients."""

    def __init__(self, net: nn.Module, count: int) -> None:
        self.net = net
        self.modules = [copy.deepcopy(net.train()) for _ in range(count)]
        for replica in self.modules:
            for mine, shared in zip(replica.parameters(), net.parameters(), strict=True):
                mine.data = shared.data  # one storage, a gradient each

    def gather_gradients(self) -> None:
        """Move the sum of the replicas' gradients to the network's parameters."""
        for ours, *shards in zip(self.net.parameters(), *(r.parameters() for r in self.modules), strict=True):
            ours.grad = shards[0].grad
            for other in shards[1:]:
                if other.grad is not None and ours.grad is not None:
                    ours.grad += other.grad
            for each in shards:
                each.grad = None

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Give the network, and every replica again, the mean of the replicas' running statistics."""
        for ours, *shards in zip(self.net.buffers(), *(r.buffers() for r in self.modules), strict=True):
            ours.copy_(torch.stack(shards).mean(0) if ours.is_floating_point() else shards[0])
            for each in shards:
                each.copy_(ours)

    @torch.no_grad()
    def restore_statistics(self) -> None:
        """Give every replica the network's statistics, after those were loaded."""
        for replica in self.modules:
            for mine, shared in zip(replica.buffers(), self.net.buffers(), strict=True):
                mine.copy_(shared)
