"""What a network costs, and networks at the same cost.

Costs that are counted, not timed, are kept in the user's cache folder, under a key of the spec and of the code that
builds networks: tables of known networks need no torch, and changed code is counted afresh.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from inspect import getsourcefile
from pathlib import Path
from typing import Any, Literal

from ushape.errors import SpecError, UshapeError
from ushape.files import cache_folder, read_json, write_json
from ushape.nets import plugin
from ushape.nets.registry import AXES, NETWORK, lookup
from ushape.nets.spec import Spec

By = Literal["params", "flops", "time"]


@dataclass(frozen=True)
class Cost:
    """The cost of a network for one image of size x size px, in float32.

    flops: 2 x the multiply-accumulates of convolutions, linear layers, matrix products and attention.
    activation_bytes: the most that features take at once in inference. saved_bytes: what training keeps of one
    image for the backward pass. receptive_field: side in px; None: the whole image, 0: not measured (see
    `ushape.nets.field.receptive_field`). seconds: a forward pass on one thread, where it was asked for.
    """

    parameters: int
    flops: int
    activation_bytes: int
    saved_bytes: int
    receptive_field: int | None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cost(spec: Spec, in_channels: int = 3, classes: int = 5, size: int = 256, timed: bool = False) -> Cost:
    """The cost of a spec; SpecError where it cannot be built. `timed` also measures seconds, which are not kept."""
    counts = counted(spec, in_channels, classes, size)
    seconds = None
    if timed:
        from ushape.nets import count

        (seconds,) = count.seconds([spec], in_channels, classes, size)
    return Cost(**counts, receptive_field=receptive_field(spec), seconds=seconds)


def counted(spec: Spec, in_channels: int = 3, classes: int = 5, size: int = 256) -> dict[str, int]:
    """The fields of `Cost` that are counted: all but receptive field and seconds."""
    if size < 1:
        raise SpecError(f"size={size}: give at least 1 px")

    def compute() -> dict[str, int]:
        from ushape.nets.count import count

        return asdict(count(spec, in_channels, classes, size))

    counts: dict[str, int] = _kept(["counts", in_channels, classes, size], spec, compute)
    return counts


def sized(spec: Spec, in_channels: int = 3, classes: int = 5, size: int = 256) -> dict[str, int]:
    """`parameters` and `flops` of `Cost` alone, for tables of many networks."""

    def compute() -> dict[str, int]:
        from ushape.nets.count import count_size

        return count_size(spec, in_channels, classes, size)

    sizes: dict[str, int] = _kept(["sizes", in_channels, classes, size], spec, compute)
    return sizes


def receptive_field(spec: Spec) -> int | None:
    """`ushape.nets.field.receptive_field`, from the cache where it is known."""

    def compute() -> int | None:
        from ushape.nets import field

        return field.receptive_field(spec)

    side: int | None = _kept(["field"], spec, compute)
    return side


def match(
    spec: Spec, target: Spec | float, by: By = "params", in_channels: int = 3, classes: int = 5, size: int = 256
) -> Spec:
    """`spec` with all widths scaled by one factor, so that its cost is nearest `target`'s.

    target: a spec, or a number of parameters, FLOPs or seconds. Widths that double from level to level keep doing
    so where that comes close enough (2% for parameters and FLOPs, 10% for time); else each level is rounded to
    whole channels by itself. SpecError, with the nearest cost in reach, where nothing comes close enough.
    """
    if by not in ("params", "flops", "time"):
        raise SpecError(f"by={by!r}: give params, flops or time")
    if spec == target:
        return spec
    measure, wanted = _measure(target, by, in_channels, classes, size)
    if not wanted > 0:
        raise SpecError(f"target {target}: give more than 0 {_UNITS[by]}")
    tolerance, around = (0.1, 0) if by == "time" else (0.02, 6)
    tried: dict[Spec, float] = {}

    def off(made: Spec) -> float:
        """Relative distance to the target, negative below it."""
        if made not in tried:
            tried[made] = measure(made) / wanted - 1
        return tried[made]

    families = [_scaled(spec)]
    if spec.widths == tuple(spec.widths[0] * 2**i for i in range(spec.levels)):
        families.insert(0, _doubled(spec))
    for family, most in families:
        best = _search(family, most, off, around)
        if abs(off(best)) <= tolerance:
            return best
    best = min(tried, key=lambda made: (abs(tried[made]), made.name))
    raise SpecError(
        f"{spec}: no widths come within {tolerance:.0%} of {wanted:.6g} {_UNITS[by]}; "
        f"the nearest is {best}, with {(tried[best] + 1) * wanted:.6g}: change levels, depth or the target"
    )


_UNITS = {"params": "parameters", "flops": "FLOPs", "time": "seconds"}


def _measure(
    target: Spec | float, by: By, in_channels: int, classes: int, size: int
) -> tuple[Callable[[Spec], float], float]:
    """How to measure a spec, and what to aim at."""
    from ushape.nets import count

    def parameters(made: Spec) -> float:
        return count.count_parameters(made, in_channels, classes)

    def flops(made: Spec) -> float:
        return count.count_flops(made, in_channels, classes, size)

    def time(made: Spec) -> float:
        if not isinstance(target, Spec):
            return count.seconds([made], in_channels, classes, size)[0]
        mine, its = count.seconds([made, target], in_channels, classes, size)
        return mine / its

    measure = {"params": parameters, "flops": flops, "time": time}[by]
    if not isinstance(target, Spec):
        return measure, target
    return measure, 1.0 if by == "time" else measure(target)


def _doubled(spec: Spec) -> tuple[Callable[[int], Spec], int]:
    """Specs by their first width, each level twice as wide as the one above; and the widest of them."""
    factors = [2**i for i in range(spec.levels)]
    return lambda n: replace(spec, widths=tuple(n * f for f in factors)), _WIDEST // factors[-1]


def _scaled(spec: Spec) -> tuple[Callable[[int], Spec], int]:
    """Specs by twice the width of their widest level, the others in proportion; and the widest of them."""
    widest = max(spec.widths)

    def made(n: int) -> Spec:
        return replace(spec, widths=tuple(max(1, round(n * w / (2 * widest))) for w in spec.widths))

    return made, 2 * _WIDEST


_WIDEST = 8192


def _search(family: Callable[[int], Spec], most: int, off: Callable[[Spec], float], around: int) -> Spec:
    """The member nearest the target: bisection to where the cost crosses it, then the members around.

    Cost need not grow with every step (parts round their widths in ways of their own), hence the look around. A member
    that a plugin's part cannot be made for (its width has no 16 groups, say) counts as too small and is not taken.
    """
    failed: list[Exception] = []

    def distance(n: int) -> float:
        try:
            return off(family(n))
        except SpecError:
            raise
        except Exception as error:  # as many classes as plugins have authors
            failed.append(error)
            return -math.inf

    below, above = 0, 1
    while above < most and distance(above) < 0:
        below, above = above, min(2 * above, most)
    while above - below > 1:
        middle = (below + above) // 2
        if distance(middle) < 0:
            below = middle
        else:
            above = middle
    near = range(max(1, below - around), min(most, above + around) + 1)
    found = {n: distance(n) for n in near}
    best = min(near, key=lambda n: (abs(found[n]), family(n).widths))
    if math.isinf(found[best]):
        raise failed[-1]
    return family(best)


def _kept(what: list[object], spec: Spec, compute: Callable[[], Any]) -> Any:
    """compute(), or what it gave (or refused) when it was last asked about this spec with this code."""
    code = [_fingerprint(), *(_code_of(spec, axis) for axis in (*AXES, NETWORK))]
    if None in code:  # a modification whose source cannot be read: nothing would tell that it changed
        return compute()
    key = hashlib.sha256(json.dumps([what, spec.to_dict(), code]).encode()).hexdigest()[:24]
    path = cache_folder() / "costs" / f"{key}.json"
    try:
        kept = read_json(path)
        value, refused = kept["value"], kept["refused"]
    except (UshapeError, KeyError, TypeError):  # missing or damaged: counted again
        value = refused = None
        try:
            value = compute()
        except SpecError as error:  # kept as well: a table would import torch to find it out again
            refused = str(error)
        with suppress(UshapeError, OSError):  # a folder that cannot be written costs time, no more
            write_json(path, {"spec": spec.name, "what": what, "value": value, "refused": refused})
    if refused is not None:
        raise SpecError(refused)
    return value


@cache
def _fingerprint() -> str:
    """A hash of the code that builds networks: this package's folder, torch's version, and timm's where it is."""
    folder = Path(__file__).parent
    digest = hashlib.sha256(f"{_version('torch')} {_version('timm')}".encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _code_of(spec: Spec, axis: str) -> str | None:
    """A hash of a user's own modification: of the file it stands in; empty for one of ours, None if unreadable."""
    target = lookup(axis, spec.choice(axis).name).target
    if isinstance(target, str):
        return ""
    try:
        file = getsourcefile(target)
        if file and Path(file).resolve() in plugin.loaded():
            return plugin.loaded_hash(Path(file).resolve())
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (OSError, TypeError):
        return None
