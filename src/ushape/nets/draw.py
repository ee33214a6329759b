"""A spec as a picture: an SVG with the U, its channels and resolutions, and what differs from plain U-Net, cited."""

from __future__ import annotations

from dataclasses import dataclass

from ushape.nets.boxes import FILLS, chosen, colour
from ushape.nets.budget import counted
from ushape.nets.diagram import Diagram
from ushape.nets.registry import AXES, lookup
from ushape.nets.spec import Spec, parse
from ushape.nets.svg import GREY, INK, Svg, fit, text_width, wrap
from ushape.nets.zoo import Published, published

MARGIN = 36.0
LEAST_WIDTH = 760.0


@dataclass(frozen=True)
class Change:
    """A difference from plain U-Net; `number` is that of its badges."""

    number: int
    axis: str
    name: str
    summary: str
    source: str


def draw(spec: Spec, in_channels: int = 3, classes: int = 5, size: int = 256) -> str:
    """The SVG of a network for images of size x size px; the same spec gives the same text.

    A network that leaves the U is drawn from what flows through it. SpecError where the network cannot be built.
    """
    counts = counted(spec, in_channels, classes, size)
    facts = f"{counts['parameters']:,} parameters · {_giga(counts['flops'])} GFLOPs at {size}² px"
    if spec.network.name != "unet":
        return _whole(spec, in_channels, classes, size, facts)
    changes = differences(spec)
    badges = {change.axis: change.number for change in changes}
    diagram = Diagram(spec, in_channels, classes, size, _encoded(spec, in_channels, classes), badges)
    width = max(LEAST_WIDTH, diagram.width + 2 * MARGIN)
    svg = Svg()
    y = heading(svg, spec, facts, width)
    diagram.draw(svg, (width - diagram.width) / 2, y)
    y = _key(svg, spec, y + diagram.height + 34, width, badges)
    y = _legend(svg, changes, y + 14, width)
    y = origin(svg, spec, y, width)
    return svg.to_string(width, y + MARGIN - 14, spec.name, f"Architecture of {spec.name}: {facts}")


def _whole(spec: Spec, in_channels: int, classes: int, size: int, facts: str) -> str:
    """A network that leaves the U."""
    from ushape.nets.dataflow import flow_of
    from ushape.nets.flow import Flow

    flow = Flow(flow_of(spec, in_channels, classes, size), classes)
    width = max(LEAST_WIDTH, flow.width + 2 * MARGIN)
    svg = Svg()
    y = heading(svg, spec, facts, width)
    flow.draw(svg, (width - flow.width) / 2, y)
    y = flow.legend(svg, MARGIN, y + flow.height + 34, width - 2 * MARGIN)
    y = origin(svg, spec, y, width)
    return svg.to_string(width, y + MARGIN - 14, spec.name, f"Architecture of {spec.name}: {facts}")


def heading(svg: Svg, spec: Spec, facts: str, width: float) -> float:
    """What the network is called, where it is published under a name, its spec and what it costs; the y below."""
    y = MARGIN + 8
    known = published_as(spec)
    title = known.title if known else spec.name
    for line in wrap(
        title, 19, width - 2 * MARGIN, bold=True, after=" " if known else ",", before="" if known else "+"
    ):
        svg.text(MARGIN, y, line, 19, bold=True)
        y += 25
    if known:
        name = known.name if known.name == spec.name else f"{known.name} = {spec.name}"
        for line in wrap(name, 13, width - 2 * MARGIN, after=" ,", before="+"):
            svg.text(MARGIN, y - 4, line, 13)
            y += 18
    svg.text(MARGIN, y - 4, facts, 13, GREY)
    return y + 18


def origin(svg: Svg, spec: Spec, y: float, width: float) -> float:
    """Where the network is published, with which count, and what else there is to know; the y below."""
    known = published_as(spec)
    base = known or next((one for one in published() if one.name == spec.network.name), None)
    if base is None:
        return y
    svg.text(MARGIN, y + 6, "Published" if known else f"Changed from {base.title}", 14, bold=True)
    y += 27
    lines = [base.source]
    if base.parameters is not None:
        count = f"{base.parameters:,} parameters from {base.in_channels} to {base.classes} channels ({base.pin})"
        lines.append(count + (f"; here {base.ours:,}" if base.ours is not None else ""))
    if base.note:
        lines.append(base.note[0].upper() + base.note[1:])
    for text in lines:
        for line in wrap(text, 11, width - 2 * MARGIN):
            svg.text(MARGIN, y, line, 11, GREY)
            y += 15
    return y + 9


def published_as(spec: Spec) -> Published | None:
    """The published network that this spec is, if it is one; the first of several."""
    return next((one for one in published() if parse(one.spec) == spec), None)


