"""Published networks against other implementations of them: with one set of weights, one set of scores.

A peer's weights are copied into ours in the order in which its layers are computed. Where a peer concatenates features
in another order, the channels of the convolution behind are reordered. All weights and running statistics are made
random first, scales around one, so that each of them matters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import tester
import torch
from torch import Tensor, nn

from ushape.nets.parts.topology.nested import NestedTopology
from ushape.nets.unet import build
from ushape.nets.zoo import find_published, published


def peer(package: str) -> Any:
    """A package, imported; its own warnings do not fail our tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(package, reason=f"{package} is not installed: pip install 'ushape[parity]'")


def randomise(net: nn.Module) -> None:
    """Weights with variance 1 / fan-in; scales and variances of norms around one; biases and means around zero."""
    generator = torch.Generator().manual_seed(7)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    with torch.no_grad():
        for module in net.modules():
            for name, p in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if not p.is_floating_point():
                    continue
                if p.ndim > 1:
                    fan_in = p[0].numel() if not isinstance(module, nn.ConvTranspose2d) else p.shape[0]
                    p.copy_(torch.randn(p.shape, generator=generator) / fan_in**0.5)
                elif name in ("weight", "running_var"):
                    p.copy_(uniform(p, 0.7, 1.3))
                else:
                    p.copy_(uniform(p, -0.3, 0.3))


def computed(net: nn.Module, x: Tensor) -> tuple[list[nn.Module], Tensor]:
    """The modules with weights of their own, in the order in which they are computed; and the scores."""
    found: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda module, *_: found.append(module))
        for m in net.modules()
        if any(True for _ in m.parameters(recurse=False))
    ]
    with torch.no_grad():
        scores = net.eval()(x)
    for hook in hooks:
        hook.remove()
    return found, scores


