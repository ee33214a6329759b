"""ONNX Runtime, in float32. A session is kept for each of the last few sizes of tile."""

from __future__ import annotations

import logging
import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from torch.export import ExportedProgram

from ushape.errors import RunError
from ushape.nets.folding import folded
from ushape.nets.unet import Network
from ushape.predict.engines.base import Bytes, Engine, Float, changes, cropped, padded
from ushape.predict.engines.libraries import check_onnx, onnxruntime_module
from ushape.predict.engines.portable import Stain
from ushape.predict.engines.program import Kept, Programs, exported, first_line

OUTPUTS = ("probabilities", "labels")


class OnnxEngine(Engine):
    """RunError where ONNX Runtime is missing, on another precision, or where it cannot take the network."""

    name: ClassVar[str] = "onnx"

    def __init__(self, net: Network, precision: str, tta: str) -> None:
        super().__init__(precision, net.classes, tta)
        if precision != "float32":
            raise RunError(f"precision {precision} with engine onnx: it computes float32; or give engine openvino")
        check_onnx()
        self._runtime = onnxruntime_module()
        self._unit, self._spec = net.multiple, net.spec.name
        self._programs = Programs(folded(net))
        self._general: Any = None
        self._sessions = Kept(self._open, self._views)

    def _probabilities(self, tile: Bytes, stain: Float) -> Float:
        made: Float = cropped(self._run("probabilities", tile, stain), tile)
        return made

    def _labels(self, tile: Bytes, stain: Float) -> Bytes:
        made: Bytes = cropped(self._run("labels", tile, stain), tile)
        return made

    def _run(self, what: str, tile: Bytes, stain: Float) -> Any:
        image = padded(tile, self._unit)[None]  # [1, H, W, 3]
        if changes(stain):
            inputs = {"image": image, "matrix": np.ascontiguousarray(stain, np.float32)}
            image = self._sessions.of("stain", image).run(None, inputs)[0]
        return self._sessions.of(what, image).run(None, {"image": image})[0][0]

    def _open(self, what: str, height: int, width: int) -> Any:
        if what == "stain":
            image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
            model = to_onnx(exported(Stain(), image, torch.eye(3)), ["image", "matrix"], ["stained"])
        else:
            model = self._model(height, width)
            for output in [o for o in model.graph.output if o.name != what]:
                model.graph.output.remove(output)
        try:
            return session(self._runtime, model.SerializeToString())
        except Exception as error:  # of many classes
            said = first_line(error)
            raise RunError(f"{self._spec}: ONNX Runtime cannot compute it ({said}): give engine torch") from None

    def _model(self, height: int, width: int) -> Any:
        """The network as a model for tiles of this size."""
        import onnx

        try:
            program = self._programs.general() if self._programs.serves(height, width) else None
            if program is None:
                return to_onnx(self._programs.only(height, width), ["image"], list(OUTPUTS))
            if self._general is None:
                self._general = to_onnx(program, ["image"], list(OUTPUTS))
        except RunError as error:
            raise RunError(f"{self._spec}: {error}: give engine torch") from None
        model = onnx.ModelProto()
        model.CopyFrom(self._general)
        for i, side in enumerate((1, height, width)):
            model.graph.input[0].type.tensor_type.shape.dim[i].dim_value = side
        return model


def to_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str]) -> Any:
    """A program as an ONNX ModelProto; RunError where it has an operation that ONNX has not."""
    check_onnx()
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own code
            made = torch.onnx.export(
                program, (), dynamo=True, verbose=False, input_names=inputs, output_names=outputs, optimize=True
            )
    except Exception as error:  # of many classes
        raise RunError(f"torch.onnx cannot write it ({first_line(error)})") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert made is not None
    return made.model_proto


def session(runtime: Any, model: bytes | str) -> Any:
    """An ONNX Runtime session with one computing thread a call, which does not spin while it waits."""
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
