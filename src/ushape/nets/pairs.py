"""Pairs of modifications that cannot stand in one network, each with the reason and the remedy. Imports no torch."""

from __future__ import annotations

from ushape.nets.registry import AXES
from ushape.nets.spec import Spec


def refusal(spec: Spec) -> str | None:
    """Why no network can be built of this spec, and what to change; None where nothing is known against it.

    Choices that are known to have no effect beside another one are refused as well: two names for one network would
    make two arms of a study out of one. (Of the rest a study finds out by itself: `ushape.study.guards`.)
    """
    default = Spec()
    if spec.network.name != "unet":
        for axis in (*AXES, "depth", "dropout"):
            if getattr(spec, axis) != getattr(default, axis):
                return (
                    f"{spec.network.name} is a module of its own, {axis}={getattr(spec, axis)} would have no effect: "
                    "modify `unet`, or a published network that is a spec of it (`ushape nets`)"
                )
        return None
    foreign = spec.encoder.name != "own"

    def chosen(axis: str) -> bool:
        return spec.choice(axis) != default.choice(axis)

    if spec.padding.name == "valid":
        if spec.block.name != "plain":
            return f"block={spec.block.name} adds or joins features of one size, padding=valid shrinks them: {_SAME}"
        if chosen("topology"):
            return f"topology={spec.topology.name} joins levels of matching sizes, which padding=valid breaks: {_SAME}"
        if foreign:
            return f"{spec.encoder.name} pads its own convolutions, padding=valid cannot change that: {_SAME}"
        if spec.skip.name == "channel-transformer":
            return f"skip=channel-transformer lays one grid over all levels, which padding=valid breaks: {_SAME}"
        if dict(spec.down.options).get("first"):
            return f"first=1 makes a level's first convolution a padded one, which padding=valid forbids: {_SAME}"
        if spec.head.name == "deep-supervision":
            return f"deep supervision scores levels of 1/2, 1/4, ... the size, which padding=valid breaks: {_SAME}"
    if spec.topology.name == "nested" and spec.skip.name == "none":
        return "topology=nested consists of skips, skip=none removes them: keep one of the two"
    if spec.topology.name == "full-scale":
        for axis in ("skip", "up"):
            if chosen(axis):
                return (
                    f"topology=full-scale brings its own way across and up, {axis}={spec.choice(axis).name} would have "
                    f"no effect: leave {axis} out, or choose topology=plain"
                )
    if spec.block.name == "none" and spec.depth != default.depth:
        return f"block=none computes nothing, depth={spec.depth} would have no effect: leave depth out"
    if dict(spec.topology.options).get("inner") and not foreign:
        return (
            "inner=1 gives nodes the encoder's widths, which without encoder=timm:... are the decoder's: leave it out"
        )
    name = spec.encoder.name  # one of a plugin may use the stem and the way down that it is given
    brings = name == "efficientnet-lite" or name.startswith("timm:")
    if brings and spec.topology.name != "double" and not dict(spec.encoder.options).get("full"):
        for axis in ("stem", "down"):
            if chosen(axis):
                return (
                    f"{spec.encoder.name} brings its own levels, {axis}={spec.choice(axis).name} would have no effect: "
                    f"leave {axis} out, or choose encoder=own"
                )
    if spec.norm.name == "none" and spec.bias.name == "always":
        return "without a norm convolutions have a bias anyway, bias=always would have no effect: leave it out"
    return None


_SAME = "choose padding=same"
