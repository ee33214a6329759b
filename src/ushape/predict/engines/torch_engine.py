"""PyTorch: on any device; bfloat16 in the weights themselves where the network can."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ushape.errors import RunError
from ushape.nets.device import autocast
from ushape.nets.folding import folded
from ushape.nets.unet import Network
from ushape.predict.engines.base import Bytes, Engine, Float, changes
from ushape.predict.engines.portable import Portable


class TorchEngine(Engine):
    """RunError on a precision other than float32 and bf16."""

    name: ClassVar[str] = "torch"

    def __init__(self, net: Network, precision: str, device: torch.device, tta: str) -> None:
        super().__init__(precision, net.classes, tta)
        if precision not in ("float32", "bf16"):
            raise RunError(f"precision {precision} with engine torch: give float32 or bf16, or engine openvino")
        self._device = device
        made = folded(net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        half = _in_half(made) if precision == "bf16" else None
        self._autocast = "bf16" if precision == "bf16" and half is None else "float32"
        self._portable = Portable(half or made).eval().to(device)
        self.description = f"torch, {precision}, on {device}"

    @torch.inference_mode()
    def _probabilities(self, tile: Bytes, stain: Float) -> Float:
        made: Float = self._scores(tile, stain).float().softmax(1)[0].cpu().numpy()
        return made

    @torch.inference_mode()
    def _labels(self, tile: Bytes, stain: Float) -> Bytes:
        made: Bytes = self._scores(tile, stain).argmax(1)[0].to(torch.uint8).cpu().numpy()
        return made

    def _scores(self, tile: Bytes, stain: Float) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(tile)).to(self._device)[None]  # [1, H, W, 3]
        if changes(stain):
            image = self._portable.stain(image, torch.from_numpy(stain).to(self._device))
        with autocast(self._autocast, self._device):
            return self._portable.classes.scores(image)


def _in_half(net: Network) -> Network | None:
    """The network with bfloat16 weights; None where a part computes in single precision, so that autocast is needed."""
    half = copy.deepcopy(net).to(torch.bfloat16)
    parameter = next(half.parameters())
    image = torch.zeros(1, 3, net.multiple, net.multiple, dtype=parameter.dtype, device=parameter.device)
    try:
        with torch.inference_mode():
            half(image)
    except RuntimeError:
        return None
    return half
