"""Batch normalisation folded into convolutions: none is left where it can be, and scores stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ushape.nets.folding import TOLERANCE, folded
from ushape.nets.unet import Network, build


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def trained(spec: str) -> Network:
    """A network whose norms have seen something: means, variances and weights of their own."""
    net = build(spec, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight, module.bias):
                assert tensor is not None
                tensor.data += 0.2 * torch.randn(tensor.shape, generator=generator)
            assert module.running_var is not None
            module.running_var.mul_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return net.eval()


@pytest.mark.parametrize(
    "spec",
    [
        "unet[width=4,levels=3]",
        "unet[width=4,levels=3]+residual",
        "unet[width=4,levels=3]+depthwise-separable",
        "unet[width=4,levels=3]+nearest",
        "ushape-small",
    ],
)
def test_no_norm_behind_a_convolution_is_left_and_scores_stay(spec: str) -> None:
    net = trained(spec)
    made = folded(net)
    assert norms(net) > 0
    assert norms(made) == 0
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = net(image), made(image)
    assert (before - after).abs().max() <= TOLERANCE * before.abs().max()


def test_a_norm_that_is_not_alone_behind_a_convolution_stays() -> None:
    net = trained("unet[width=4,levels=3]+atrous-4-dense")  # behind four convolutions side by side
    assert 0 < norms(folded(net)) < norms(net)
