"""Every modification, one line each: its name, its axis, the class that computes it, and where it comes from.

This file imports no torch: the parser, the help and the tables read it, and a class is imported only when a
network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

from ushape.errors import SpecError, nearest

Value = int | float | tuple[int, ...]

AXES: dict[str, str] = {
    "stem": "what the image passes before the first level",
    "block": "what a level computes",
    "down": "from a level to the next coarser one",
    "up": "from a level to the next finer one",
    "skip": "what happens to features on their way across the U",
    "bridge": "what happens at the bottom of the U",
    "attention": "re-weighting of the features that a block gives",
    "norm": "normalisation after a convolution",
    "activation": "non-linearity",
    "head": "from features to class scores",
}
"""The axes that modifications change, in the order of a canonical name."""

BRACKETED = ("stem", "norm", "activation")
"""Axes that a canonical name writes as `[axis=name]`: their names read badly, or as another axis, behind a +."""


@dataclass(frozen=True)
class Modification:
    """One named change on one axis. `options` are its parameters with their defaults."""

    name: str
    axis: str
    summary: str
    source: str
    target: str | Callable[..., Any]
    options: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def load(self) -> Callable[..., Any]:
        """The class (or function) that makes the module; imported on first use."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        loaded: Callable[..., Any] = getattr(import_module(f"ushape.nets.parts.{module}"), attribute)
        return loaded


_REGISTRY: dict[tuple[str, str], Modification] = {}


def register(
    axis: str, name: str, summary: str, source: str, target: str | Callable[..., Any], **options: Value
) -> Modification:
    """Add a modification; SpecError if its axis is unknown, its name malformed or already taken."""
    if axis not in AXES:
        raise SpecError(f"unknown axis {axis!r} (axes: {', '.join(AXES)})")
    if not name.replace("-", "").isalnum() or name != name.lower():
        raise SpecError(f"modification name {name!r}: use lower-case letters, digits and hyphens")
    if (axis, name) in _REGISTRY:
        raise SpecError(f"{name!r} is already a modification of the axis {axis}: choose another name")
    made = Modification(name, axis, summary, source, target, MappingProxyType(options))
    _REGISTRY[axis, name] = made
    return made


def modifications(axis: str | None = None) -> list[Modification]:
    """All modifications, or those of one axis, in the order of the axes."""
    order = list(AXES)
    found = [m for m in _REGISTRY.values() if axis in (None, m.axis)]
    return sorted(found, key=lambda m: order.index(m.axis))


def lookup(axis: str, name: str) -> Modification:
    """The modification `name` of `axis`; SpecError with the nearest name where there is none."""
    if (axis, name) not in _REGISTRY:
        known = [m.name for m in modifications(axis)]
        raise SpecError(f"unknown {axis} {name!r}{nearest(name, known)} (known: {', '.join(known)})")
    return _REGISTRY[axis, name]


def home(name: str) -> Modification:
    """What a bare `+name` means: `block` first where several axes have the name; SpecError if none has."""
    found = [m for m in modifications() if m.name == name and name != "none"]
    if not found:
        known = sorted({m.name for m in modifications()} - {"none"})
        raise SpecError(f"unknown modification {name!r}{nearest(name, known)} (`ushape mods` lists all)")
    return next((m for m in found if m.axis == "block"), found[0])


# axis, name, what it changes, source, class, parameters with defaults
_RONNEBERGER = "Ronneberger et al. 2015, arXiv:1505.04597"
_SEED = "UNET_modifications (DPB); dilations are our assumption"
register("stem", "none", "the image goes straight into the first level", _RONNEBERGER, "plain:identity_stem")
register("stem", "dilated-parallel-3", "three parallel dilated convolutions, concatenated", _SEED,
         "blocks.dilated_parallel:DilatedParallelStem", dilations=(1, 2, 4))  # fmt: skip
