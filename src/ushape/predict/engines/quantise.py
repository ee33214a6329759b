"""Networks in int8: post-training quantisation by NNCF, calibrated on crops of images."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from ushape.predict.engines.base import Bytes
from ushape.predict.engines.libraries import nncf_module, without_telemetry

CROPS, SIDE = 48, 256
"""Crops that calibrate, and their side in px."""

CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "Conv", "ConvTranspose")


def calibration_crops(images: Iterable[Bytes], count: int = CROPS, side: int = SIDE, seed: int = 0) -> list[Bytes]:
    """`count` crops at random places, as many from each image: RGB uint8 [side, side, 3], less where an image is.

    The images are as the network sees them: at its pixel size, and with the stain that its recipe gives them.
    """
    rng, found = np.random.default_rng(seed), list(images)
    crops = []
    for i in range(count if found else 0):
        image = found[i % len(found)]
        top, left = (int(rng.integers(max(0, length - side) + 1)) for length in image.shape[:2])
        crops.append(np.ascontiguousarray(image[top : top + side, left : left + side]))
    return crops


def fitted(crop: Bytes, multiple: int, size: tuple[int, int] | None) -> Bytes:
    """A crop as a batch [1, H, W, 3]: mirrored up to `size`, or to sides that the multiple divides, two at least."""
    height, width = size or (max(2, -(-length // multiple)) * multiple for length in crop.shape[:2])
    missing = [(0, max(0, wanted - there)) for wanted, there in zip((height, width), crop.shape[:2], strict=True)]
    return np.pad(crop, (*missing, (0, 0)), mode="symmetric")[None, :height, :width]


def quantised(model: Any, crops: Sequence[Bytes], multiple: int, size: tuple[int, int] | None, name: str = "") -> Any:
    """An OpenVINO or ONNX model of `Classes` with its convolutions in int8, but for the first.

    The first one sees an image, whose grey levels lie closer than the steps of a common scale of int8 would. What
    comes before it and the softmax stay as they are too. name: of the input of an ONNX model.
    """
    nncf = nncf_module()
    batches: list[Any] = [fitted(crop, multiple, size) for crop in crops]
    if name:
        batches = [{name: batch} for batch in batches]
    with without_telemetry(), warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=[_first_convolution(model)]),
        )


def _first_convolution(model: Any) -> str:
    """The name of the first convolution of an OpenVINO or ONNX model."""
    if hasattr(model, "graph"):
        return next(node.name for node in model.graph.node if node.op_type in CONVOLUTIONS)
    operations = (o for o in model.get_ordered_ops() if o.get_type_name() in CONVOLUTIONS)
    return str(next(operations).get_friendly_name())
