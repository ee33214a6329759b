"""Every modification, one line each: its name, its axis, the class that computes it, and where it comes from.

This file imports no torch: the parser, the help and the tables read it, and a class is imported only when a
network is built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

from ushape.errors import SpecError, nearest

Value = int | float | tuple[int, ...]
T = TypeVar("T")

AXES: dict[str, str] = {
    "stem": "what the image passes before the first level",
    "encoder": "the contracting half: levels of the spec's own, or a network of the timm library",
    "block": "what a level computes",
    "down": "from a level to the next coarser one",
    "up": "from a level to the next finer one",
    "skip": "what happens to features on their way across the U",
    "bridge": "what happens at the bottom of the U",
    "topology": "how the decoder joins the levels of the encoder",
    "attention": "re-weighting of the features that a block gives",
    "norm": "normalisation after a convolution",
    "activation": "non-linearity",
    "padding": "what convolutions see beyond the border",
    "bias": "which convolutions have a bias",
    "head": "from features to class scores",
}
"""The axes that modifications change, in the order of a canonical name."""

BRACKETED = ("stem", "encoder", "norm", "activation", "padding", "bias")
"""Axes that a canonical name writes as `[axis=name]`: their names read badly, or as another axis, behind a +."""

SWITCHES = ("padding", "bias")
"""Axes whose choice is a yes or no that other parts ask for, not a module."""

NETWORK = "network"
"""Beside the axes: `unet`, which they modify, or a network that leaves the U, a module of its own (`zoo`)."""


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


def is_sound(value: object) -> bool:
    """Whether a spec can say it and be read again: whole numbers not negative, finite numbers, tuples from 1 on."""
    if isinstance(value, tuple):
        return len(value) > 0 and all(type(v) is int and v > 0 for v in value)
    return (type(value) is int and value >= 0) or (type(value) is float and math.isfinite(value))


def register(
    axis: str, name: str, summary: str, source: str, target: str | Callable[..., Any], **options: Value
) -> Modification:
    """Add a modification; SpecError if its axis is unknown, its name malformed or already taken."""
    if axis not in (*AXES, NETWORK):
        raise SpecError(f"unknown axis {axis!r} (axes: {', '.join(AXES)})")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise SpecError(f"modification name {name!r}: use lower-case letters, digits and hyphens")
    if (axis, name) in _REGISTRY:
        raise SpecError(f"{name!r} is already a modification of the axis {axis}: choose another name")
    for key, value in options.items():
        if not is_sound(value):
            raise SpecError(
                f"{name!r}: its parameter {key}={value!r} cannot be written in a spec: give an int from 0 on (0 and 1 "
                "for no and yes), a finite float, or a tuple of int from 1 on"
            )
    made = Modification(name, axis, summary, source, target, MappingProxyType(options))
    _REGISTRY[axis, name] = made
    return made


def forget(made: Iterable[Modification]) -> None:
    """Take modifications out again: what a file registered before it failed."""
    for each in list(made):
        del _REGISTRY[each.axis, each.name]


def modifications(axis: str | None = None) -> list[Modification]:
    """All modifications, or those of one axis (or NETWORK: networks), in the order of the axes."""
    order = [*AXES, NETWORK]
    found = [m for m in _REGISTRY.values() if m.axis == (axis or m.axis) and (axis or m.axis != NETWORK)]
    return sorted(found, key=lambda m: order.index(m.axis))


def lookup(axis: str, name: str) -> Modification:
    """The modification `name` of `axis`; SpecError with the nearest name where there is none.

    An encoder `timm:NAME` need not be registered: whether timm has it is seen when it is built.
    """
    if axis == "encoder" and re.fullmatch(r"timm:[a-z0-9_.-]+", name):
        return _timm(name)
    if (axis, name) not in _REGISTRY:
        known = [m.name for m in modifications(axis)]
        raise SpecError(f"unknown {axis} {name!r}{nearest(name, known)} (known: {', '.join(known)}; {_OWN})")
    return _REGISTRY[axis, name]


def home(name: str) -> Modification:
    """What a bare `+name` means: `block` first where several axes have the name; SpecError if none has."""
    if name.startswith("timm:"):
        return lookup("encoder", name)
    found = [m for m in modifications() if m.name == name and name != "none"]
    if not found:
        known = sorted({m.name for m in modifications()} - {"none"})
        raise SpecError(f"unknown modification {name!r}{nearest(name, known)} (`ushape mods` lists all; {_OWN})")
    return next((m for m in found if m.axis == "block"), found[0])


def is_bare(axis: str, name: str) -> bool:
    """Whether specs say `+name` for this modification of an axis, and not `axis=name` in brackets."""
    return axis not in BRACKETED and name != "none" and home(name).axis == axis


_OWN = "one of your own: give its file with --plugin"


def modification(
    axis: str, name: str, summary: str, source: str, **options: Value
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorator: the class (or function) below it is a modification of your own.

        @ushape.modification(axis="attention", name="halve", summary="features are halved", source="this file")
        class Halve(nn.Module):
            def __init__(self, channels, style): ...

    What the class is called with stands in `ushape.nets.unet`; `options` are parameters with defaults, as keyword
    arguments (int, float or a tuple of int). SpecError where the axis has no modifications of its own, or the name
    is taken, be it on another axis: `+name` in an older spec would change its meaning.
    """
    if axis not in AXES:
        raise SpecError(f"unknown axis {axis!r} (axes: {', '.join(AXES)})")
    if axis in SWITCHES:
        raise SpecError(f"the axis {axis} is a switch, nothing can be added to it")
    if taken := next((m for m in modifications() if m.name == name), None):
        raise SpecError(f"{name!r} is already a modification of the axis {taken.axis}: choose another name")

    def decorate(target: Callable[..., T]) -> Callable[..., T]:
        register(axis, name, summary, source, target, **options)
        return target

    return decorate


