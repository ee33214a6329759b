"""Every registered modification, alone on a small U, passes the shared tester."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import tester
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ushape.errors import SpecError
from ushape.nets.registry import Modification, modifications
from ushape.nets.spec import Choice, Spec, parse
from ushape.nets.unet import Network, build

SMALL = parse("unet[width=8,levels=3]")
SMALLEST = parse("unet[width=4,levels=2]")


def spec_of(modification: Modification) -> Spec:
    """The small U with this modification, and with what it cannot do without."""
    return replace(SMALL, **{modification.axis: Choice(modification.name)})


def make(spec: Spec, in_channels: int, classes: int, seed: int) -> Network:
    return build(spec, in_channels, classes, seed)


every = pytest.mark.parametrize("modification", modifications(), ids=lambda m: f"{m.axis}={m.name}")


@every
def test_computes(modification: Modification, tmp_path: Path) -> None:
    tester.computes(partial(make, spec_of(modification)), tmp_path)


@every
def test_odd_widths(modification: Modification) -> None:
    """Widths that nothing divides, and that do not double."""
    net = build(replace(spec_of(modification), widths=(5, 12, 7)), in_channels=3, classes=2, seed=0)
    x = tester.image(net, tester.sizes(net)[0], batch=1)
    tester.check_shape(net, tester.scores(net, x), x, 2)
    tester.gradients(net, x)


@every
def test_learns(modification: Modification) -> None:
    tester.learns(partial(make, spec_of(modification)))


def together() -> list[Spec]:
    """Specs that hold every modification between them, as many in each as go together: exporting takes seconds."""
    made: list[Spec] = []
    for modification in modifications():
        choice = {modification.axis: Choice(modification.name)}
        for i, spec in enumerate(made):
            free = getattr(spec, modification.axis) == getattr(SMALLEST, modification.axis)
            if free and _goes(replace(spec, **choice)):
                made[i] = replace(spec, **choice)
                break
        else:
            made.append(replace(SMALLEST, **choice))
    return made


def _goes(spec: Spec) -> bool:
    try:
        with torch.device("meta"):
            build(spec, 3, 5)
    except SpecError:
        return False
    return True


class _Operators(TorchDispatchMode):
    """Watches which operators of torch run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


@cache
def with_every_operator() -> frozenset[Spec]:
    """As few specs as hold every operator that any modification needs: ONNX knows operators, not modifications."""
    needs: dict[Spec, set[str]] = {}
    for spec in together():
        net = build(spec, 3, 5, seed=0).eval()
        with torch.no_grad(), _Operators() as operators:
            net(tester.image(net, tester.small(net)))
        needs[spec] = operators.seen
    left, chosen = set().union(*needs.values()), set()
    while left:
        chosen.add(max(needs, key=lambda spec: len(needs[spec] & left)))
        left -= set().union(*(needs[spec] for spec in chosen))
    return frozenset(chosen)


@pytest.mark.parametrize("spec", together(), ids=lambda spec: spec.name)
@pytest.mark.slow
def test_exports(spec: Spec) -> None:
    """By torch.export; to ONNX as well where the spec brings an operator that no other does."""
    tester.exports(partial(make, spec), onnx=spec in with_every_operator())
