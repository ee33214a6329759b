"""OpenVINO: the fastest on Intel's and AMD's CPUs. A graph is compiled for each size of tile; the last few are kept."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ushape.errors import RunError
from ushape.nets.folding import folded
from ushape.nets.unet import Network
from ushape.predict.engines.base import Bytes, Engine, Float, changes
from ushape.predict.engines.portable import Classes, Stain

KEPT = 8
"""Compiled graphs that are kept: a few sizes of tile, with and without probabilities."""

_converting = threading.Lock()
"""torch.export and the conversion are not made for several threads."""


class OpenVinoEngine(Engine):
    """RunError where OpenVINO is missing, or this CPU does not compute the precision.

    Stain and network are two graphs: the first always computes in float32, since bfloat16 would lose whole levels of
    grey, and it is left out where the stain matrix changes nothing. `lanes` calls compute at a time.
    """

    name: ClassVar[str] = "openvino"

    def __init__(self, net: Network, precision: str, lanes: int, tta: str) -> None:
        super().__init__(precision, net.classes, tta)
        ov = import_openvino()
        self._core = ov.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in able:
            raise RunError("precision bf16 with engine openvino: this CPU does not compute it; give float32 or int8")
        if precision not in ("float32", "bf16"):
            raise RunError(f"precision {precision} with engine openvino: give float32, bf16 or int8")
        self._threads = {
            "NUM_STREAMS": lanes,
            "INFERENCE_NUM_THREADS": lanes,
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,
        }
        self._classes = Classes(folded(net)).eval()
        self._kept: OrderedDict[tuple[str, int, int], _Graph] = OrderedDict()
        self._lock = threading.Lock()

    def _probabilities(self, tile: Bytes, stain: Float) -> Float:
        return self._run("probabilities", tile, stain)

    def _labels(self, tile: Bytes, stain: Float) -> Bytes:
        return self._run("labels", tile, stain)

    def _run(self, what: str, tile: Bytes, stain: Float) -> Any:
        image = np.ascontiguousarray(tile)[None]  # [1, H, W, 3]
        if changes(stain):
            image = self._graph("stain", tile)(image, np.ascontiguousarray(stain))
        return self._graph(what, tile)(image)[0]

    def _graph(self, what: str, tile: Bytes) -> _Graph:
        height, width = tile.shape[:2]
        key = what, height, width
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._compile(what, height, width)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def _compile(self, what: str, height: int, width: int) -> _Graph:
        image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
        if what == "stain":
            model = converted(Stain(), image, torch.eye(3))
        else:
            model = _only(converted(self._classes, image), 0 if what == "probabilities" else 1)
        precision = "bf16" if self.precision == "bf16" and what != "stain" else "f32"
        compiled = self._core.compile_model(model, "CPU", {**self._threads, "INFERENCE_PRECISION_HINT": precision})
        return _Graph(compiled)


class _Graph:
    """A compiled graph, called by several threads at once: each call takes a free request, or makes one."""

    def __init__(self, compiled: Any) -> None:
        self._make: Callable[[], Any] = compiled.create_infer_request
        self._free: list[Any] = []

    def __call__(self, *inputs: Any) -> Any:
        """Arrays -> a copy of the first output."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._make()
        made = request.infer(inputs, share_inputs=True, share_outputs=True)[0].copy()
        self._free.append(request)
        return made


def converted(module: nn.Module, *inputs: torch.Tensor) -> Any:
    """A module as an OpenVINO model for inputs of exactly these shapes."""
    ov = import_openvino()
    with _converting, without_telemetry(), torch.no_grad():
        program = torch.export.export(module, inputs)
        model = ov.convert_model(program)
    model.reshape({i: list(each.shape) for i, each in enumerate(inputs)})
    return model


def _only(model: Any, output: int) -> Any:
    """The model with one of its outputs, and what only the others need left out."""
    ov = import_openvino()
    return ov.Model([model.get_results()[output]], model.get_parameters(), model.friendly_name)


def import_openvino() -> Any:
    """The package; RunError naming the extra where it is missing. It reports to nobody that it was imported."""
    try:
        with without_telemetry():
            import openvino
    except ImportError:
        raise RunError("engine openvino is not installed: pip install 'ushape[openvino]'") from None
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Whatever is imported meanwhile finds no `openvino_telemetry`, and so sends nothing over the network."""
    name = "openvino_telemetry"
    there = name in sys.modules, sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if there[0]:
            sys.modules[name] = there[1]  # type: ignore[assignment]
        else:
            del sys.modules[name]
