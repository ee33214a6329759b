"""OpenVINO: the fastest on Intel's and AMD's CPUs. A graph is compiled for each size of tile; the last few are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from ushape.errors import RunError
from ushape.nets.folding import folded
from ushape.nets.unet import Network
from ushape.predict.engines.base import Bytes, Engine, Float, changes, cropped, padded
from ushape.predict.engines.libraries import openvino_module, without_telemetry
from ushape.predict.engines.portable import Stain
from ushape.predict.engines.program import Kept, Programs, exported, first_line


class OpenVinoEngine(Engine):
    """RunError where OpenVINO is missing, this CPU does not compute the precision, or it cannot take the network.

    Stain and network are two graphs: the first always computes in float32, since bfloat16 would lose whole levels of
    grey, and it is left out where the stain matrix changes nothing. `lanes` calls compute at a time. crops: what int8
    is calibrated on (see `quantise`).
    """

    name: ClassVar[str] = "openvino"

    def __init__(
        self,
        net: Network,
        precision: str,
        lanes: int,
        tta: str,
        crops: Sequence[Bytes] | None = None,
    ) -> None:
        super().__init__(precision, net.classes, tta)
        if precision not in ("float32", "bf16", "int8"):
            raise RunError(f"precision {precision} with engine openvino: give float32, bf16 or int8")
        if precision == "int8" and not crops:
            raise RunError("precision int8 needs images to calibrate on: give --calibrate, or another precision")
        self._core = openvino_module().Core()
        half = computes_bf16()
        if precision == "bf16" and not half:
            raise RunError("precision bf16 with engine openvino: this CPU does not compute it; give float32 or int8")
        self._threads = {
            "NUM_STREAMS": lanes,
            "INFERENCE_NUM_THREADS": lanes,
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,
        }
        self._hint = "bf16" if half and precision != "float32" else "f32"  # of what int8 leaves as it is, too
        self._unit, self._crops, self._spec = net.multiple, crops, net.spec.name
        self._programs = Programs(folded(net))
        self._general: Any = None
        self._graphs = Kept(self._compile, self._views)
        if precision == "int8":
            self.description += f", calibrated on {len(crops or ())} crops"

    def _probabilities(self, tile: Bytes, stain: Float) -> Float:
        made: Float = cropped(self._run("probabilities", tile, stain), tile)
        return made

    def _labels(self, tile: Bytes, stain: Float) -> Bytes:
        made: Bytes = cropped(self._run("labels", tile, stain), tile)
        return made

    def _run(self, what: str, tile: Bytes, stain: Float) -> Any:
        image = padded(tile, self._unit)[None]  # [1, H, W, 3]
        if changes(stain):
            image = self._graphs.of("stain", image)(image, np.ascontiguousarray(stain, np.float32))
        return self._graphs.of(what, image)(image)[0]

    def _compile(self, what: str, height: int, width: int) -> _Graph:
        shape = [1, height, width, 3]
        if what == "stain":
            model, hint = converted(exported(Stain(), torch.zeros(shape, dtype=torch.uint8), torch.eye(3))), "f32"
        else:
            model, hint = self._model(height, width), self._hint
            model = only(model, 0 if what == "probabilities" else 1)
        model.reshape({0: shape})
        try:
            return _Graph(self._core.compile_model(model, "CPU", {**self._threads, "INFERENCE_PRECISION_HINT": hint}))
        except RuntimeError as error:
            raise RunError(
                f"{self._spec}: OpenVINO cannot compute it ({first_line(error)}): give engine torch"
            ) from None

    def _model(self, height: int, width: int) -> Any:
        """The network as a model for tiles of this size or, left to be reshaped, of many."""
        size: tuple[int, int] | None = None
        try:
            program = self._programs.general() if self._programs.serves(height, width) else None
            if program is not None and self._general is not None:
                return self._general.clone()
            if program is None:
                program, size = self._programs.only(height, width), (height, width)
            model = converted(program)
        except RunError as error:
            raise RunError(f"{self._spec}: {error}: give engine torch") from None
        model = self._quantised(model, size)
        if size is not None:
            return model
        self._general = model
        return model.clone()

    def _quantised(self, model: Any, size: tuple[int, int] | None) -> Any:
        if self.precision != "int8":
            return model
        from ushape.predict.engines.quantise import quantised

        return quantised(model, self._crops or (), self._unit, size)


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


def computes_bf16() -> bool:
    """Whether OpenVINO computes bfloat16 on this CPU."""
    return "BF16" in openvino_module().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def converted(program: torch.export.ExportedProgram) -> Any:
    """A program as an OpenVINO model; RunError where it has an operation that OpenVINO has not."""
    ov = openvino_module()
    try:
        with without_telemetry():
            return ov.convert_model(program)
    except Exception as error:  # of many classes
        raise RunError(f"OpenVINO cannot convert it ({first_line(error)})") from error


def only(model: Any, output: int) -> Any:
    """The model with one of its outputs, and what only the others need left out."""
    return openvino_module().Model([model.get_results()[output]], model.get_parameters(), model.friendly_name)
