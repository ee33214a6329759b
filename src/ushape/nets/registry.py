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
register("block", "plain", "3x3 convolutions in series", _RONNEBERGER, "blocks.plain:PlainBlock")
register("block", "residual", "convolutions learn F(x) of y = F(x) + x", "He et al. 2016, arXiv:1512.03385",
         "blocks.residual:ResidualBlock")  # fmt: skip
register("block", "dense", "each convolution sees all features before it",
         "Huang et al. 2017, arXiv:1608.06993", "blocks.dense:DenseBlock")  # fmt: skip
register("block", "dilated-parallel-3", "three dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 4))  # fmt: skip
register("block", "dilated-parallel-5", "five dilations side by side in every level", _SEED,
         "blocks.dilated_parallel:DilatedParallelBlock", dilations=(1, 2, 4, 8, 16))  # fmt: skip
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