def _timm(name: str) -> Modification:
    def make(*arguments: Any, **keywords: Any) -> Any:
        from ushape.nets.parts.encoders.timm_encoder import TimmEncoder

        return TimmEncoder(name.removeprefix("timm:"), *arguments, **keywords)

    source = "Wightman 2019, github.com/huggingface/pytorch-image-models"
    summary = "a network of the timm library; full=1: with levels of our own where it has none"
    return Modification(name, "encoder", summary, source, make, MappingProxyType({"full": 0}))


# axis, name, what it changes, source, class, parameters with defaults
_RONNEBERGER = "Ronneberger et al. 2015, arXiv:1505.04597"
_SEED = "UNET_modifications (DPB); dilations are our assumption"
register("stem", "none", "the image goes straight into the first level", _RONNEBERGER, "plain:identity_stem")
register("stem", "dilated-parallel-3", "three parallel dilated convolutions, concatenated", _SEED,
         "blocks.dilated_parallel:DilatedParallelStem", dilations=(1, 2, 3))  # fmt: skip
register("stem", "dilated-parallel-5", "five parallel dilated convolutions, concatenated", _SEED,
         "blocks.dilated_parallel:DilatedParallelStem", dilations=(1, 2, 3, 5, 7))  # fmt: skip
register("stem", "residual", "two convolutions with a shortcut", "UNET_modifications (residual input)",
         "stems.experiments:ResidualStem")  # fmt: skip
register("stem", "dilated-series", "dilated convolutions one after another", _SEED,
         "stems.experiments:DilatedSeriesStem", dilations=(1, 2, 3))  # fmt: skip
register("stem", "atrous-4", "four parallel atrous convolutions, concatenated", _SEED,
         "stems.experiments:AtrousStem", dilations=(1, 2, 3, 5))  # fmt: skip
register("block", "plain", "3x3 convolutions in series", _RONNEBERGER, "blocks.plain:PlainBlock")
register("block", "none", "nothing but a 1x1 convolution where the width changes", "ablation", "blocks.plain:NoBlock")
register("block", "residual", "convolutions learn F(x) of y = F(x) + x", "He et al. 2016, arXiv:1512.03385",
         "blocks.residual:ResidualBlock", every=0)  # fmt: skip
register("block", "dense", "each convolution sees all features before it",
         "Huang et al. 2017, arXiv:1608.06993", "blocks.dense:DenseBlock")  # fmt: skip
