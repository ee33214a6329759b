"""Where the boxes of a diagram stand.

Rows are levels, finest at the top. The encoder goes down to the right, the decoder up to the right, in steps of
equal width, so that nested nodes stand on a lattice.
"""

from __future__ import annotations

from itertools import pairwise

from ushape.nets.boxes import Node, chosen, sizes, slab
from ushape.nets.spec import Spec


class Layout:
    """Geometry of a spec's picture: its `width` and `height`, and what stands where.

    encoded: channels of each level of the encoder, 0 where it gives none; badges: number of each changed axis.
    """

    def __init__(
        self, spec: Spec, in_channels: int, classes: int, size: int, encoded: tuple[int, ...], badges: dict[str, int]
    ) -> None:
        self.spec, self.in_channels, self.classes, self.size = spec, in_channels, classes, size
        self.encoded, self.badges, self.levels = encoded, badges, spec.levels
        self.topology = chosen(spec, "topology", "plain")
        full = self.topology == "full-scale"
        self.decoded = tuple(spec.levels * spec.widths[0] if full else w for w in spec.widths[:-1])
        self.down_sizes, self.up_sizes = sizes(spec, size)

        wide = [self._box(c) for c in encoded]
        if self.topology == "double":
            wide = [max(w, self._box(c)) for w, c in zip(wide, spec.widths, strict=True)]
        wide = [max(w, self._box(c)) for w, c in zip(wide, (*self.decoded, 0), strict=True)]
        self.bridge = 40.0 if chosen(spec, "bridge", "none") != "none" else 0.0
        self.extra = self.bridge + 26 if self.bridge else 0.0
        steps = [(a + b) / 2 + 26 for a, b in pairwise(wide)]
        least = (150 + wide[0] - self.extra) / (2 * (self.levels - 1))  # room for a name on the top skip
        self.step = max([*steps, least, *((w + 46) / 2 for w in wide)])
        self.stem = slab(spec.widths[0]) if spec.stem.name != "none" else 0.0
        self.lead = 14 + 28 + (self.stem + 28 if self.stem else 0) + wide[0] / 2
        self.span = 2 * (self.levels - 1) * self.step + self.extra  # from the first box's middle to the last one's
        self.between = wide[0] + 116 + (self.stem + 28 if self.stem else 0) if self.topology == "double" else 0.0
        self.tail = wide[0] / 2 + 28 + 18 + 26 + 18
        self.width = self.lead + self.span * (2 if self.between else 1) + self.between + self.tail

        self.heights = [max(16.0, 122 * 0.72**i) for i in range(self.levels)]
        self.tops: list[float] = []
        double = self.topology == "double"
        y, gap = (74.0, 72.0) if double else (30.0, 52.0)  # long skips of a second U pass over the rows
        for i, height in enumerate(self.heights):
            y += self._arcs(i)
            self.tops.append(y)
            y += height + gap
        self.height = y - gap + (20 if self.bridge else 4)

    def _u(self, x: float, top: float, encoded: tuple[int, ...]) -> tuple[list[Node], Node, list[Node]]:
        """Encoder boxes, the box that the decoder starts from, and decoder boxes, finest first."""
        encoder = [
            Node(x + i * self.step, top + self.tops[i], self._box(c), self.heights[i]) for i, c in enumerate(encoded)
        ]
        last = encoder[-1]
        bottom = Node(last.right + 26 + self.bridge / 2, last.y, self.bridge, last.height) if self.bridge else last
        decoder = [
            Node(x + self.span - i * self.step, top + self.tops[i], self._box(c), self.heights[i])
            for i, c in enumerate(self.decoded)
        ]
        return encoder, bottom, decoder

    def _box(self, channels: int) -> float:
        count = min(3, self.spec.depth)
        return count * slab(channels) + 3 * (count - 1) + (12 if self._attends() else 0)

    def _attends(self) -> bool:
        return self.spec.attention.name != "none"

    def _arcs(self, level: int) -> float:
        """Room over a row for the arcs of nested nodes."""
        return 9.0 * max(0, self.levels - 2 - level) + 4 if self.topology == "nested" else 0.0
