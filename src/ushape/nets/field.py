"""The receptive field of a network, measured: how much of the image one output pixel depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ushape.nets.registry import AXES, lookup
from ushape.nets.spec import Choice, Spec
from ushape.nets.unet import Network, build

LEVELS = 7
"""Networks with more levels are not measured: the time grows with 8^levels."""

LIMIT = 4096
"""A dependence over more px than this counts as global."""


WIDE = ("rolling-unet",)
"""Networks that look as far as they have channels: thousands of px."""


def receptive_field(spec: Spec) -> int | None:
    """Side in px of the square of the image that one output pixel depends on; None: the whole image, 0: not measured.

    NaN in one column of the image makes NaN of all that depends on it, and of nothing else: which output columns a
    column reaches is measured for each place in the coarsest grid, and turned round. The field of an output pixel
    differs with its place; the largest is given. Rows count where they reach further than columns. The norm of the
    spec is left out (the statistics of some span the image, which is not what a field describes), one that a part
    brings of its own is not; widths are cut, as the field does not depend on them. That of Rolling-UNet does, whose
    every channel looks further than the one before: it counts as global, as do parts that treat no two places alike.
    Nothing is measured for more than `LEVELS` levels.
    """
    if spec.levels > LEVELS:
        return 0
    if spec.network.name in WIDE:
        return None
    net = thin_network(spec)
    try:  # double: fast convolutions of single precision (Winograd's) let NaN leak to where nothing depends on it
        return _sides(net.double())
    except RuntimeError:  # a part that makes single-precision values of its own
        return _sides(net.float())


def thin_network(spec: Spec, norm: bool = False) -> Network:
    """The network of `thinned`; with the spec's own widths where a plugin's part cannot be made of so few channels."""
    made = thinned(spec, norm)
    try:
        return build(made, 1, 1, seed=0).eval()
    except Exception:  # as many classes as plugins have authors
        return build(replace(made, widths=spec.widths), 1, 1, seed=0).eval()


def thinned(spec: Spec, norm: bool = False) -> Spec:
    """The spec with few channels, padding and biases as usual, no dropout, and its norm only where `norm`."""
    if spec.network.name != "unet":
        return _narrow(spec)
    width = max(8, _most_branches(spec) * max(2, spec.depth))  # no branch of a part that shares out channels is empty
    plain: dict[str, Any] = {axis: Spec().choice(axis) for axis in ("padding", "bias") if axis in AXES}
    plain |= {"dropout": 0.0, "widths": tuple(min(w, width) for w in spec.widths)}
    return replace(spec, **plain) if norm else replace(spec, **plain, norm=Choice("none"))


def _narrow(spec: Spec) -> Spec:
    """A network that leaves the U, its widths scaled so that the least is about 4."""
    factor = min(1.0, 4 / min(spec.widths))
    return replace(spec, widths=tuple(max(2, round(w * factor)) for w in spec.widths))


def _sides(net: Network) -> int | None:
    side = _side(net, rows=False)
    if side is None or _same(net, side):
        return side
    other = _side(net, rows=True)
    return None if other is None else max(side, other)


def _same(net: Network, side: int) -> bool:
    """Whether rows reach as far as columns do, as in networks without strips or axes of their own."""
    middle, length = side + 1, 2 * side + 2
    columns = [middle, middle + 1]
    return torch.equal(_reached(net, columns, length, rows=False), _reached(net, columns, length, rows=True))


def _side(net: Network, rows: bool) -> int | None:
    """The field along columns (or rows) in px; None where it is global."""
    period = net.multiple
    length = max(64, 8 * period)
    while True:  # an image long enough that its ends are not reached from its middle
        reached = _reached(net, [length // 2], length, rows)[0]
        if not (reached[0] or reached[-1]):
            break
        length *= 2
        if length > LIMIT:
            return None
    middle = length // 2
    repeats = _reached(net, [middle + k * period for k in range(17)], length + 16 * period, rows)
    alike = [k for k in range(1, 17) if torch.equal(repeats[k], repeats[0].roll(k * period))]
    if not alike:
        return None
    period *= alike[0]  # windows of attention, for one, repeat over several coarsest pixels
    span = int(reached.nonzero()[-1] - reached.nonzero()[0]) + 1
    length = -(-(span + 4 * period) // period) * period + period
    start = length // 2 // period * period
    reach = _reached(net, list(range(start, start + period)), length, rows)  # [period, length]
    if reach[:, 0].any() or reach[:, -1].any():
        return None
    column, output = reach.nonzero(as_tuple=True)  # pairs: input column `start` + column reaches this output column
    place, offset = output % period, column - output
    first = torch.full((period,), length).scatter_reduce(0, place, offset, "amin")
    last = torch.full((period,), -length).scatter_reduce(0, place, offset, "amax")
    return int((last - first).max()) + 1


@torch.no_grad()
def _reached(net: Network, columns: list[int], length: int, rows: bool) -> Tensor:
    """Which output columns depend on each of the given columns: bool [columns, length]."""
    height = net.multiple  # the least that needs no padding
    found = []
    at_once = max(1, 400_000 // (height * length))
    for first in range(0, len(columns), at_once):
        some = columns[first : first + at_once]
        image = torch.zeros(len(some), 1, height, length, dtype=next(net.parameters()).dtype)
        image[torch.arange(len(some)), :, :, torch.tensor(some)] = torch.nan
        scores = net(image.transpose(2, 3) if rows else image)
        assert isinstance(scores, Tensor)  # a network in evaluation gives the finest level alone
        found.append(scores.isnan().any(3 if rows else 2)[:, 0])
    return torch.cat(found)


def _most_branches(spec: Spec) -> int:
    """Of the spec's modifications, the longest list among their options, as dilations, or number of shifts."""
    most = 0
    for axis in AXES:
        choice = spec.choice(axis)
        options = {**lookup(axis, choice.name).options, **dict(choice.options)}
        lengths = (len(v) if isinstance(v, tuple) else v if k == "shifts" else 0 for k, v in options.items())
        most = max([most, *(int(length) for length in lengths)])
    return most