register("block", "dilated-parallel-3", "three dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 3))  # fmt: skip
register("block", "dilated-parallel-5", "five dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 3, 5, 7))  # fmt: skip
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
         "blocks.dilated_series:DilatedSeriesBlock", dilations=(1, 2, 3))  # fmt: skip
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
register("down", "avg-pool", "2x2 mean", "LeCun et al. 1998", "resampling.plain:AvgPool")
register("down", "strided", "a convolution of stride 2 learns what to keep",
         "Springenberg et al. 2015, arXiv:1412.6806", "resampling.strided:Strided", kernel=3, first=0)  # fmt: skip
register("down", "blur-pool", "max-pooling, smoothed before it is thinned out", "Zhang 2019, arXiv:1904.11486",
         "resampling.blur_pool:BlurPool", size=4)  # fmt: skip
register("down", "patch-merging", "each 2x2 pixels become one, by a linear map", "Liu et al. 2021, arXiv:2103.14030",
         "resampling.patch:PatchMerging")  # fmt: skip
register("down", "haar", "a Haar wavelet's four subbands, joined by a 1x1 convolution",
         "Xu et al. 2023, 10.1016/j.patcog.2023.109819", "resampling.haar:HaarDown")  # fmt: skip
register("up", "transposed", "2x2 transposed convolution", _RONNEBERGER, "resampling.plain:Transposed")
register("up", "nearest", "each pixel repeated, then a convolution (kernel=0: none)",
         "Odena et al. 2016, 10.23915/distill.00003", "resampling.interpolate:Nearest", kernel=3)  # fmt: skip
register("up", "bilinear", "linear interpolation, then a convolution (kernel=0: none)",
         "Odena et al. 2016, 10.23915/distill.00003", "resampling.interpolate:Bilinear", kernel=3)  # fmt: skip
register("up", "pixel-shuffle", "a convolution gives the four pixels of each pixel as channels",
         "Shi et al. 2016, arXiv:1609.05158", "resampling.pixel_shuffle:PixelShuffle", kernel=3)  # fmt: skip
register("up", "patch-expanding", "each pixel becomes 2x2, by a linear map", "Cao et al. 2021, arXiv:2105.05537",
         "resampling.patch:PatchExpanding")  # fmt: skip
register("up", "narrow-transposed", "transposed convolution between 1x1 convolutions to fewer channels and back",
         "Chaurasia and Culurciello 2017, arXiv:1707.03718", "resampling.narrow:NarrowTransposed",
         kernel=3, reduction=4)  # fmt: skip
register("up", "dysample", "linear interpolation at points that are learned", "Liu et al. 2023, arXiv:2308.15085",
         "resampling.dysample:DySample", groups=4)  # fmt: skip
register("skip", "concatenate", "encoder features join the decoder's unchanged", _RONNEBERGER,
         "skips.plain:Concatenate")  # fmt: skip
register("skip", "add", "encoder features are added to the decoder's",
         "Chaurasia and Culurciello 2017, arXiv:1707.03718", "skips.plain:Add")  # fmt: skip
register("skip", "none", "nothing comes across the U", "ablation", "skips.plain:NoSkip")
register("skip", "attention-gate", "decoder features decide which encoder features pass",
         "Oktay et al. 2018, arXiv:1804.03999", "skips.attention_gate:AttentionGate")  # fmt: skip
register("skip", "residual-path", "residual units on the way across, more at finer levels",
         "Ibtehaz and Rahman 2020, arXiv:1902.04049", "skips.residual_path:ResidualPath",
         units=(4, 3, 2, 1))  # fmt: skip
register("skip", "semantic-gap", "residual units with growing dilations on the way across",
         "UNET_modifications (semantic-gap); dilations are our assumption", "skips.residual_path:SemanticGap",
         dilations=(1, 2, 4))  # fmt: skip
register("skip", "channel-transformer", "channels of all levels attend to each other, then the decoder weighs them",
         "Wang et al. 2022 (UCTransNet), arXiv:2109.04335", "skips.channel_transformer:ChannelGate",
         layers=4, heads=4, grid=0)  # fmt: skip
register("skip", "multi-scale-gate", "three receptive fields vote on which encoder features are raised",
         "Tang et al. 2022, CMU-Net, arXiv:2210.13012", "skips.multi_scale_gate:MultiScaleGate",
         dilation=2)  # fmt: skip
register("bridge", "none", "nothing between encoder and decoder", _RONNEBERGER, "plain:identity")
register("bridge", "aspp", "parallel dilations and image pooling at the bottom",
         "Chen et al. 2017, arXiv:1706.05587", "bridges.aspp:ASPP", rates=(6, 12, 18))  # fmt: skip
register("bridge", "pyramid-pooling", "means over grids of several sizes join the features",
         "Zhao et al. 2017, arXiv:1612.01105", "bridges.pyramid_pooling:PyramidPooling", bins=(1, 2, 3, 6))  # fmt: skip
register("bridge", "transformer", "transformer layers at the bottom", "Chen et al. 2021 (TransUNet), arXiv:2102.04306",
         "bridges.transformer:Transformer", layers=4, heads=8)  # fmt: skip
register("bridge", "non-local", "every position at the bottom sees every other", "Wang et al. 2018, arXiv:1711.07971",
         "bridges.non_local:NonLocal")  # fmt: skip
register("bridge", "conv-mixer", "large depthwise and 1x1 convolutions at the bottom",
         "Tang et al. 2022, CMU-Net, arXiv:2210.13012", "bridges.conv_mixer:ConvMixer", layers=7, kernel=7)  # fmt: skip
register("encoder", "own", "the spec's own stem, blocks and down-sampling", _RONNEBERGER, "encoders.own:OwnEncoder")
register("encoder", "efficientnet-lite", "inverted residuals, from 1/2 resolution on; ImageNet weights to start from",
         "Liu 2020, github.com/tensorflow/tpu; Tan and Le 2019, arXiv:1905.11946",
         "encoders.efficientnet_lite:EfficientNetLite", size=0, full=0)  # fmt: skip
register("topology", "plain", "level by level, each from the one below", _RONNEBERGER, "topology.plain:PlainTopology")
register("topology", "nested", "nested decoders with dense skips", "Zhou et al. 2018 (UNet++), arXiv:1807.10165",
         "topology.nested:NestedTopology", inner=0)  # fmt: skip
register("topology", "full-scale", "every decoder level sees all levels",
         "Huang et al. 2020 (UNet 3+), arXiv:2004.08790", "topology.full_scale:FullScaleTopology")  # fmt: skip
register("topology", "double", "a second U looks where the first one saw something",
         "Jha et al. 2020 (DoubleU-Net), arXiv:2006.04868", "topology.double:DoubleTopology")  # fmt: skip
register("attention", "none", "features pass unchanged", _RONNEBERGER, "plain:identity")
register("attention", "se", "channels are re-weighted from their global means",
         "Hu et al. 2018, arXiv:1709.01507", "attention.se:SqueezeExcitation", reduction=16)  # fmt: skip
register("attention", "scse", "channels are re-weighted, and pixels", "Roy et al. 2018, arXiv:1803.02579",
         "attention.scse:SpatialChannelSE", reduction=2)  # fmt: skip
register("attention", "cbam", "channels, then pixels, are re-weighted from means and maxima",
         "Woo et al. 2018, arXiv:1807.06521", "attention.cbam:CBAM", reduction=16, kernel=7)  # fmt: skip
register("attention", "eca", "channels are re-weighted by a convolution over neighbouring channels",
         "Wang et al. 2020, arXiv:1910.03151", "attention.eca:EfficientChannelAttention")  # fmt: skip
register("attention", "coordinate", "rows and columns are re-weighted from their means",
         "Hou et al. 2021, arXiv:2103.02907", "attention.coordinate:CoordinateAttention", reduction=32)  # fmt: skip
register("norm", "batch", "batch normalisation", "Ioffe and Szegedy 2015, arXiv:1502.03167", "norms:BatchNorm")
register("norm", "instance", "each channel of each image by itself", "Ulyanov et al. 2016, arXiv:1607.08022",
         "norms:InstanceNorm")  # fmt: skip
register("norm", "group", "groups of channels of each image", "Wu and He 2018, arXiv:1803.08494", "norms:GroupNorm",
         groups=8)  # fmt: skip
register("norm", "layer", "the channels of each pixel", "Ba et al. 2016, arXiv:1607.06450", "norms:layer_norm")
register("norm", "none", "no normalisation; convolutions have a bias", _RONNEBERGER, "norms:no_norm")
register("activation", "relu", "rectifier", _RONNEBERGER, "activations:relu")
register("activation", "leaky", "rectifier with a small slope below zero", "Maas et al. 2013", "activations:leaky",
         slope=0.01)  # fmt: skip
register("activation", "prelu", "rectifier whose slope below zero is learned", "He et al. 2015, arXiv:1502.01852",
         "activations:prelu")  # fmt: skip
register("activation", "gelu", "Gaussian error linear unit", "Hendrycks and Gimpel 2016, arXiv:1606.08415",
         "activations:gelu")  # fmt: skip
register("activation", "silu", "x sigmoid(x)", "Elfwing et al. 2018, arXiv:1702.03118", "activations:silu")
register("padding", "same", "zeros beyond the border; scores have the image's size", "common use", "plain:no")
register(
    "padding",
    "valid",
    "blocks see nothing beyond the border; scores of the centre only",
    _RONNEBERGER,
    "plain:yes",
)
register("bias", "auto", "where no normalisation follows", "common use", "plain:no")
register("bias", "always", "in front of a normalisation too, where it has no effect but in the parameter count",
         "common use", "plain:yes")  # fmt: skip
register("head", "single", "one convolution at full resolution", _RONNEBERGER, "heads.single:SingleHead", kernel=1)
register("head", "deep-supervision", "in training, every decoder level is scored as well",
         "Lee et al. 2015, arXiv:1409.5185", "heads.deep_supervision:DeepSupervisionHead")  # fmt: skip