def differences(spec: Spec) -> list[Change]:
    """What differs from the default U-Net, in the order of the axes; dropout last."""
    plain = Spec()
    found: list[Change] = []
    for axis in AXES:
        choice = spec.choice(axis)
        if choice != plain.choice(axis):
            made = lookup(axis, choice.name)
            found.append(Change(len(found) + 1, axis, str(choice), made.summary, made.source))
    if spec.dropout:
        where = "whole channels are dropped in training, at the end of the two coarsest encoder levels"
        source = "Srivastava et al. 2014, JMLR 15:1929; Tompson et al. 2015, arXiv:1411.4280"
        found.append(Change(len(found) + 1, "dropout", f"p = {spec.dropout:g}", where, source))
    return found


def _key(svg: Svg, spec: Spec, y: float, width: float, badges: dict[str, int]) -> float:
    """What each colour stands for, with the name of what this spec has there; the y below it."""
    x = MARGIN
    others = {}  # axes that another one does the work of
    if (topology := chosen(spec, "topology", "plain")) == "full-scale":
        others = {"up": topology, "skip": topology}
    if (encoder := chosen(spec, "encoder", "own")) != "own":
        others |= {"stem": "none", "down": encoder}
    svg.path(f"M{MARGIN:.0f},{y - 20:.2f} H{width - MARGIN:.2f}", "#d9dde3", 1)
    for axis in AXES:
        choice = others.get(axis, spec.choice(axis).name)
        shown = axis in badges or (axis in _SHOWN and choice not in ("none", "own"))
        if not shown or (axis in others and others[axis] == "none"):
            continue
        label = f"{spec.depth} × {choice}" if axis == "block" else choice
        label = fit(label, 11, width - 2 * MARGIN - 100, axis in badges)
        bold = axis in badges
        sign = 26 if axis in (*_FILLED, *_ARROWS) else 20 if axis in badges else 0
        room = sign + text_width(f"{axis} ", 11) + text_width(label, 11, bold)
        if x > MARGIN and x + room > width - MARGIN:
            x, y = MARGIN, y + 22
        if axis in _FILLED:
            svg.rect(x + 3, y - 10, 16, 13, FILLS[_FILLED[axis]], colour(axis))
        elif axis in _ARROWS:
            svg.arrow([(x, y - 3.5), (x + 21, y - 3.5)], colour(axis))
        elif axis in badges:
            svg.badge(x + 8, y - 3.5, badges[axis], colour(axis))
        svg.words(x + sign, y, 11, [(f"{axis} ", GREY, False), (label, colour(axis) if bold else INK, bold)])
        x += room + 16
    scale = "The height of a box stands for resolution, the width of a slab for channels; neither is to scale."
    scale += " A slab is one convolution unit" + (", of which three are drawn." if spec.depth > 3 else ".")
    for line in wrap(scale, 10, width - 2 * MARGIN):
        svg.text(MARGIN, y + 21, line, 10, GREY)
        y += 14
    return y + 24


_FILLED = {"stem": "stem", "encoder": "encoder", "block": "encoder", "bridge": "bridge", "attention": "attention"}
_FILLED |= {"head": "head"}
_ARROWS = ("down", "up", "skip")
_SHOWN = (*_FILLED, *_ARROWS, "norm", "activation")


def _legend(svg: Svg, changes: list[Change], y: float, width: float) -> float:
    """The differences from plain U-Net, numbered, with their papers; the y below it."""
    heading = "What differs from plain U-Net" if changes else "Plain U-Net"
    svg.text(MARGIN, y, heading, 14, bold=True)
    y += 22
    if not changes:
        plain = lookup("block", Spec().block.name)
        svg.text(MARGIN, y, plain.source, 11, GREY)
        return y + 16
    for change in changes:
        svg.badge(MARGIN + 8, y - 4, change.number, colour(change.axis))
        inner, room = MARGIN + 26, width - 2 * MARGIN - 26
        *lines, last = wrap(change.name, 12, room - 80, bold=True, after=",-")
        for line in lines:
            svg.text(inner, y, line, 12, bold=True)
            y += 16
        svg.words(inner, y, 12, [(f"{last} ", INK, True), (f" {change.axis}", colour(change.axis), False)])
        y += 16
        for line in wrap(f"{change.summary}. {change.source}", 11, room):
            svg.text(inner, y, line, 11, GREY)
            y += 15
        y += 9
    return y


def _encoded(spec: Spec, in_channels: int, classes: int) -> tuple[int, ...]:
    """Channels that the encoder gives at each level; a network in the encoder's place is asked for them."""
    if chosen(spec, "encoder", "own") == "own":
        return spec.widths
    import torch

    from ushape.nets.unet import build

    with torch.device("meta"):
        encoder = getattr(build(spec, in_channels, classes), "encoder", None)
    channels = tuple(int(c) for c in getattr(encoder, "channels", spec.widths))
    return channels if len(channels) == spec.levels else spec.widths


def _giga(flops: int) -> str:
    value = flops / 1e9
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"
