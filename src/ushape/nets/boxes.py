"""What diagrams are made of: a box, the colours of the axes, and the resolutions that a spec gives."""

from __future__ import annotations

from dataclasses import dataclass

from ushape.nets.registry import AXES
from ushape.nets.spec import Spec
from ushape.nets.svg import Svg

COLOURS = {  # of each axis: its arrows, badges and the edges of its boxes
    "stem": "#bf6310",
    "encoder": "#2f6ea5",
    "block": "#1f5fa8",
    "down": "#b4312c",
    "up": "#2c7a4b",
    "skip": "#0f7c86",
    "topology": "#3f4753",
    "bridge": "#6b46a8",
    "attention": "#9a7400",
    "head": "#b03060",
}
FILLS = {
    "encoder": "#d3e4f5",
    "decoder": "#d5eddd",
    "nested": "#eceff3",
    "stem": "#fbe3c8",
    "bridge": "#e5dbf5",
    "attention": "#ffdf80",
    "head": "#f7d3df",
    "image": "#f3d3e6",
}
CLASSES = ("#d53e4f", "#66c2a5", "#3288bd", "#fee08b", "#5e4fa2", "#f46d43", "#abdda4", "#9e9e9e")


@dataclass(frozen=True)
class Node:
    """A box: the middle of its width, its top, its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def slab(channels: int) -> float:
    """Width of one convolution unit."""
    return min(40.0, max(7.0, 1 + 3.2 * (channels or 1).bit_length()))


def stripes(svg: Svg, x: float, y: float, width: float, height: float, classes: int) -> None:
    """A map of scores: a stripe for each class, as far as there are colours and room."""
    number = max(1, min(classes, len(CLASSES), int(height / 2)))
    for c in range(number):
        svg.rect(x, y + c * height / number, width, height / number, CLASSES[c], radius=0)


def colour(axis: str) -> str:
    return COLOURS.get(axis, "#4d5561")


def chosen(spec: Spec, axis: str, otherwise: str) -> str:
    """Name of the modification on an axis; `otherwise` where there is no such axis."""
    return spec.choice(axis).name if axis in AXES else otherwise


def sizes(spec: Spec, size: int) -> tuple[list[int | None], list[int | None]]:
    """Resolution of each level in the encoder and the decoder, finest first; None where it is not known here."""
    multiple = 2 ** (spec.levels - 1)
    if chosen(spec, "padding", "same") != "valid":
        padded = -(-size // multiple) * multiple
        same: list[int | None] = [padded >> i for i in range(spec.levels)]
        return same, same
    if spec.block.name != "plain" or chosen(spec, "encoder", "own") != "own":
        return [None] * spec.levels, [None] * spec.levels
    down: list[int | None] = []
    up: list[int | None] = []
    for i in range(spec.levels):
        size = (size if i == 0 else size // 2) - 2 * spec.depth
        down.append(size)
    for _ in range(spec.levels - 1):
        size = 2 * size - 2 * spec.depth
        up.insert(0, size)
    return down, up
