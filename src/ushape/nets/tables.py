"""Tables of modifications and of networks: rows for JSON, and the same rows for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ushape.errors import SpecError
from ushape.nets.budget import cost, sized
from ushape.nets.registry import AXES, modifications
from ushape.nets.spec import Choice, Spec, parse
from ushape.nets.zoo import Published, published

REFERENCE = Spec(widths=(16, 32, 64, 128, 256))
"""The network that modifications are put on to show what they cost: unet[width=16]."""


def mods_table(axis: str | None = None, progress: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
    """One row for each modification, or for those of one axis; SpecError where there is no such axis.

    `parameters` and `flops` are those of the reference with that one change, over those of the reference itself
    (1.0: the same); None where the reference cannot carry the modification. `progress` is called after each row.
    """
    if axis is not None and axis not in AXES:
        raise SpecError(f"unknown axis {axis!r} (axes: {', '.join(AXES)})")
    base = sized(REFERENCE)
    rows: list[dict[str, Any]] = []
    for m in modifications(axis):
        default = REFERENCE.choice(m.axis).name == m.name
        relative: dict[str, float | None] = {"parameters": None, "flops": None}
        try:
            changed: dict[str, Any] = {m.axis: Choice(m.name)}
            counts = sized(replace(REFERENCE, **changed))
            relative = {key: counts[key] / base[key] for key in relative}
        except SpecError:
            pass
        row = {"name": m.name, "axis": m.axis, "default": default, "changes": m.summary}
        rows.append({**row, "paper": m.source, "year": year(m.source), **relative})
        progress()
    return rows


def nets_table(progress: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
    """One row for each published network, oldest first; `progress` is called after each.

    `params` and `flops` are ours, for `in_channels`, `classes` and an image of `size` x `size`; `published` is the
    count that `pin` names (None: none was published). `checked` says what of the network's faithfulness was tested.
    """
    rows = []
    for network in published():
        counts = sized(parse(network.name), network.in_channels, network.classes, network.size)
        row: dict[str, Any] = {"name": network.name, "title": network.title, "spec": network.spec}
        row |= {"paper": network.source, "year": year(network.source), "params": counts["parameters"]}
        row |= {"in_channels": network.in_channels, "classes": network.classes}
        row |= {"size": network.size, "flops": counts["flops"]}
        row |= {"published": network.parameters, "pin": network.pin, "checked": checked(network), "note": network.note}
        rows.append(row)
        progress()
    return sorted(rows, key=lambda row: row["year"] or 0)


def checked(network: Published) -> str:
    """What tests show of a network: where its parameter count stands, and whose outputs it gives."""
    if network.parameters is None:
        count = f"no count to compare with: {network.pin}"
    elif network.ours is None:
        count = f"parameters equal: {network.pin}"
    else:
        count = f"parameters differ from {network.parameters:,} ({network.pin})"
    return f"{count}; outputs equal to {network.parity}" if network.parity else count


def nets_markdown(rows: list[dict[str, Any]]) -> str:
    """Rows of `nets_table` as the table of docs/networks.md."""
    lines = ["| name | network | parameters | GFLOPs | checked |", "|---|---|---:|---:|---|"]
    for row in rows:
        network = f"**{row['title']}**, {row['paper']}"
        network += f"<br>`{row['spec']}`" if row["spec"] != row["name"] else "<br>a module of its own"
        network += f"<br>{row['note']}" if row["note"] else ""
        channels = f"{row['params']:,}<br>{row['in_channels']} → {row['classes']}"
        cells = [f"`{row['name']}`", network, channels, _giga(row), row["checked"]]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _giga(row: dict[str, Any]) -> str:
    """GFLOPs of a row of `nets_table`, with the size where it is not 256."""
    return _digits(row["flops"] / 1e9) + (f" at {row['size']}²" if row["size"] != 256 else "")


def cost_table(
    specs: Sequence[Spec], size: int = 256, classes: int = 5, in_channels: int = 3, timed: bool = True
) -> list[dict[str, Any]]:
    """One row for each spec: its name and the fields of its `Cost`; `seconds` only where `timed`.

    Seconds are measured now, all specs taking turns, so that the rows compare.
    """
    rows = []
    for spec in specs:
        row = {"name": spec.name, "size": size, **cost(spec, in_channels, classes, size).to_dict()}
        del row["seconds"]
        rows.append(row)
    if timed:
        from ushape.nets.count import seconds

        for row, taken in zip(rows, seconds(specs, in_channels, classes, size), strict=True):
            row["seconds"] = taken
    return rows


def year(source: str) -> int | None:
    """The year of a citation such as `Hu et al. 2018, arXiv:1709.01507`; None where it names none."""
    found = re.search(r"(?<![\d.:/])(?:19|20)\d\d(?![\d.])", source)
    return int(found[0]) if found else None


def show_mods(rows: list[dict[str, Any]]) -> Table:
    """Rows of `mods_table` for a rich console: an axis is a section, a * marks its default."""
    table = Table(box=box.SIMPLE_HEAD, caption=Text(f"x: of {REFERENCE.name} · *: the default"))
    for heading in ("axis", "modification", "what it changes"):
        table.add_column(heading, overflow="fold")
    for heading in ("parameters", "FLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("paper", overflow="fold", style="dim")
    shown = ""
    for row in rows:
        if row["axis"] != shown and shown:
            table.add_section()
        axis = row["axis"] if row["axis"] != shown else ""
        shown = row["axis"]
        name = row["name"] + " *" * row["default"]
        ratios = [_times(row[key]) for key in ("parameters", "flops")]
        table.add_row(axis, name, Text(row["changes"]), *ratios, Text(row["paper"]))
    return table


def show_nets(rows: list[dict[str, Any]]) -> Table:
    """Rows of `nets_table` for a rich console."""
    table = Table(box=box.SIMPLE_HEAD, caption="counts for the channels that the paper has; GFLOPs at 256² px")
    table.add_column("name", no_wrap=True)
    table.add_column("spec", overflow="fold")
    for heading in ("year", "parameters", "GFLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("checked", overflow="fold", style="dim")
    for row in rows:
        spec = row["spec"] if row["spec"] != row["name"] else "a module of its own"
        cells = [str(row["year"] or "-"), f"{row['params']:,}", _giga(row)]
        table.add_row(row["name"], Text(spec), *cells, Text(row["checked"]))
    return table


def show_costs(rows: list[dict[str, Any]]) -> Table:
    """Rows of `cost_table` for a rich console."""
    sizes = {row["size"] for row in rows}
    caption = f"one image of {'/'.join(map(str, sorted(sizes)))}² px in float32; "
    caption += "FLOPs are 2 x multiply-accumulate; speed on one core"
    table = Table(box=box.SIMPLE_HEAD, caption=caption if rows else None)
    table.add_column("network", overflow="fold")
    timed = any("seconds" in row for row in rows)
    for heading in ("parameters", "GFLOPs", "field, px", "memory", "to train", *(["speed"] if timed else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        field = "global" if row["receptive_field"] is None else str(row["receptive_field"] or "–")
        cells = [f"{row['parameters']:,}", _digits(row["flops"] / 1e9), field]
        cells += [memory(row["activation_bytes"]), memory(row["saved_bytes"])]
        table.add_row(Text(row["name"]), *cells, *([_speed(row)] if timed else []))
    return table


def _speed(row: dict[str, Any]) -> str:
    """Image pixels a second of a row of `cost_table`."""
    return f"{row['size'] ** 2 / row['seconds'] / 1e6:.2g} Mpx/s"


def memory(count: int) -> str:
    """Bytes as people read them: 33.3 MB."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while power + 1 < len(units) and count / 1000**power >= 999.5:
        power += 1
    return f"{_digits(count / 1000**power)} {units[power]}" if power else f"{count} B"


def _digits(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"x {ratio:.2f}"
