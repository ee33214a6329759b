"""A trained network as one file for elsewhere, from raw pixels to classes, and tried before it is handed out."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import Dim, ExportedProgram

from ushape import __version__
from ushape.data.classes import grouping
from ushape.data.stain import strength_matrix
from ushape.errors import RunError
from ushape.files import cannot_write, content_hash, replacing
from ushape.nets.folding import folded
from ushape.nets.unet import Network
from ushape.nets.weights import Weights, load_weights, save_weights, weights_file
from ushape.predict.engines.base import NO_STAIN, Bytes, Float
from ushape.predict.engines.choose import check_takes_images
from ushape.predict.engines.libraries import check_onnx, onnxruntime_module, openvino_module
from ushape.predict.engines.onnx_engine import session, to_onnx
from ushape.predict.engines.openvino_engine import converted
from ushape.predict.engines.portable import Whole
from ushape.predict.engines.program import exported, first_line
from ushape.predict.engines.quantise import quantised
from ushape.predict.engines.torch_engine import TorchEngine
from ushape.predict.invented import invented_tissue
from ushape.predict.score import likeliest

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2", "safetensors": ".safetensors"}
"""Formats, and what their files end with. OpenVINO keeps the weights beside it, in a file that ends with `.bin`;
safetensors are weights for ushape itself, in half precision."""

LARGEST = 2**16
"""Sides of images in px up to which a graph is made; memory ends earlier."""

EXACT, INT8 = 0.999, 0.95
"""Share of pixels at least that must have the class that PyTorch gives them in float32; a file that falls short of it
is not handed out. What is lost in int8 is measured on the crops that it was calibrated on."""

Run = Callable[[Bytes, Float], Sequence[NDArray[Any]]]
"""RGB uint8 [1, H, W, 3] and a stain matrix -> probabilities [1, classes, H, W], labels [1, H, W], by a file."""


@dataclass(frozen=True)
class Exported:
    """agreement: share of pixels with the class of PyTorch in float32; difference: of probabilities, the largest."""

    agreement: float
    difference: float
    images: int
    about: dict[str, str]


def export(
    path: Path, kind: str, out: Path, stain: str | None = None, crops: Sequence[Bytes] | None = None
) -> Exported:
    """Write the network of a run or of a file of weights as `kind` (see SUFFIXES), in int8 if calibrated on `crops`.

    The file takes `image`, RGB uint8 [1, H, W, 3] of any H and W above the network's `multiple`, and gives
    `probabilities`, float32 [1, classes, H, W], and `labels`, uint8 [1, H, W]; safetensors are for ushape itself, with
    half the bytes. stain, for networks whose recipe brings images to a common strength: `image` measures it in the
    graph, as for training, and gives the matrix as `stain`, float32 [3, 3]; `given` takes it as an input of that name,
    so that the tiles of a slide get one.

    RunError: a suffix that is not the format's, a library missing, a network that cannot be written for images of any
    size, or a file that does not give PyTorch's classes. Nothing is left at `out` then but what was there.
    """
    weights = load_weights(path)
    net, normalises = weights.net, weights.about["normalise"] == "stain"
    check_takes_images(net)
    if out.suffix != SUFFIXES[kind]:
        raise RunError(f"--out {out}: a file of {kind} ends with {SUFFIXES[kind]}: name it so")
    if stain and not normalises:
        raise RunError(f"--stain {stain} has no effect: the network's recipe leaves the stain as it is: leave it out")
    if stain and kind == "safetensors":
        raise RunError(f"--stain {stain} has no effect on weights for ushape, which decides itself: leave it out")
    if crops is not None and kind not in ("onnx", "openvino"):
        raise RunError(f"int8 has no effect with --format {kind}: give --format onnx or openvino, or leave it out")
    how = (stain or "image") if normalises else "none"
    precision = "float32" if crops is None else "int8"
    about = describe(path, weights, how, "float16" if kind == "safetensors" else precision)
    try:
        write = {"onnx": _onnx, "openvino": _openvino, "torch": _torch, "safetensors": _safetensors}[kind]
        with replacing(out) as temporary:
            made = temporary.with_name(temporary.name + SUFFIXES[kind])
            try:
                run = write(weights, how, crops, about, made)
                found = _parity(run, weights, how, crops, about)
                _into_place(made, temporary, out)
            finally:
                for each in (made, made.with_suffix(".bin")):
                    with suppress(OSError):
                        each.unlink(missing_ok=True)
    except RunError as error:
        raise RunError(f"{net.spec.name} as {kind}: {error}") from None
    except RuntimeError as error:  # of OpenVINO's and PyTorch's writers
        raise RunError(f"{net.spec.name} as {kind}: cannot write {out} ({first_line(error)})") from None
    return found


def describe(path: Path, weights: Weights, stain: str, precision: str) -> dict[str, str]:
    """What stands in a file's metadata. Lists are JSON; the pixel size is in µm; `weights` is a hash of theirs."""
    groups = grouping(weights.about["grouping"]["id"])
    return {
        "ushape": __version__,
        "spec": weights.net.spec.name,
        "grouping": groups.id,
        "classes": json.dumps(list(groups.classes)),
        "colours": json.dumps(["#{:02x}{:02x}{:02x}".format(*colour) for colour in groups.colours]),
        "mpp": repr(float(weights.about["mpp"])),
        "stain": stain,
        "precision": precision,
        "smallest": str(weights.net.multiple + 1),
        "weights": content_hash(weights_file(path)),
    }


