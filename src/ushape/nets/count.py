"""Counting on a network itself: its parameters, FLOPs and memory, and the seconds that it takes.

All but seconds is counted on torch's meta device, where tensors have shapes and no values: nothing is computed.
`ushape.nets.budget` keeps what this file counts.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ushape.nets.spec import Spec
from ushape.nets.unet import Network, build, parameters

Made = TypeVar("Made")


@dataclass(frozen=True)
class Counts:
    """Of a network in float32 and one image.

    flops: multiplications and additions. activation_bytes: the most that features take at once in inference, image
    included, weights not. saved_bytes: what training keeps of one image for the backward pass.
    """

    parameters: int
    flops: int
    activation_bytes: int
    saved_bytes: int


def count(spec: Spec, in_channels: int, classes: int, size: int) -> Counts:
    """Counts in float32 on one image of size x size; parts that the meta device lacks are run on the CPU."""
    return on_meta_or_cpu(lambda device: _count(spec, in_channels, classes, size, device))


def on_meta_or_cpu(make: Callable[[str], Made]) -> Made:
    """What `make` gives on the meta device, which computes nothing; on the CPU where a part does not know it."""
    try:
        return make("meta")
    except (NotImplementedError, RuntimeError):
        return make("cpu")


def count_size(spec: Spec, in_channels: int, classes: int, size: int) -> dict[str, int]:
    """Parameters and FLOPs alone: half the time of `count`, for tables."""

    def on(device: str) -> dict[str, int]:
        net, image = _made(spec, in_channels, classes, size, device)
        return {"parameters": parameters(net), "flops": _inference(net, image).flops}

    return on_meta_or_cpu(on)


def count_parameters(spec: Spec, in_channels: int, classes: int) -> int:
    """Trainable parameters alone: faster than `count`, for searches."""

    def on(device: str) -> int:
        with torch.device(device):
            return parameters(build(spec, in_channels, classes))

    return on_meta_or_cpu(on)


def count_flops(spec: Spec, in_channels: int, classes: int, size: int) -> int:
    """FLOPs alone: faster than `count`, for searches."""
    return on_meta_or_cpu(lambda device: _inference(*_made(spec, in_channels, classes, size, device)).flops)


def _count(spec: Spec, in_channels: int, classes: int, size: int, device: str) -> Counts:
    net, image = _made(spec, in_channels, classes, size, device)
    tally = _inference(net, image)
    return Counts(parameters(net), tally.flops, tally.peak, _saved(net, image))


def _made(spec: Spec, in_channels: int, classes: int, size: int, device: str) -> tuple[Network, Tensor]:
    with torch.device(device):
        return build(spec, in_channels, classes, seed=0), torch.zeros(1, in_channels, size, size)


def _inference(net: Network, image: Tensor) -> _Tally:
    with torch.no_grad(), _Tally([image]) as tally:
        net.eval()(image)
    return tally


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the FLOPs of the operations under it, and watches the memory of the tensors that they make.

    FLOPs are 2 x multiply-accumulate of convolutions, linear layers, matrix products and attention, as
    `torch.utils.flop_counter` defines them; normalisations, activations and resampling count nothing.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.peak = self._live = 0
        self._storages: set[int] = set()
        for tensor in inputs:
            self._watch(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is None and func._can_decompose():
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=out))
        if not _is_view(func):
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    self._watch(leaf)
        return out

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return
        self._storages.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._free, key, size).atexit = False

    def _free(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self._live -= size


_ATEN = torch.ops.aten
_FORMULAS = {  # torch's own, and attention as it runs on the CPU, which it leaves out
    **flop_registry,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: flop_registry[_ATEN._scaled_dot_product_flash_attention],
}


def _is_view(func: Any) -> bool:
    """Whether an operation returns an argument, or a view of one: no new memory."""
    return any(returned.alias_info is not None for returned in func._schema.returns)


def _saved(net: Network, image: Tensor) -> int:
    """Bytes that a training step keeps for the backward pass, weights not counted; each storage once."""
    known = {t.untyped_storage()._cdata for t in [*net.parameters(), *net.buffers()]}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in known:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores = net.train()(image)
    del scores
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def seconds(specs: Sequence[Spec], in_channels: int, classes: int, size: int, repeats: int = 7) -> list[float]:
    """Median seconds of one forward pass of each spec in evaluation: one image, float32, one thread.

    Several specs take turns, so that what else the machine does slows all of them alike: compare them in one call.
    """
    nets = [build(s, in_channels, classes, seed=0).eval() for s in specs]
    nets = [net.to(memory_format=torch.channels_last) for net in nets]
    image = torch.zeros(1, in_channels, size, size).contiguous(memory_format=torch.channels_last)
    times: list[list[float]] = [[] for _ in nets]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for turn in range(repeats + 1):  # the first turn warms up
                for net, taken in zip(nets, times, strict=True):
                    begun = time.perf_counter()
                    net(image)
                    if turn:
                        taken.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return [median(taken) for taken in times]
