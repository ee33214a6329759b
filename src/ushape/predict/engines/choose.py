"""Which engine computes a network: the one asked for, or the fastest here that says what float32 says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from ushape.data.stain import strength_matrix
from ushape.errors import RunError
from ushape.nets.device import pick_precision
from ushape.nets.unet import Network
from ushape.nets.weights import Weights
from ushape.predict.engines.base import NO_STAIN, Bytes, Engine, Float
from ushape.predict.engines.libraries import installed
from ushape.predict.engines.torch_engine import TorchEngine
from ushape.predict.invented import invented_tissue
from ushape.threads import Lanes

ENGINES = ("auto", "torch", "openvino", "onnx")
PRECISIONS = ("auto", "float32", "bf16", "int8")

SECONDS = 2.0
"""How long `auto` measures, all candidates together, beside what making them ready takes."""

AGREEMENT = {"float32": 0.995, "bf16": 0.995, "int8": 0.99}
"""Share of pixels at least that must have the class that float32 gives them, for `auto` to take a candidate."""

Kind = tuple[str, str]
"""Engine and precision."""


def open_engine(
    weights: Weights,
    engine: str,
    precision: str,
    lanes: Lanes,
    device: torch.device,
    tta: str,
    calibrate: Iterable[Bytes] | None = None,
    tile: int = 1024,
) -> Engine:
    """The network in an engine of ENGINES, computing in one of PRECISIONS.

    calibrate: crops, as the network sees them, that int8 is calibrated on (see `calibrate.calibration_crops`). tile:
    side in px of the tiles to come, on which `auto` measures: of what is installed and this CPU computes, the fastest
    whose labels of invented tissue are those of float32 in AGREEMENT of the pixels (float32 itself where none other
    is); int8 only where `calibrate` is given. On a GPU it is torch.

    RunError where the engine is not installed, cannot compute in the precision or cannot take the network, or where
    `calibrate` has no effect.
    """
    net = weights.net
    check_takes_images(net)
    for value, known, what in ((engine, ENGINES, "engine"), (precision, PRECISIONS, "precision")):
        if value not in known:
            raise RunError(f"{what} {value!r}: give one of {', '.join(known)}")
    if calibrate is not None:
        check_calibrates(engine, precision, device)
    crops = None if calibrate is None else list(calibrate)

    def make(kind: Kind) -> Engine:
        return _make(weights, kind, lanes, device, tta, crops)

    kinds = candidates(engine, precision, device, crops is not None)
    if len(kinds) == 1:
        return make(kinds[0])
    stain = strength_matrix(invented_tissue(tile)) if weights.about.get("normalise") == "stain" else NO_STAIN
    reference = TorchEngine(net, "float32", device, tta)
    told: dict[str, str] = {}

    def made() -> Iterator[Engine]:
        for kind in kinds:
            try:
                yield reference if kind == ("torch", "float32") else make(kind)
            except RunError as error:
                told[" ".join(kind)] = f"cannot: {error}"

    best = _fastest(made(), reference, lanes, tile, stain, told, SECONDS / len(kinds))
    measured = ", ".join(f"{name} {rate}" for name, rate in told.items())
    if best is None:
        raise RunError(
            f"{net.spec.name}: no engine here gives the labels of float32 ({measured}): "
            "give --engine torch --precision float32"
        )
    best.description += f" (chosen; measured on tiles of {tile} px, Mpx/s: {measured})"
    return best


def check_takes_images(net: Network) -> None:
    """RunError where a network takes anything but RGB, or does not score all that it is shown."""
    if net.in_channels != 3:
        raise RunError(f"the network takes {net.in_channels} channels, not the 3 of an RGB image: give other weights")
    if net.shrink:
        raise RunError(f"{net.spec.name}: scores a smaller area than it is shown: give weights with padding=same")


def check_calibrates(engine: str, precision: str, device: torch.device) -> None:
    """RunError where images to calibrate on have no effect, since nothing that `open_engine` may take is int8."""
    if ("openvino", "int8") not in candidates(engine, precision, device, calibrated=True):
        raise RunError(
            f"images to calibrate on have no effect with precision {precision} and engine {engine} on {device}: leave "
            "them out, or have engine openvino (pip install 'ushape[openvino]') compute in int8 on the CPU"
        )


def _make(
    weights: Weights,
    kind: Kind,
    lanes: Lanes,
    device: torch.device,
    tta: str,
    crops: Sequence[Bytes] | None,
) -> Engine:
    engine, precision = kind
    if engine == "torch":
        return TorchEngine(weights.net, precision, device, tta)
    if device.type != "cpu":
        raise RunError(f"engine {engine} computes on the CPU, not on {device}: give engine torch, or --device cpu")
    if engine == "openvino":
        from ushape.predict.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(weights.net, precision, lanes.count, tta, crops if precision == "int8" else None)
    from ushape.predict.engines.onnx_engine import OnnxEngine

    return OnnxEngine(weights.net, precision, tta)


def candidates(engine: str, precision: str, device: torch.device, calibrated: bool) -> list[Kind]:
    """The engines and precisions that `auto` may take; one where nothing is left to choose.

    OpenVINO is no slower than ONNX Runtime, which is left out beside it.
    """
    if engine != "auto" and precision != "auto":
        return [(engine, precision)]
    if device.type != "cpu" and engine in ("auto", "torch"):
        return [("torch", pick_precision("auto", device) if precision == "auto" else precision)]
    there = [engine]
    if engine == "auto":
        there = ["torch", "openvino" if installed("openvino") else "onnx"]
        there = [name for name in there if name != "onnx" or all(map(installed, ("onnxruntime", "onnx", "onnxscript")))]
    kinds = [(name, each) for name in there for each in _precisions(name, device, calibrated)]
    kinds = [kind for kind in kinds if precision in ("auto", kind[1])]
    if not kinds:
        missing = " or ".join(f"{name} (not here)" if name == engine else name for name in there)
        raise RunError(f"precision {precision}: {missing} cannot compute it: give another precision or engine")
    return kinds


def _precisions(engine: str, device: torch.device, calibrated: bool) -> list[str]:
    if engine == "onnx":
        return ["float32"]
    if engine == "torch":
        return list(dict.fromkeys(["float32", pick_precision("auto", device)]))
    from ushape.predict.engines.openvino_engine import computes_bf16

    found = ["float32"] + (["bf16"] if computes_bf16() else [])
    return found + (["int8"] if calibrated else [])


def _fastest(
    engines: Iterable[Engine],
    reference: Engine,
    lanes: Lanes,
    tile: int,
    stain: Float,
    told: dict[str, str],
    seconds: float,
) -> Engine | None:
    """The engine with the highest rate of those that agree with the reference; told: what was measured, by name."""
    image = invented_tissue(tile)
    expected = reference.labels(image, stain)
    best, top = None, 0.0
    for made in engines:
        try:
            share = float(np.mean(made.labels(image, stain) == expected))  # makes it ready, too
        except RunError as error:
            told[f"{made.name} {made.precision}"] = f"cannot: {error}"
            continue
        if share < AGREEMENT[made.precision]:
            told[f"{made.name} {made.precision}"] = f"refused, {share:.1%} of labels as in float32"
            continue
        rate = _rate(made, lanes, image, stain, seconds)
        told[f"{made.name} {made.precision}"] = f"{rate:.2f}"
        if rate > top:
            best, top = made, rate
    return best


def _rate(engine: Engine, lanes: Lanes, image: Bytes, stain: Float, seconds: float) -> float:
    """Mpx/s of labels on all lanes, over whole rounds of a tile a lane, for about so many seconds."""
    began, tiles = time.perf_counter(), 0
    while tiles == 0 or time.perf_counter() - began < seconds:
        tiles += sum(1 for _ in lanes.map(lambda _: engine.labels(image, stain), range(lanes.count)))
    return tiles * image.shape[0] * image.shape[1] / (time.perf_counter() - began) / 1e6
