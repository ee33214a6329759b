"""Which engine computes a network."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ushape.errors import RunError
from ushape.nets.device import pick_precision
from ushape.nets.weights import Weights
from ushape.predict.engines.base import Bytes, Engine
from ushape.threads import Lanes

ENGINES = ("auto", "torch", "openvino")
PRECISIONS = ("auto", "float32", "bf16")


def open_engine(
    weights: Weights,
    engine: str,
    precision: str,
    lanes: Lanes,
    device: torch.device,
    tta: str,
    calibrate: Iterable[Bytes] | None = None,
) -> Engine:
    """The network in an engine of ENGINES, computing in one of PRECISIONS.

    RunError where the engine is not installed, cannot compute in the precision, or cannot take the network.
    """
    net = weights.net
    if net.in_channels != 3:
        raise RunError(f"the network takes {net.in_channels} channels, not the 3 of an RGB image: give other weights")
    if net.shrink:
        raise RunError(f"{net.spec.name}: scores a smaller area than it is shown: give weights with padding=same")
    if engine not in ENGINES:
        raise RunError(f"engine {engine!r}: give one of {', '.join(ENGINES)}")
    if engine == "openvino":
        from ushape.predict.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(net, pick_precision(precision, device), lanes.count, tta)  # type: ignore[arg-type]
    from ushape.predict.engines.torch_engine import TorchEngine

    return TorchEngine(net, pick_precision(precision, device), device, tta)  # type: ignore[arg-type]