register("stem", "dilated-parallel-5", "five parallel dilated convolutions, concatenated", _SEED,
         "blocks.dilated_parallel:DilatedParallelStem", dilations=(1, 2, 4, 8, 16))  # fmt: skip
register("stem", "residual", "two convolutions with a shortcut", "UNET_modifications (residual input)",
         "stems.experiments:ResidualStem")  # fmt: skip
register("stem", "dilated-series", "dilated convolutions one after another", _SEED,
         "stems.experiments:DilatedSeriesStem", dilations=(1, 2, 4))  # fmt: skip
register("stem", "atrous-4", "four parallel atrous convolutions, concatenated", _SEED,
         "stems.experiments:AtrousStem", dilations=(1, 2, 3, 5))  # fmt: skip
register("block", "plain", "3x3 convolutions in series", _RONNEBERGER, "blocks.plain:PlainBlock")
register("block", "residual", "convolutions learn F(x) of y = F(x) + x", "He et al. 2016, arXiv:1512.03385",
         "blocks.residual:ResidualBlock")  # fmt: skip
register("block", "dense", "each convolution sees all features before it",
         "Huang et al. 2017, arXiv:1608.06993", "blocks.dense:DenseBlock")  # fmt: skip
register("block", "dilated-parallel-3", "three dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 4))  # fmt: skip
register("block", "dilated-parallel-5", "five dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 4, 8, 16))  # fmt: skip
register("block", "residual-pre", "normalise and activate before each convolution; nothing on the identity's path",
         "He et al. 2016b, arXiv:1603.05027", "blocks.residual_pre:ResidualPreBlock")  # fmt: skip
register("block", "bottleneck", "residual with a narrow 3x3 between 1x1 convolutions",
         "He et al. 2016, arXiv:1512.03385", "blocks.bottleneck:BottleneckBlock", reduction=4)  # fmt: skip
register("block", "recurrent-residual", "one convolution applied several times, with a shortcut",
         "Alom et al. 2018, arXiv:1802.06955", "blocks.recurrent_residual:RecurrentResidualBlock",
         steps=2)  # fmt: skip
register("block", "multires", "a chain of 3x3 convolutions, all of them concatenated, with a shortcut",
         "Ibtehaz and Rahman 2020, arXiv:1902.04049", "blocks.multires:MultiResBlock")  # fmt: skip
register("block", "inception", "1x1, 3x3, 5x5 and pooling side by side", "Szegedy et al. 2015, arXiv:1409.4842",
         "blocks.inception:InceptionBlock")  # fmt: skip
register("block", "multi-inception", "inception modules in series, all of them joined",
         "multi-inception U-Net; the module of Szegedy et al. 2016, arXiv:1512.00567, is our assumption",
         "blocks.inception:MultiInceptionBlock")  # fmt: skip
register("block", "dilated-series", "dilated convolutions one after another in every level", _SEED,
         "blocks.dilated_series:DilatedSeriesBlock", dilations=(1, 2, 4))  # fmt: skip
register("block", "atrous-4-dense", "four atrous branches a unit, dense connections", _SEED,
         "blocks.atrous:AtrousDenseBlock", dilations=(1, 2, 3, 5))  # fmt: skip
register("block", "atrous-4-residual", "four atrous branches a unit, with a shortcut", _SEED,
         "blocks.atrous:AtrousResidualBlock", dilations=(1, 2, 3, 5))  # fmt: skip
register("block", "rms", "sums of dilated convolutions, with a shortcut",
         "Khan et al. 2022, RMS-UNet, doi 10.1016/j.artmed.2021.102231", "blocks.rms:RMSBlock",
         dilations=(1, 2, 4))  # fmt: skip
register("block", "drd", "dilated convolutions, densely connected, with a shortcut",
         "Ortega-Ruiz et al. 2024, DRD-UNet, doi 10.1109/ACCESS.2024.3377428", "blocks.drd:DRDBlock",
         dilations=(1, 2, 4))  # fmt: skip
register("block", "rsu", "a small residual U inside every level", "Qin et al. 2020, U2-Net, arXiv:2005.09007",
         "blocks.rsu:RSUBlock", height=4, flat=0)  # fmt: skip
register("block", "depthwise-separable", "3x3 filters for each channel, then 1x1 across channels",
         "Howard et al. 2017, arXiv:1704.04861",
         "blocks.depthwise_separable:DepthwiseSeparableBlock")  # fmt: skip
register("block", "convnext", "7x7 depthwise, layer norm, widened 1x1 layers, learned scale",
         "Liu et al. 2022, arXiv:2201.03545", "blocks.convnext:ConvNeXtBlock", expansion=4, scale=1e-6)  # fmt: skip
register("block", "mednext", "k x k depthwise, norm of each channel, widened 1x1 layers",
         "Roy et al. 2023, arXiv:2303.09975", "blocks.convnext:MedNeXtBlock", kernel=3, expansion=2)  # fmt: skip
register("block", "large-kernel", "7x7 depthwise with a shortcut, widened 1x1 layers",
         "Tang et al. 2023, CMUNeXt, arXiv:2308.01239", "blocks.large_kernel:LargeKernelBlock",
         kernel=7)  # fmt: skip
register("block", "shifted-mlp", "1x1 layers on channels shifted along width and height",
         "Valanarasu and Patel 2022, UNeXt, arXiv:2203.04967", "blocks.shifted_mlp:ShiftedMLPBlock",
         shifts=5)  # fmt: skip
register("block", "kan", "learned spline functions between channels", "Li et al. 2024, U-KAN, arXiv:2406.02918",
         "blocks.kan:KANBlock", grid=5, order=3)  # fmt: skip
register("block", "swin", "attention within windows, shifted by half a window in turn",
         "Liu et al. 2021, arXiv:2103.14030", "blocks.swin:SwinBlock", window=8, head=32)  # fmt: skip
register("block", "selective-scan", "a selective state-space scan in four directions",
         "Liu et al. 2024, VMamba, arXiv:2401.10166", "blocks.selective_scan:SelectiveScanBlock",
         state=1, expansion=2)  # fmt: skip
register("down", "max-pool", "2x2 max-pooling", _RONNEBERGER, "resampling.plain:MaxPool")
register("up", "transposed", "2x2 transposed convolution", _RONNEBERGER, "resampling.plain:Transposed")
register("skip", "concatenate", "encoder features join the decoder's unchanged", _RONNEBERGER,
         "skips.plain:Concatenate")  # fmt: skip
register("skip", "attention-gate", "decoder features decide which encoder features pass",
         "Oktay et al. 2018, arXiv:1804.03999", "skips.attention_gate:AttentionGate")  # fmt: skip
register("bridge", "none", "nothing between encoder and decoder", _RONNEBERGER, "plain:identity")
register("bridge", "aspp", "parallel dilations and image pooling at the bottom",
         "Chen et al. 2017, arXiv:1706.05587", "bridges.aspp:ASPP", rates=(6, 12, 18))  # fmt: skip
register("attention", "none", "features pass unchanged", _RONNEBERGER, "plain:identity")
register("attention", "se", "channels are re-weighted from their global means",
         "Hu et al. 2018, arXiv:1709.01507", "attention.se:SqueezeExcitation", reduction=16)  # fmt: skip
register("norm", "batch", "batch normalisation", "Ioffe and Szegedy 2015, arXiv:1502.03167", "plain:batch_norm")
register("norm", "none", "no normalisation; convolutions have a bias", _RONNEBERGER, "plain:no_norm")
register("activation", "relu", "rectifier", _RONNEBERGER, "plain:relu")
register("head", "single", "one 1x1 convolution at full resolution", _RONNEBERGER, "heads.single:SingleHead")
register("head", "deep-supervision", "in training, every decoder level is scored as well",
         "Lee et al. 2015, arXiv:1409.5185", "heads.deep_supervision:DeepSupervisionHead")  # fmt: skip
