"""The picture of a network from its dataflow: stages as boxes that form a U, arrows between them.

Columns follow the longest way from the image; a row is a resolution, cut into lanes where several stages of one
resolution stand in a column.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from ushape.nets.boxes import COLOURS, FILLS, Node, slab, stripes
from ushape.nets.dataflow import Dataflow, Stage
from ushape.nets.describe import Kind
from ushape.nets.route import CHANNELS, GUTTERS, PORTS, Point, Router
from ushape.nets.svg import GREY, INK, Svg, text_width, wrap

EDGES = {"encoder": "#2f6ea5", "decoder": "#2c7a4b", "head": COLOURS["head"], "image": "#a5487d"}
NAME_WIDTH = 84.0


class Flow:
    """`draw` puts the picture at a place; its size is known before, as `width` and `height`.

    kinds: the number of each kind of stage, in the order of their first calls: that of its badges.
    """

    def __init__(self, flow: Dataflow, classes: int) -> None:
        self.stages, self.edges, self.classes = flow.stages, flow.edges, classes
        kinds = dict.fromkeys(stage.kind for stage in flow.stages[1:-1])
        self.kinds: dict[Kind, int] = {kind: number for number, kind in enumerate(kinds, 1)}
        self.depths = _depths(flow)
        self.columns, self.lanes, self.level_of = _cells(flow, self.depths)
        self.roles = _roles(flow, classes)
        self.names = [self._name(stage) for stage in flow.stages]
        self._route()
        self._place()

    def _name(self, stage: Stage) -> list[str]:
        name = (
            f"{stage.name}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{stage.count}"
            if stage.count > 1 and "–" not in stage.name
            else stage.name
        )
        return wrap(name, 10, NAME_WIDTH, after=" ")

    def _route(self) -> None:
        cells = list(zip(self.columns, self.lanes, strict=True))
        router = Router(max(self.columns) + 1, max(self.lanes) + 1, cells)

        def straightness(edge: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
            (a, b), (c, d) = cells[edge[0]], cells[edge[1]]
            return c - a, abs(d - b), edge

        self.ways: dict[tuple[int, int], list[Point]] = {
            edge: router.route(cells[edge[0]], cells[edge[1]], (edge[0], self._colour(edge)))
            for edge in sorted(self.edges, key=straightness)
        }

    def skips(self, edge: tuple[int, int]) -> bool:
        """Whether an arrow passes by stages that its source also goes through, or that are on the way as long."""
        return self.depths[edge[1]] - self.depths[edge[0]] > 1

    def _colour(self, edge: tuple[int, int]) -> str:
        if self.skips(edge):
            return COLOURS["skip"]
        a, b = (self.stages[i].level for i in edge)
        return INK if a == b else COLOURS["down" if a < b else "up"]

    def _place(self) -> None:
        """Coordinates of lines and boxes, from which tracks are used."""
        used_x: set[int] = set()
        used_y: set[int] = set()
        for way in self.ways.values():
            used_x |= {a[0] for a, b in pairwise(way) if a[0] == b[0]}
            used_y |= {a[1] for a, b in pairwise(way) if a[1] == b[1]}
        widths = [self._width(stage) for stage in self.stages]
        texts = [max(self._texts(i)) for i in range(len(self.stages))]
        self.x: dict[int, float] = {}
        self.y: dict[int, float] = {}
        self.nodes: list[Node] = []
        at = 0.0
        middles: list[float] = []
        for column in range(max(self.columns) + 1):
            first = column * (GUTTERS + 1)
            at = _tracks(self.x, used_x, first, GUTTERS, at, 24.0 if column else 0.0, 11.0, 15.0)
            room = max(max(widths[i], texts[i]) for i, c in enumerate(self.columns) if c == column)
            middles.append(at + room / 2)
            self.x[first + GUTTERS] = middles[-1]
            at += room
        self.width = at
        at, tops, heights = 0.0, [], []
        for lane in range(max(self.lanes) + 1):
            here = [i for i, own in enumerate(self.lanes) if own == lane]
            first = lane * (CHANNELS + PORTS)
            at = _tracks(self.y, used_y, first, CHANNELS, at, 16.0 if lane else 0.0, 12.0, 9.0)
            at += 28.0 + 12.0 * max(len(self.names[i]) for i in here)
            lines = sum(first + CHANNELS + port in used_y for port in range(PORTS))
            height = max(self._height(lane), 5.0 * (lines + 1))
            tops.append(at)
            heights.append(height)
            middle = PORTS // 2
            for side in (range(middle - 1, -1, -1), range(middle + 1, PORTS)):
                taken = [port for port in side if first + CHANNELS + port in used_y]
                for number, port in enumerate(taken, 1):
                    off = (height / 2 - 3) * number / (len(taken) + 0.4)
                    self.y[first + CHANNELS + port] = at + height / 2 + (off if port > middle else -off)
            self.y[first + CHANNELS + middle] = at + height / 2
            at += height
        end = (max(self.lanes) + 1) * (CHANNELS + PORTS)
        self.height = _tracks(self.y, used_y, end, CHANNELS, at, 4.0, 12.0, 4.0)
        for i in range(len(self.stages)):
            lane = self.lanes[i]
            self.nodes.append(Node(middles[self.columns[i]], tops[lane], widths[i], heights[lane]))

    def _height(self, lane: int) -> float:
        beside = sum(level == self.level_of[lane] for level in self.level_of)
        order = sorted(set(self.level_of)).index(self.level_of[lane])
        return max(30.0, 122 * 0.72**order * 0.8 ** (beside - 1))

    def _width(self, stage: Stage) -> float:
        if stage.name in ("image", "scores"):
            return 18.0
        count = min(3, stage.count)
        return max(19.0, count * max(9.0, slab(stage.channels)) + 3 * (count - 1)) + (8 if stage.supervised else 0)

    def _texts(self, i: int) -> list[float]:
        stage = self.stages[i]
        return [*(text_width(line, 10) for line in self.names[i]), text_width(str(stage.channels), 12, bold=True)]

    def draw(self, svg: Svg, left: float, top: float) -> None:
        """All of it, with its upper left corner at (left, top)."""
        for edge in sorted(self.ways, key=lambda edge: (not self.skips(edge), edge)):
            points = [(left + x, top + y) for x, y in self._points(edge)]
            svg.arrow(points, self._colour(edge), 1.3 if self.skips(edge) else 1.6)
        for i, (stage, node) in enumerate(zip(self.stages, self.nodes, strict=True)):
            self._box(svg, i, stage, Node(left + node.x, top + node.y, node.width, node.height))

    def _points(self, edge: tuple[int, int]) -> list[tuple[float, float]]:
        way = self.ways[edge]
        points = [(self.x[x], self.y.get(y, 0.0)) for x, y in way]
        start, end = (self.nodes[i] for i in edge)
        below = way[0][0] == way[1][0]
        points[0] = (start.x, start.bottom) if below else (start.right, points[0][1])
        below = way[-1][0] == way[-2][0]
        points[-1] = (end.x, end.bottom) if below else (end.left, points[-1][1])
        return points

    def _box(self, svg: Svg, i: int, stage: Stage, node: Node) -> None:
        y = node.y - 31 - 12 * (len(self.names[i]) - 1)
        for line in self.names[i]:
            svg.text(node.x, y, line, 10, GREY if i in (0, len(self.stages) - 1) else INK, anchor="middle")
            y += 12
        svg.text(node.x, node.y - 18, str(stage.channels), 12, bold=True, anchor="middle")
        if stage.side is not None:
            svg.text(node.x, node.y - 6, f"{stage.side}²", 10, GREY, anchor="middle")
        if stage.name == "scores":
            stripes(svg, node.left, node.y, node.width, node.height, self.classes)
            return
        role, count = self.roles[i], min(3, stage.count)
        room = node.width - (8 if stage.supervised else 0)
        width = (room - 3 * (count - 1)) / count
        for number in range(count):
            svg.rect(node.left + number * (width + 3), node.y, width, node.height, FILLS[role], EDGES[role])
        if stage.supervised:
            stripes(svg, node.right - 6, node.y, 6, node.height, self.classes)
        if stage.kind in self.kinds:
            svg.badge(node.left + room / 2, node.middle, self.kinds[stage.kind], EDGES[role])

    def legend(self, svg: Svg, left: float, y: float, width: float) -> float:
        """What colours, arrows and numbers stand for; the y below it."""
        svg.path(f"M{left:.0f},{y - 20:.2f} H{left + width:.2f}", "#d9dde3", 1)
        x = left
        colours = {self._colour(edge) for edge in self.edges}
        usual = min(stage.level for stage in self.stages) == 0  # else there is no coding in going up again
        signs = [
            ("encoder", "encoder" if usual else "towards coarser levels", "encoder" in self.roles),
            ("decoder", "decoder" if usual else "towards finer levels", "decoder" in self.roles),
            ("head", "head", "head" in self.roles[:-1]),
            (COLOURS["down"], "to a coarser level", COLOURS["down"] in colours),
            (COLOURS["up"], "to a finer level", COLOURS["up"] in colours),
            (INK, "within a level", INK in colours),
            (COLOURS["skip"], "skip", COLOURS["skip"] in colours),
        ]
        for sign, text, shown in signs:
            room = 26 + text_width(text, 11)
            if not shown:
                continue
            if x > left and x + room > left + width:
                x, y = left, y + 22
            if sign in FILLS:
                svg.rect(x + 3, y - 10, 16, 13, FILLS[sign], EDGES[sign])
            else:
                svg.arrow([(x, y - 3.5), (x + 21, y - 3.5)], sign)
            svg.text(x + 26, y, text, 11, GREY)
            x += room + 16
        scale = (
            "A box is a stage of the network, with the channels and the resolution that it gives. Its height stands "
        )
        scale += "for resolution, its width for channels; neither is to scale."
        if any(stage.count > 1 for stage in self.stages):
            scale += " Slabs are stages of one kind that follow each other (three at most are drawn)."
        if any(stage.supervised for stage in self.stages):
            scale += " Stripes at a box: its scores are supervised in training too."
        for line in wrap(scale, 10, width):
            svg.text(left, y + 21, line, 10, GREY)
            y += 14
        return self._kinds(svg, left, y + 38, width)

    def _kinds(self, svg: Svg, left: float, y: float, width: float) -> float:
        svg.text(left, y, "What the stages are", 14, bold=True)
        y += 22
        for kind, number in self.kinds.items():
            mine = [i for i, stage in enumerate(self.stages) if stage.kind == kind]
            role = Counter(self.roles[i] for i in mine).most_common(1)[0][0]
            times, weights = sum(self.stages[i].count for i in mine), sum(self.stages[i].parameters for i in mine)
            facts = f"{times} ×, {weights:,} parameters" if times > 1 else f"{weights:,} parameters"
            svg.badge(left + 8, y - 4, number, EDGES[role])
            *lines, last = wrap(
                kind.title[:1].upper() + kind.title[1:], 12, width - 26 - text_width(facts, 11) - 8, bold=True
            )
            for line in lines:
                svg.text(left + 26, y, line, 12, bold=True)
                y += 16
            svg.words(left + 26, y, 12, [(f"{last} ", INK, True), (f" {facts}", GREY, False)])
            y += 16
            for line in wrap(kind.text, 11, width - 26) if kind.text else []:
                svg.text(left + 26, y, line, 11, GREY)
                y += 15
            y += 9
        return y


def _tracks(
    places: dict[int, float],
    used: set[int],
    first: int,
    number: int,
    at: float,
    least: float,
    before: float,
    after: float,
) -> float:
    """Places the used ones of `number` tracks from `at` on, 8 px apart; where what comes behind them begins."""
    taken = [track for track in range(first, first + number) if track in used]
    for k, track in enumerate(taken):
        places[track] = at + before + 8 * k
    return at + max(least, before + 8 * (len(taken) - 1) + after if taken else 0.0)


def _depths(flow: Dataflow) -> list[int]:
    """How many arrows the longest way from the image has; at least one, and most of all for the scores."""
    depths = [0] * len(flow.stages)
    for i in range(1, len(flow.stages)):
        depths[i] = 1 + max((depths[a] for a, b in flow.edges if b == i), default=0)
    depths[-1] = 1 + max(depths[:-1])
    return depths


def _cells(flow: Dataflow, depths: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Column and lane of each stage, and the level of each lane.

    The column is the depth; where another stage of the level stands there, it is a later one that is free before what
    the stage goes to, and else there is a further lane.
    """
    columns, own = list(depths), [0] * len(flow.stages)
    number: Counter[int] = Counter()
    for level in sorted({stage.level for stage in flow.stages}):
        taken: set[tuple[int, int]] = set()
        last: dict[str, int] = {}
        needed = {
            i: min((depths[b] for a, b in flow.edges if a == i), default=depths[-1])
            for i, stage in enumerate(flow.stages)
            if stage.level == level
        }
        fixed = Counter(depths[i] for i, end in needed.items() if end == depths[i] + 1)
        for i in sorted(needed, key=lambda i: (depths[i], needed[i], i)):
            group = flow.stages[i].group
            free = (c for c in range(depths[i], needed[i]) if (c, 0) not in taken and (c == depths[i] or not fixed[c]))
            columns[i] = next(free, depths[i])
            before = [own[a] for a, b in flow.edges if b == i and flow.stages[a].level == level]
            wanted = [*([last[group]] if group in last else []), *before[::-1], *range(len(own))]
            own[i] = last[group] = next(lane for lane in wanted if (columns[i], lane) not in taken)
            taken.add((columns[i], own[i]))
            number[level] = max(number[level], own[i] + 1)
    level_of = [level for level in sorted(number) for _ in range(number[level])]
    return columns, [level_of.index(stage.level) + own[i] for i, stage in enumerate(flow.stages)], level_of


def _roles(flow: Dataflow, classes: int) -> list[str]:
    """encoder: to coarser levels; decoder: to finer ones; what keeps its level is as its list or what it follows."""
    last = len(flow.stages) - 1
    ends = {a for a, b in flow.edges if b == last}
    before = [[a for a, b in flow.edges if b == i] for i in range(last)]
    heads = {stage.group for i, stage in enumerate(flow.stages) if stage.supervised or i in ends}
    roles, stays, votes = ["image"], [], Counter[tuple[str, str]]()
    for i, stage in enumerate(flow.stages[1:-1], 1):
        coarsest = max(before[i], key=lambda a: (flow.stages[a].level, a), default=0)
        level = flow.stages[coarsest].level
        if stage.channels == classes and stage.group in heads:
            roles.append("head")
            continue
        if stage.level == level:
            stays.append(i)
            roles.append("encoder" if roles[coarsest] in ("image", "head") else roles[coarsest])
        else:
            roles.append("encoder" if stage.level > level else "decoder")
        votes[stage.group, roles[i]] += 1
    for i in stays:
        group = flow.stages[i].group
        roles[i] = max(("encoder", "decoder"), key=lambda role: (votes[group, role], role == roles[i]))
    return [*roles, "head"]
