"""What flows where in a network: its stages and the edges between them, read off one pass through it.

A stage is a child of the network; a list of children is opened, and so is a child that is a U (or its encoder)
itself. The edges are exact: from what goes into a stage, autograd's graph is walked back until it meets what an earlier
stage gave, or the image. Layers without weight matrices (pooling, norms, activations) belong to the way between stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from math import isqrt, log2
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ushape.errors import SpecError
from ushape.nets.count import on_meta_or_cpu
from ushape.nets.describe import Kind, describe
from ushape.nets.spec import Spec
from ushape.nets.unet import Whole, build

FEW, MANY = 8, 45


@dataclass(frozen=True)
class Stage:
    """A box of the diagram: a call of a stage, or `count` stages in a row that are alike. Image and scores are, too.

    channels, side: of what it gives, [N, channels, side, side] or a sequence of side x side tokens; side is None for
    what is no grid of the image. level: how often the image is halved down to it (negative: doubled). parameters: none
    for a further call of a stage. supervised: its output becomes scores that training sees.
    """

    name: str
    kind: Kind
    group: str
    channels: int
    side: int | None
    level: int
    parameters: int = 0
    count: int = 1
    supervised: bool = False


@dataclass(frozen=True)
class Dataflow:
    """stages: the image, then the stages as they are called, then the scores; edges: (from, to), indices of stages."""

    stages: tuple[Stage, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(eq=False)
class _Call:
    """A module's call: nodes of autograd's graph that go in, and those that come out, each with its grid.

    Nodes are read while it happens: a tensor that is changed in place later has another one.
    """

    path: str
    module: nn.Module
    taken: list[Any]
    given: list[tuple[Any, tuple[int, int | None]]] = field(default_factory=list)
    inner: list[_Call] = field(default_factory=list)

    @property
    def grid(self) -> tuple[int, int | None]:
        return self.given[0][1] if self.given else (0, None)


def flow_of(spec: Spec, in_channels: int, classes: int, size: int) -> Dataflow:
    """Of a network that leaves the U, in training, on an image of size x size px.

    SpecError for a spec of the one U, which has another diagram, and where the network cannot be built.
    """
    if spec.network.name == "unet":
        raise SpecError(f"{spec}: a spec of the one U has its own diagram: use ushape.nets.draw.draw")
    return on_meta_or_cpu(lambda device: _flow_of(spec, in_channels, classes, size, device))


def _flow_of(spec: Spec, in_channels: int, classes: int, size: int, device: str) -> Dataflow:
    with torch.device(device):
        net, image = build(spec, in_channels, classes, seed=0), torch.zeros(1, in_channels, size, size)
    assert isinstance(net, Whole)
    with torch.random.fork_rng(devices=[]):
        return dataflow(net.core, net.train(), image)


def dataflow(core: nn.Module, run: Callable[[Tensor], Any], image: Tensor) -> Dataflow:
    """The stages of `core` and what flows between them when `run(image)` calls it, in the mode that it is in.

    image [N, C, H, W], on the device of the network. The network's own weights and statistics are left alone only on
    the meta device.
    """
    with ExitStack() as stack:
        calls, seen = _watched(core, stack), image.clone().requires_grad_() * 1
        outputs = [t for t in tree_leaves(run(seen)) if isinstance(t, Tensor)]
    paths = _opened(core, calls)
    boxes = [call for call in calls if call.path in paths and call.given]
    owner: dict[Any, int] = {seen.grad_fn: 0}
    edges: set[tuple[int, int]] = set()
    for number, call in enumerate(boxes, 1):
        edges |= {(source, number) for source in _sources(call.taken, owner)}
        for made in (call, *call.inner):
            for node, _ in made.given:
                if node not in call.taken:  # what only passes through is not this stage's
                    owner.setdefault(node, number)
    last = len(boxes) + 1
    edges |= {(source, last) for source in _sources([outputs[0].grad_fn], owner)}
    supervised = {max(_sources([scores.grad_fn], owner), default=0) for scores in outputs[1:]}
    size = image.shape[-1]
    stages = [Stage("image", Kind("image"), "image", *_grid(image), 0)]
    names, times = _names([call.path for call in boxes]), Counter[str]()
    for number, call in enumerate(boxes, 1):
        times[call.path] += 1
        name = names[call.path] + (f" ({times[call.path]})" if times[call.path] > 1 else "")
        channels, side = call.grid
        before = max((stages[a] for a, b in edges if b == number), key=lambda s: s.level, default=stages[0])
        level = before.level if side is None else round(log2(size / side))
        weights = sum(p.numel() for p in call.module.parameters()) if times[call.path] == 1 else 0
        group = call.path.rstrip("0123456789").rstrip(".")
        kind, count = describe(call.module)
        stages.append(Stage(name, kind, group, channels, side, level, weights, count, number in supervised))
    stages.append(Stage("scores", Kind("scores"), "scores", *_grid(outputs[0]), 0))
    return _merged(stages, edges)


def _watched(core: nn.Module, stack: ExitStack) -> list[_Call]:
    """The list that calls of modules inside `core` are written to, in the order of their ends; until `stack` closes."""
    done: list[_Call] = []
    open_: list[_Call] = []

    def before(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        taken = [t.grad_fn for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.grad_fn is not None]
        open_.append(_Call(path, module, taken))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        call = open_.pop()
        tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
        call.given = [(t.grad_fn, _grid(t)) for t in tensors]
        done.append(call)
        for outer in open_:
            outer.inner.append(call)

    for path, module in core.named_modules():
        if path:
            handle = module.register_forward_pre_hook(partial(before, path), with_kwargs=True)
            stack.callback(handle.remove)
            stack.callback(module.register_forward_hook(after).remove)
    return done


def _sources(nodes: Iterable[Any], owner: dict[Any, int]) -> set[int]:
    """The stages whose outputs the graph meets first on its way back from `nodes`."""
    found: set[int] = set()
    todo, seen = list(nodes), set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in owner:
            found.add(owner[node])
        else:
            todo += [before for before, _ in node.next_functions]
    return found


def _weighty(module: nn.Module) -> bool:
    """Whether it has weights that mix or filter, not only scales and shifts of channels."""
    return any(p.dim() > 1 for p in module.parameters())


def _opened(core: nn.Module, calls: list[_Call]) -> set[str]:
    """Paths of the modules that are stages."""
    called: dict[str, list[_Call]] = {}
    for call in calls:
        called.setdefault(call.path, []).append(call)
    known = {id(module): path for path, module in core.named_modules()}  # each once, as in `calls`

    def children(path: str) -> list[str]:
        found: list[str] = []
        for child in core.get_submodule(path).children():
            if _weighty(child):
                inner = known[id(child)]
                found += [inner] if inner in called else children(inner)
        return list(dict.fromkeys(found))

    def resolutions(paths: Iterable[str]) -> set[int | None]:
        return {call.grid[1] for path in paths for call in called[path]}

    def opens(path: str, paths: list[str]) -> bool:
        module, inside = core.get_submodule(path), children(path)
        if len(inside) < 2 or len(paths) + len(inside) > MANY:
            return False
        held = sum(p.numel() for child in inside for p in core.get_submodule(child).parameters())
        if held < 0.8 * sum(p.numel() for p in module.parameters()):
            return False  # much of it is computed outside its children
        if len({side for call in called[path] for _, (_, side) in call.given}) > 1:
            return True  # features of several levels
        if isinstance(module, nn.Sequential):
            levels = [child for child in inside if any(True for _ in core.get_submodule(child).children())]
            if len(resolutions(levels)) > 1:
                return True
        alike = sum(type(core.get_submodule(other)) is type(module) for other in paths)
        return len(resolutions(inside)) > 2 and (alike < 3 or len(paths) < FEW)

    paths = children("")
    while True:
        chosen = next((path for path in paths if opens(path, paths)), None)
        if chosen is None:
            return set(paths)
        at = paths.index(chosen)
        paths[at : at + 1] = children(chosen)


def _grid(x: Tensor) -> tuple[int, int | None]:
    """Channels of a tensor, and the side of its grid: [N, C, S, S], [N, S, S, C], [N, S * S (+ 1), C], [N, C]."""
    shape = tuple(x.shape)
    if len(shape) == 4 and shape[2] == shape[3]:
        return shape[1], shape[2]
    if len(shape) == 4 and shape[1] == shape[2]:
        return shape[3], shape[1]
    if len(shape) == 3:
        for tokens, channels in ((shape[1], shape[2]), (shape[0] * shape[1], shape[2]), (shape[2], shape[1])):
            if isqrt(tokens) ** 2 == tokens:
                return channels, isqrt(tokens)
        if isqrt(shape[1] - 1) ** 2 == shape[1] - 1:
            return shape[2], isqrt(shape[1] - 1)
        return shape[2], None
    return (shape[1], 1) if len(shape) == 2 else (shape[1] if len(shape) > 1 else 1, None)


def _names(paths: list[str]) -> dict[str, str]:
    """For each path the shortest end of it that begins with a word and that no other path has, in plain words."""
    parts = {path: path.split(".") for path in dict.fromkeys(paths)}
    names = {}
    for path, own in parts.items():
        for start in reversed(range(len(own))):
            end = own[start:]
            alone = sum(other[-len(end) :] == end for other in parts.values()) == 1
            if not end[0].isdigit() and (alone or start == 0):
                names[path] = " ".join(" ".join(end).replace("_", " ").split())
                break
        else:
            names[path] = path.replace(".", " ")
    return names


def _merged(stages: list[Stage], edges: set[tuple[int, int]]) -> Dataflow:
    """Stages that follow each other and nothing else, of one list, kind and shape, as one."""
    after, before = Counter(a for a, _ in edges), Counter(b for _, b in edges)
    head: dict[int, int] = {}  # index of a stage -> that of the first one in its row
    last: dict[int, Stage] = {}
    for i, stage in enumerate(stages):
        head[i] = i
        source = next((a for a, b in edges if b == i), 0)
        one = stages[source]
        alike = (one.group, one.kind, one.channels, one.side) == (stage.group, stage.kind, stage.channels, stage.side)
        if alike and after[source] == before[i] == 1 and not one.supervised and not stage.supervised:
            first = head[i] = head[source]
            total = stages[first].parameters + stage.parameters
            stages[first] = replace(stages[first], count=stages[first].count + stage.count, parameters=total)
            last[first] = stage
    for i, stage in last.items():
        number = stage.name.rpartition(" ")[2]
        stages[i] = replace(stages[i], name=f"{stages[i].name}–{number}" if number.isdigit() else stages[i].name)
    kept = sorted(set(head.values()))
    new = {old: i for i, old in enumerate(kept)}
    flows = sorted({(new[head[a]], new[head[b]]) for a, b in edges if head[a] != head[b]})
    return Dataflow(tuple(stages[i] for i in kept), tuple(flows))
