"""Networks in int8: post-training quantisation by NNCF, calibrated on crops of images."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from ushape.errors import RunError
from ushape.predict.engines.base import NO_STAIN, Bytes
from ushape.predict.engines.libraries import nncf_module, without_telemetry
from ushape.predict.engines.program import first_line

CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "Conv", "ConvTranspose")

ARITHMETIC = ("MatMul", "Gemm", "Multiply", "Mul", "Add", "Subtract", "Sub", "Divide", "Div")


def fitted(crop: Bytes, multiple: int, size: tuple[int, int] | None) -> Bytes:
    """A crop as a batch [1, H, W, 3]: mirrored up to `size`, or to sides that the multiple divides, two at least."""
    height, width = size or (max(2, -(-length // multiple)) * multiple for length in crop.shape[:2])
    missing = [(0, max(0, wanted - there)) for wanted, there in zip((height, width), crop.shape[:2], strict=True)]
    return np.pad(crop, (*missing, (0, 0)), mode="symmetric")[None, :height, :width]


def quantised(
    model: Any, crops: Sequence[Bytes], multiple: int, size: tuple[int, int] | None, names: Sequence[str] = ()
) -> Any:
    """An OpenVINO or ONNX model of `Classes` or `Whole` with its convolutions in int8, but for the first.

    The first one sees an image, whose grey levels lie closer than the steps of a common scale of int8 would. What
    comes before it and the softmax stay as they are too. Weights use half of their range: CPUs without VNNI add pairs
    of products in 16 bits, where whole weights overflow (4.4% of the pixels of ten BCSS ROIs got another class by it).
    names: of the model's inputs where it has names; of two the second takes a stain, and the crops have theirs already.
    RunError where NNCF cannot.
    """
    nncf = nncf_module()
    batches: list[Any] = [fitted(crop, multiple, size) for crop in crops]
    if names:
        batches = [dict(zip(names, (batch, NO_STAIN), strict=False)) for batch in batches]
    with without_telemetry(), warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return nncf.quantize(
                model,
                nncf.Dataset(batches),
                subset_size=len(batches),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
                ignored_scope=nncf.IgnoredScope(names=_up_to_first_convolution(model)),
            )
        except Exception as error:  # of many classes
            raise RunError(f"NNCF cannot quantise it ({first_line(error)}): leave int8 out") from error


def _up_to_first_convolution(model: Any) -> list[str]:
    """Names of the first convolution of an OpenVINO or ONNX model, and of the products and sums before it."""
    if hasattr(model, "graph"):
        operations = [(node.op_type, node.name) for node in model.graph.node]
    else:
        operations = [(each.get_type_name(), each.get_friendly_name()) for each in model.get_ordered_ops()]
    first = next(i for i, (kind, _) in enumerate(operations) if kind in CONVOLUTIONS)
    return [name for i, (kind, name) in enumerate(operations) if i == first or (i < first and kind in ARITHMETIC)]