def reversed_inputs(net: Any) -> dict[nn.Module, list[int]]:
    """For peers that put the upsampled features first, then later nodes before earlier ones: the convolutions behind
    a concatenation, and how many channels the parts have in the peer's order."""
    topology, across = net.topology, net.encoder.channels
    parts: dict[nn.Module, list[int]] = {}

    def first_conv(level: nn.Module) -> nn.Conv2d:
        return next(m for m in level.modules() if isinstance(m, nn.Conv2d))

    if isinstance(topology, NestedTopology):
        width = {(i, 0): channels for i, channels in enumerate(across) if channels}
        for name, node in topology.nodes.items():
            i, j = map(int, name.split("_"))
            width[i, j] = [m for m in node.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
        for name, node in topology.nodes.items():
            i, j = map(int, name.split("_"))
            before = [width[i, k] for k in reversed(range(j)) if (i, k) in width]
            parts[first_conv(node)] = [topology.ups[name].channels, *before]
    else:
        for i, level in enumerate(topology.decoder):
            parts[first_conv(level)] = [topology.ups[i].channels, across[i]]
    return parts


def copy_weights(theirs: list[nn.Module], ours: list[nn.Module], parts: dict[nn.Module, list[int]]) -> None:
    """One module's weights into the other's, pair by pair; a peer without a bias where we have one: zeros."""
    assert len(theirs) == len(ours), f"{len(theirs)} modules with weights there, {len(ours)} here"
    with torch.no_grad():
        for a, b in zip(theirs, ours, strict=True):
            given = dict([*a.named_parameters(recurse=False), *a.named_buffers(recurse=False)])
            for name, p in [*b.named_parameters(recurse=False), *b.named_buffers(recurse=False)]:
                value = given.get(name)
                if value is None:
                    assert name == "bias", f"{type(b).__name__}.{name} has no counterpart"
                    p.zero_()
                    continue
                if name == "weight" and b in parts:
                    value = torch.cat(list(reversed(value.split(parts[b], dim=1))), dim=1)
                if isinstance(a, nn.ConvTranspose2d) and isinstance(b, nn.Conv2d):
                    value = value.transpose(0, 1) if name == "weight" else value  # a 1x1 convolution, either way
                assert p.shape == value.shape, f"{type(b).__name__}.{name}: {tuple(value.shape)} -> {tuple(p.shape)}"
                p.copy_(value)


def node_by_node(net: Any, ours: list[nn.Module], nodes: list[str]) -> list[nn.Module]:
    """Modules of a nested decoder in the order of its nodes in a peer."""
    place = {}
    for position, name in enumerate(nodes):
        for part in (net.topology.ups[name], net.topology.nodes[name]):
            place |= dict.fromkeys(part.modules(), position)
    place |= dict.fromkeys(net.head.modules(), len(nodes))
    return sorted(ours, key=lambda module: place.get(module, -1))  # stable; the encoder's come first


def same_scores(
    name: str,
    other: nn.Module,
    size: tuple[int, int],
    reverse: bool = False,
    nodes: list[str] | None = None,
    encoder: tuple[nn.Module, ...] = (),
    double: bool = False,
) -> None:
    """The network `name` of the zoo gives the scores of `other`, once it has its weights.

    reverse: the peer concatenates as in `reversed_inputs`. nodes: of a nested decoder, in the peer's order.
    encoder: the peer's, where it is computed bit by bit between the nodes. double: in float64, where so many layers
    lie between image and scores that rounding shows.
    """
    entry = find_published(name)
    net = build(name, entry.in_channels, entry.classes, seed=0)
    randomise(other)
    x = tester.image(net, size, batch=1)
    if double:
        net, other, x = net.double(), other.double(), x.double()
    theirs, expected = computed(other, x)
    ours, before = computed(net, x)
    early = {m for part in encoder for m in part.modules()}
    theirs = sorted(theirs, key=lambda module: module not in early)
    ours = node_by_node(net, ours, nodes) if nodes else ours
    copy_weights(theirs, ours, reversed_inputs(net) if reverse else {})
    found = tester.scores(net, x)
    assert expected.std() > 1e-3, "scores without variation would agree by chance"
    assert (found - before).abs().max() > 1e-3
    tester.assert_near(found, expected, 1e-5)


PARITY: dict[str, tuple[str, ...]] = {}
"""Network -> the peers that it is checked against below."""


def against(name: str, *peers: str) -> Callable[[Any], Any]:
    """Marks a test as the one that an entry's `parity` speaks of; a name for each peer."""

    def decorate(test: Any) -> Any:
        PARITY[name] = peers
        return test

    return decorate


def test_every_claim_is_checked_and_every_check_claimed() -> None:
    claimed = {n.name: n.parity for n in published() if n.parity}
    assert claimed == {name: ", ".join(peers) for name, peers in PARITY.items()}


# -- segmentation_models.pytorch ------------------------------------------------------------------------------------


@against("resnet34-unet", "segmentation_models_pytorch.Unet")
def test_resnet34_unet() -> None:
    smp = peer("segmentation_models_pytorch")
    same_scores("resnet34-unet", smp.Unet("resnet34", encoder_weights=None), size=(64, 96), reverse=True)


@against("convnext-unet", "segmentation_models_pytorch.Unet")
def test_convnext_unet() -> None:
    smp = peer("segmentation_models_pytorch")
    same_scores("convnext-unet", smp.Unet("tu-convnext_tiny", encoder_weights=None), size=(64, 96), reverse=True)


@against("resnet34-unetpp", "segmentation_models_pytorch.UnetPlusPlus")
def test_resnet34_unetplusplus() -> None:
    smp = peer("segmentation_models_pytorch")
    nodes = [f"{i}_{j}" for j in range(1, 6) for i in reversed(range(6 - j)) if i or j == 5]  # column by column
    other = smp.UnetPlusPlus("resnet34", encoder_weights=None)
    same_scores("resnet34-unetpp", other, size=(64, 96), reverse=True, nodes=nodes)


@against("linknet", "segmentation_models_pytorch.Linknet")
def test_linknet() -> None:
    smp = peer("segmentation_models_pytorch")
    same_scores("linknet", smp.Linknet("resnet34", encoder_weights=None), size=(64, 96))


WIDTHS = (32, 64, 128, 256, 512, 512, 512, 512)


# -- nnU-Net --------------------------------------------------------------------------------------------------------


@against("nnunet", "dynamic_network_architectures.PlainConvUNet", "monai.DynUNet")
def test_nnunet() -> None:
    unet = peer("dynamic_network_architectures.architectures.unet")
    plain = unet.PlainConvUNet(
        3, 8, WIDTHS, nn.Conv2d, 3, (1, *(2,) * 7), 2, 1, 2, conv_bias=True, norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    same_scores("nnunet", plain, size=(128, 256), reverse=True, double=True)
    nets = peer("monai.networks.nets")
    dynamic = nets.DynUNet(2, 3, 1, [3] * 8, [1] + [2] * 7, [2] * 7, filters=WIDTHS)
    same_scores("nnunet", dynamic, size=(256, 128), reverse=True, double=True)


@against("nnunet-resenc", "dynamic_network_architectures.ResidualEncoderUNet")
def test_nnunet_resenc() -> None:
    unet = peer("dynamic_network_architectures.architectures.unet")
    other = unet.ResidualEncoderUNet(
        3, 8, WIDTHS, nn.Conv2d, 3, (1, *(2,) * 7), (1, 3, 4, 6, 6, 6, 6, 6), 1, 1, conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    same_scores("nnunet-resenc", other, size=(256, 384))


# -- MONAI ----------------------------------------------------------------------------------------------------------


@against("basic-unet", "monai.BasicUNet")
def test_basic_unet() -> None:
    nets = peer("monai.networks.nets")
    same_scores("basic-unet", nets.BasicUNet(2, 3, 1), size=(64, 96))


@against("basic-unetpp", "monai.BasicUNetPlusPlus")
def test_basic_unetplusplus() -> None:
    nets = peer("monai.networks.nets")

    class Finest(nn.Module):
        """The peer's finest scores, alone, and without the heads that they do not need."""

        def __init__(self) -> None:
            super().__init__()
            self.net = nets.BasicUNetPlusPlus(2, 3, 1)
            for i in (1, 2, 3):
                setattr(self.net, f"final_conv_0_{i}", nn.Identity())

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[0]

    nodes = [f"{i - j}_{j}" for i in range(1, 5) for j in range(1, i + 1)]  # diagonal by diagonal
    other = Finest()
    encoder = tuple(getattr(other.net, f"conv_{i}_0") for i in range(5))
    same_scores("basic-unetpp", other, size=(64, 96), nodes=nodes, encoder=encoder)


@against("segresnet", "monai.SegResNet")
def test_segresnet() -> None:
    nets = peer("monai.networks.nets")
    same_scores("segresnet", nets.SegResNet(2, in_channels=3, out_channels=1), size=(64, 96))


@against("monai-unet", "monai.UNet")
def test_monai_unet() -> None:
    nets = peer("monai.networks.nets")
    other = nets.UNet(2, 3, 1, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2)
    same_scores("monai-unet", other, size=(64, 96))


@pytest.mark.parametrize("variant", ["s", "b", "m", "l"])
@against("mednext", "monai.MedNeXt")
@against("mednext-b", "monai.MedNeXt")
@against("mednext-m", "monai.MedNeXt")
@against("mednext-l", "monai.MedNeXt")
def test_mednext(variant: str) -> None:
    mednext = peer("monai.networks.nets.mednext")
    name = "mednext" if variant == "s" else f"mednext-{variant}"
    same_scores(name, mednext.create_mednext(variant, 2, 3, 1), size=(64, 96))
