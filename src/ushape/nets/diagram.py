"""The picture of a U: its boxes and the arrows between them. `ushape.nets.draw` puts title and legend around it."""

from __future__ import annotations

from ushape.nets.boxes import COLOURS, FILLS, Node, chosen, colour, slab, stripes
from ushape.nets.layout import Layout
from ushape.nets.svg import GREY, INK, Svg, fit, text_width


class Diagram(Layout):
    """`draw` puts the picture at a place; its size is known before, as `width` and `height`."""

    def draw(self, svg: Svg, left: float, top: float) -> None:
        """All of it, with its upper left corner at (left, top)."""
        first = left + self.lead
        encoder, bottom, decoder = self._u(first, top, self.encoded)
        self._image(svg, left, encoder)
        self._badge(svg, "topology", first + self.span / 2, top - 6)
        if self.between:
            widths = self.spec.widths  # the second encoder has levels of the spec's own
            second, deepest, decoder2 = self._u(first + self.span + self.between, top, widths)
            self._long_skips(svg, encoder, decoder[0], decoder2, top)
            self._draw_u(svg, encoder, bottom, decoder, self.encoded)
            self._again(svg, left, decoder[0], second[0], top)
            self._draw_u(svg, second, deepest, decoder2, widths, foreign=False)
            decoder = decoder2
        else:
            self._draw_u(svg, encoder, bottom, decoder, self.encoded)
        self._heads(svg, decoder)

    def _draw_u(
        self,
        svg: Svg,
        encoder: list[Node],
        bottom: Node,
        decoder: list[Node],
        encoded: tuple[int, ...],
        foreign: bool | None = None,
    ) -> None:
        foreign = chosen(self.spec, "encoder", "own") != "own" if foreign is None else foreign
        if self.topology == "full-scale":
            self._full_scale(svg, encoder, decoder, bottom)
        for i in range(self.levels - 1):  # down
            if encoded[i]:
                self._elbow_down(svg, encoder[i], encoder[i + 1], i, foreign)
        if self.topology == "nested":
            self._nested(svg, encoder, decoder, bottom, encoded)
        else:
            for i, node in enumerate(decoder):
                self._up(
                    svg,
                    decoder[i + 1] if i + 2 < self.levels else bottom,
                    node,
                    name=i == 0 and self.topology != "full-scale",
                )
                if encoded[i]:
                    self._skip(svg, encoder[i], node, name=i == 0 and self.topology != "full-scale")
        for i, node in enumerate(encoder):
            if encoded[i]:
                self._block(svg, node, encoded[i], self.down_sizes[i], "foreign" if foreign else "encoder")
            if i >= self.levels - 2:
                self._badge(svg, "dropout", node.left, node.bottom)
        for i, node in enumerate(decoder):
            self._block(svg, node, self.decoded[i], self.up_sizes[i], "decoder")
        if self.bridge:
            svg.arrow([(encoder[-1].right, bottom.middle), (bottom.left, bottom.middle)], INK)
            svg.rect(bottom.left, bottom.y, bottom.width, bottom.height, FILLS["bridge"], COLOURS["bridge"])
            self._badge(svg, "bridge", bottom.x, bottom.middle)
            name = fit(self.spec.bridge.name, 11, self.span)
            svg.text(bottom.x, bottom.bottom + 15, name, 11, COLOURS["bridge"], anchor="middle")

    def _elbow_down(self, svg: Svg, fine: Node, coarse: Node, level: int, foreign: bool) -> None:
        svg.arrow([(fine.x, fine.bottom), (fine.x, coarse.middle), (coarse.left, coarse.middle)], COLOURS["down"])
        self._badge(svg, "down", fine.x, fine.bottom + 17)
        name = self.spec.down.name
        if foreign:
            return  # it goes down in its own way
        if level == 0 and text_width(name, 11) < coarse.x - 32 - fine.x - 12:  # left of what stands over the next box
            svg.text(fine.x + 12, fine.bottom + 21, name, 11, COLOURS["down"])

    def _up(self, svg: Svg, coarse: Node, fine: Node, name: bool = False) -> None:
        y = coarse.middle - 0.22 * coarse.height
        svg.arrow([(coarse.right, y), (fine.x, y), (fine.x, fine.bottom)], COLOURS["up"])
        self._badge(svg, "up", fine.x, fine.bottom + 21)
        if name and text_width(self.spec.up.name, 11) < self.tail - 14:
            svg.text(fine.x + 12, fine.bottom + 28, self.spec.up.name, 11, COLOURS["up"])

    def _skip(self, svg: Svg, start: Node, end: Node, name: bool = False) -> None:
        choice = self.spec.skip.name
        if choice != "none":
            svg.arrow([(start.right, start.middle), (end.left, end.middle)], COLOURS["skip"])
        middle, room = (start.right + end.left) / 2, end.left - start.right
        if choice != "none" or name:
            self._badge(svg, "skip", middle, start.middle)
        if name and text_width(choice, 11) < room - 16:
            text = "no skips" if choice == "none" else choice
            svg.text(middle, start.middle - 13, text, 11, COLOURS["skip"], anchor="middle")

    def _nested(
        self, svg: Svg, encoder: list[Node], decoder: list[Node], bottom: Node, encoded: tuple[int, ...]
    ) -> None:
        """UNet++: at level i, nodes (i, 1), (i, 2), ... between encoder and decoder, each fed by all before it.

        A level at which the encoder gives nothing has its last node alone.
        """
        inner = encoded if dict(self.spec.topology.options).get("inner") else self.decoded
        rows = [[node] if channels else [] for node, channels in zip((*encoder[:-1], bottom), encoded, strict=True)]
        for i in range(self.levels - 1):
            for j in range(1, self.levels - 1 - i):
                if encoded[i]:
                    x = encoder[i].x + 2 * j * self.step + self.extra
                    rows[i].append(Node(x, encoder[i].y, self._box(inner[i]), encoder[i].height))
            rows[i].append(decoder[i])
        for i, row in enumerate(rows[:-1]):
            for j, node in enumerate(row):
                if node is encoder[i]:
                    continue
                below = rows[i + 1]
                self._up(svg, below[min(j, len(below)) - 1] if encoded[i] else below[-1], node)
                if j:
                    self._skip(svg, row[j - 1], node)
                for k in range(j - 1):  # from the nodes before the last one: arcs over the row
                    a, b, high = row[k].x + 6, node.x - 6 - 5 * k, node.y - 34 - 9 * (j - k - 1)
                    points = [(a, node.y - 32), (a, high), (b, high), (b, node.y - 32)]
                    svg.arrow(points, COLOURS["skip"], 1.0, opacity=0.65)
                if node is not row[-1]:
                    self._block(svg, node, inner[i], self.up_sizes[i], "nested")

    def _full_scale(self, svg: Svg, encoder: list[Node], decoder: list[Node], bottom: Node) -> None:
        """UNet 3+: besides its neighbours, each decoder level takes all finer encoder and coarser decoder levels."""
        sources = [*decoder, bottom]
        for i, node in enumerate(decoder):
            for k in range(i):  # max-pooled
                y = node.y + node.height * (k + 1) / (2 * (i + 1))
                start = (encoder[k].right, encoder[k].middle + 0.3 * encoder[k].height)
                bend = 0.5 * (node.left - start[0])
                points = [start, (start[0] + bend, start[1]), (node.left - bend, y), (node.left, y)]
                svg.arrow(points, COLOURS["down"], 1.0, opacity=0.55, curve=True)
            for k in range(i + 2, self.levels):  # enlarged
                x = node.x + 7 * (k - i - 1)
                start = (sources[k].right, sources[k].middle + 0.2 * sources[k].height)
                points = [start, (x, start[1]), (x, start[1]), (x, node.bottom)]
                svg.arrow(points, COLOURS["up"], 1.0, opacity=0.55, curve=True)

    def _long_skips(self, svg: Svg, encoder: list[Node], seen: Node, second: list[Node], top: float) -> None:
        """DoubleU-Net: the second decoder takes the first encoder's features too, and the head the first decoder's."""
        for i, node in enumerate(second):
            if self.encoded[i]:
                y, high, a, b = node.y + 0.2 * node.height, node.y - 40, encoder[i].right, node.left
                points = [(a, y), (a + 14, y), (a + 14, high), (b - 14, high), (b - 14, y), (b, y)]
                svg.arrow(points, COLOURS["skip"], 1.0, dashed=True, opacity=0.7)
        x, y = second[0].right + 37, top + 24
        points = [(seen.x, seen.y - 32), (seen.x, y), (x, y), (x, second[0].y)]
        svg.arrow(points, COLOURS["skip"], 1.0, dashed=True, opacity=0.7)

    def _again(self, svg: Svg, left: float, seen: Node, second: Node, top: float) -> None:
        """The first U's map multiplies the image, which goes into the second U."""
        x, y = seen.right + 26, seen.middle
        svg.arrow([(seen.right, y), (x, y)], INK)
        svg.rect(x, seen.y, 8, seen.height, FILLS["head"], COLOURS["head"])
        times = x + 8 + 34
        svg.arrow([(x + 8, y), (times - 10, y)], INK)
        self._stem(svg, times + 10, second)
        high = top + 10
        svg.arrow([(left + 7, second.y - 34), (left + 7, high), (times, high), (times, y - 10)], "#a5487d", 1.2)
        svg.circle(times, y, 10, "#ffffff", INK)
        svg.text(times, y + 5, "×", 15, bold=True, anchor="middle")
        svg.text(x + 4, seen.bottom + 14, "map", 10, GREY, anchor="middle")

    def _image(self, svg: Svg, left: float, encoder: list[Node]) -> None:
        first, y = encoder[0], encoder[0].y
        svg.rect(left, y, 14, first.height, FILLS["image"], "#a5487d")
        self._labels(svg, left + 7, y, self.in_channels, self.size)
        svg.text(left + 7, first.bottom + 14, "image", 10, GREY, anchor="middle")
        if self.encoded[0]:
            self._stem(svg, left + 14, first)
        else:  # an encoder that gives nothing at the image's resolution
            to = next(node for node, channels in zip(encoder, self.encoded, strict=True) if channels)
            points = [(left + 14, first.middle), (first.x, first.middle), (first.x, to.middle), (to.left, to.middle)]
            svg.arrow(points, COLOURS["down"])

    def _stem(self, svg: Svg, x: float, first: Node) -> None:
        """From x to the first level, through the stem where there is one."""
        if self.stem:
            svg.arrow([(x, first.middle), (x + 28, first.middle)], INK)
            svg.rect(x + 28, first.y, self.stem, first.height, FILLS["stem"], COLOURS["stem"])
            self._badge(svg, "stem", x + 28 + self.stem / 2, first.middle)
            svg.text(x + 28 + self.stem / 2, first.y - 6, "stem", 10, COLOURS["stem"], anchor="middle")
            x += 28 + self.stem
        svg.arrow([(x, first.middle), (first.left, first.middle)], INK)

    def _heads(self, svg: Svg, decoder: list[Node]) -> None:
        deep = self.spec.head.name == "deep-supervision"
        column = decoder[0].right + 28
        for i, node in enumerate(decoder if deep else decoder[:1]):
            y = node.middle + (0.25 * node.height if i else 0)
            height = node.height if i == 0 else max(10.0, 0.4 * node.height)
            svg.arrow([(node.right, y), (column, y)], COLOURS["head"] if i else INK, 1.6 if i == 0 else 1.1)
            svg.rect(column, y - height / 2, 18, height, FILLS["head"], COLOURS["head"])
            svg.arrow([(column + 18, y), (column + 44, y)], INK if i == 0 else COLOURS["head"], 1.6 if i == 0 else 1.1)
            stripes(svg, column + 44, y - height / 2, 18, height, self.classes)
            self._badge(svg, "head", column + 9, y if i == 0 else y - height / 2 - 6)
        top = decoder[0]
        output = self.up_sizes[0] if chosen(self.spec, "padding", "same") == "valid" else self.size
        self._labels(svg, column + 53, top.y, self.classes, output)
        svg.text(column + 53, top.bottom + 14, "scores", 10, GREY, anchor="middle")

    def _block(self, svg: Svg, node: Node, channels: int, size: int | None, part: str) -> None:
        """A level: a slab for each convolution unit (three at most), and one for attention."""
        edge = {"foreign": "#2f6ea5", "encoder": "#2f6ea5", "decoder": "#2c7a4b", "nested": "#6b7482"}[part]
        self._labels(svg, node.x, node.y, channels, size)
        if part == "foreign":  # a network of its own, whose units are not known here
            svg.rect(node.left, node.y, node.width, node.height, FILLS["encoder"], edge)
            self._badge(svg, "encoder", node.x, node.middle)
            return
        width, x = slab(channels), node.left
        for _ in range(min(3, self.spec.depth)):
            svg.rect(x, node.y, width, node.height, FILLS[part], edge)
            x += width + 3
        if self._attends():
            svg.rect(x, node.y, 9, node.height, FILLS["attention"], COLOURS["attention"])
            self._badge(svg, "attention", x + 4.5, node.bottom)
        self._badge(svg, "block", node.x - (6 if self._attends() else 0), node.middle)

    def _labels(self, svg: Svg, x: float, y: float, channels: int, size: int | None) -> None:
        svg.text(x, y - 18, str(channels), 12, bold=True, anchor="middle")
        if size is not None:
            svg.text(x, y - 6, f"{size}²", 10, GREY, anchor="middle")

    def _badge(self, svg: Svg, axis: str, x: float, y: float) -> None:
        if axis in self.badges:
            svg.badge(x, y, self.badges[axis], colour(axis))