def _program(net: Network, stain: str) -> ExportedProgram:
    """The program for images of any size."""
    whole, unit = Whole(folded(net), stain).eval(), net.multiple
    image = torch.zeros(1, 8 * unit + 3, 6 * unit + 5, 3, dtype=torch.uint8)
    sides = {i: Dim(name, min=unit + 1, max=LARGEST) for i, name in ((1, "height"), (2, "width"))}
    if stain == "given":
        return exported(whole, image, torch.eye(3), shapes=(sides, None), trust=True)
    return exported(whole, image, shapes=(sides,), trust=True)


def _names(how: str) -> tuple[list[str], list[str]]:
    """Of inputs and outputs."""
    inputs, outputs = ["image"], ["probabilities", "labels"]
    return inputs + ["stain"] * (how == "given"), outputs + ["stain"] * (how == "image")


Crops = Sequence[Bytes] | None


def _onnx(weights: Weights, how: str, crops: Crops, about: dict[str, str], path: Path) -> Run:
    check_onnx()
    runtime = onnxruntime_module()
    model = to_onnx(_program(weights.net, how), *_names(how))
    for value in (*model.graph.input, *model.graph.output):
        free = [d for d in value.type.tensor_type.shape.dim if d.dim_param]
        for side, name in zip(free, ("height", "width"), strict=False):
            side.dim_param = name
    if crops is not None:
        model = quantised(model, crops, weights.net.multiple, None, _names(how)[0])
    model.producer_name, model.producer_version = "ushape", __version__
    del model.metadata_props[:]
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    opened = session(runtime, str(path))

    def run(image: Bytes, matrix: Float) -> Sequence[NDArray[Any]]:
        made: Sequence[NDArray[Any]] = opened.run(
            None, {"image": image} | ({"stain": matrix} if how == "given" else {})
        )
        return made

    return run


def _openvino(weights: Weights, how: str, crops: Crops, about: dict[str, str], path: Path) -> Run:
    ov = openvino_module()
    model = converted(_program(weights.net, how))
    inputs, outputs = _names(how)
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    model.reshape({"image": [1, -1, -1, 3]} | ({"stain": [3, 3]} if how == "given" else {}))
    if crops is not None:
        model = quantised(model, crops, weights.net.multiple, None, inputs)
    for key, value in about.items():
        model.set_rt_info(value, ["ushape", key])
    ov.save_model(model, path, compress_to_fp16=False)
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})

    def run(image: Bytes, matrix: Float) -> Sequence[NDArray[Any]]:
        made = compiled([image, matrix] if how == "given" else [image])
        return [made[name] for name in outputs]

    return run


def _torch(weights: Weights, how: str, crops: Crops, about: dict[str, str], path: Path) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the writer's own code, on tensors of which a part is used
        file = io.BytesIO()  # its writer ends the process where a disk is full
        torch.export.save(_program(weights.net, how), file, extra_files={"ushape.json": json.dumps(about)})
        path.write_bytes(file.getbuffer())
        module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(image: Bytes, matrix: Float) -> Sequence[NDArray[Any]]:
        tensors = [torch.from_numpy(each) for each in ([image, matrix] if how == "given" else [image])]
        return [each.numpy() for each in module(*tensors)]

    return run


def _safetensors(weights: Weights, how: str, crops: Crops, about: dict[str, str], path: Path) -> Run:
    save_weights(path, weights.net, weights.about, half=True)
    engine = TorchEngine(load_weights(path).net, "float32", torch.device("cpu"), "none")

    def run(image: Bytes, matrix: Float) -> Sequence[NDArray[Any]]:
        probabilities = engine.probabilities(image[0], matrix)
        return probabilities[None], likeliest(probabilities)[None]

    return run


def _parity(run: Run, weights: Weights, how: str, crops: Crops, about: dict[str, str]) -> Exported:
    """The written file against PyTorch in float32, on images of several sizes; RunError where it falls short."""
    unit = weights.net.multiple
    images = list(crops or ())
    if crops is None:
        tissue = invented_tissue(512)
        images = [tissue, tissue[:301, 57:454], tissue[: unit + 1, : 2 * unit + 5], tissue[3 : 7 * unit, 5 : 3 * unit]]
    images = [np.ascontiguousarray(image) for image in images if min(image.shape[:2]) > unit]
    if not images:
        raise RunError(
            f"no image to calibrate on is larger than {unit} px at the network's pixel size: name larger ones"
        )
    reference = TorchEngine(weights.net, "float32", torch.device("cpu"), "none")
    same, pixels, difference = 0, 0, 0.0
    for image in images:
        matrix = NO_STAIN if how == "none" else strength_matrix(image)
        try:
            made = run(image[None], matrix)
        except Exception as error:  # whatever a runtime raises
            said = first_line(error)
            raise RunError(f"the written file cannot compute an image of {image.shape[:2]} px ({said})") from None
        expected = reference.probabilities(image, matrix)
        same += int((made[1][0] == expected.argmax(0)).sum())
        pixels += expected[0].size
        difference = max(difference, float(np.abs(made[0][0] - expected).max()))
    agreement, least = same / pixels, EXACT if crops is None else INT8
    if agreement < least:
        remedy = "give another --format" if crops is None else "export it without --int8, or calibrate on other images"
        raise RunError(f"only {agreement:.1%} of pixels have the class that PyTorch gives them: {remedy}")
    return Exported(agreement, difference, len(images), about)


def _into_place(made: Path, temporary: Path, out: Path) -> None:
    """Move what was written to where `replacing` takes it from, and OpenVINO's weights beside it."""
    if (weights := made.with_suffix(".bin")).exists():
        try:
            weights.replace(out.with_suffix(".bin"))
        except OSError as error:
            raise RunError(cannot_write(out.with_suffix(".bin"), error)) from error
    made.replace(temporary)
