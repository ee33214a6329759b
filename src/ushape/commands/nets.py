"""`ushape mods`, `nets`, `cost`, `draw` and `match`: networks without data."""

from __future__ import annotations

import argparse

from ushape.commands.shared import Bar, check_output, say, show
from ushape.errors import SpecError


def mods(options: argparse.Namespace) -> None:
    """List every modification."""
    from ushape.nets.registry import modifications
    from ushape.nets.tables import mods_table, show_mods

    with Bar("modifications", len(modifications(options.axis))) as advance:  # slow where costs are not cached yet
        rows = mods_table(options.axis, advance)
    show(rows, show_mods, options.json)


def nets(options: argparse.Namespace) -> None:
    """List every published network."""
    from ushape.nets.tables import nets_table, show_nets
    from ushape.nets.zoo import published

    with Bar("networks", len(published())) as advance:
        rows = nets_table(advance)
    show(rows, show_nets, options.json)


def cost(options: argparse.Namespace) -> None:
    """What networks cost."""
    from ushape.nets.spec import parse
    from ushape.nets.tables import cost_table, show_costs

    specs = [parse(text) for text in options.specs]
    show(cost_table(specs, options.size, options.classes, timed=not options.no_time), show_costs, options.json)


def draw(options: argparse.Namespace) -> None:
    """Draw a network."""
    from ushape.files import write_text
    from ushape.nets.draw import draw as draw_network
    from ushape.nets.spec import parse

    check_output(options.out, ".svg")
    if options.out.suffix.lower() != ".svg":
        raise SpecError(f"{options.out}: a diagram is SVG: end the name in .svg")
    write_text(options.out, draw_network(parse(options.spec), classes=options.classes, size=options.size))
    say(f"diagram: {options.out}")


def match(options: argparse.Namespace) -> None:
    """Find the width at which a network costs what another does."""
    from ushape.nets.budget import match as match_cost
    from ushape.nets.spec import parse

    print(match_cost(parse(options.spec), parse(options.to), options.by).name)
