"""Batch normalisation folded into the convolution before it: the same network in evaluation, with fewer operations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.encoders.efficientnet_lite import SameConv
from ushape.nets.parts.plain import DilatedConv
from ushape.nets.unet import Network
from ushape.nets.weights import as_input

Conv = nn.Conv2d | nn.ConvTranspose2d

FOLDABLE = (nn.Conv2d, DilatedConv, DepthwiseConv, SameConv, nn.ConvTranspose2d)
"""Convolutions that use their weight as it stands; a subclass may not (one that standardises it, say)."""

TOLERANCE = 1e-4
"""Largest difference of a score, against the largest score, at which a folded network is taken for the same."""


def folded(net: Network) -> Network:
    """A copy of a network in evaluation, each batch normalisation that alone reads a convolution folded into it.

    Which do is found by watching every operation of one forward pass. A pair that is not certain stays as it is; so
    does the whole network where folding would change its scores.
    """
    plain = copy.deepcopy(net).eval()
    image = _probe(plain)
    made = copy.deepcopy(plain)
    with torch.no_grad():
        before = plain(image)
        for conv, norm in _pairs(made, image):
            _replace(made, conv, fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d)))
            _replace(made, norm, nn.Identity())
        after = made(image)
    same = (before - after).abs().max() <= TOLERANCE * before.abs().max().clamp(min=1)
    return made if bool(same) else plain


def _probe(net: Network) -> Tensor:
    """A small image of random light: [1, in_channels, S, S]."""
    side = max(32, 2 * net.multiple)
    light = torch.rand(1, side, side, net.in_channels, generator=torch.Generator().manual_seed(0))
    parameter = next(net.parameters())
    image = as_input(light) if net.in_channels == 3 else light.movedim(-1, 1)
    return image.to(parameter.device, parameter.dtype)


def _pairs(net: Network, image: Tensor) -> list[tuple[Conv, nn.BatchNorm2d]]:
    """(convolution, norm) where the norm, and nothing else, reads what the convolution gives, in every call."""
    source: dict[int, Conv] = {}  # id of a tensor -> the convolution that gave it
    reader: dict[int, nn.BatchNorm2d] = {}
    alive: list[Tensor] = []  # so that no id is given twice
    calls: dict[nn.Module, int] = {}

    def gave(module: Any, _: Any, out: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        source[id(out)] = module
        alive.append(out)

    def reads(module: Any, inputs: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        reader[id(inputs[0])] = module
        alive.append(inputs[0])

    hooks = [m.register_forward_hook(gave) for m in net.modules() if type(m) in FOLDABLE]
    hooks += [m.register_forward_pre_hook(reads) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    uses = _Uses()
    try:
        with torch.no_grad(), uses:
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    alone = {key: source[key] for key in source if key in reader and uses.count.get(key, 0) == 1}
    partners: dict[Conv, set[nn.BatchNorm2d]] = {}
    for key, conv in alone.items():
        partners.setdefault(conv, set()).add(reader[key])
    found = []
    for conv, norms in partners.items():
        if len(norms) != 1:
            continue
        (norm,) = norms
        together = sum(1 for key in alone if source[key] is conv and reader[key] is norm)
        if together == calls[conv] == calls[norm] and norm.track_running_stats and not uses.shared(conv, calls[conv]):
            found.append((conv, norm))
    return found


class _Uses(TorchFunctionMode):
    """How many operations read each tensor; what gives no tensor (a shape, a type) reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[int, int] = {}
        self._kept: list[Tensor] = []

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if next(_tensors(made), None) is not None:
            for tensor in _tensors((args, kwargs or {})):
                self.count[id(tensor)] = self.count.get(id(tensor), 0) + 1
                self._kept.append(tensor)
        return made

    def shared(self, conv: Conv, calls: int) -> bool:
        """Whether anything but the convolution itself reads its weight."""
        return self.count.get(id(conv.weight), 0) != calls


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module where another one stands, in every place where it does."""
    for owner in list(net.modules()):
        for name, child in owner._modules.items():
            if child is old:
                owner._modules[name] = new
