"""`ushape measure`: what tissue finished predictions found."""

from __future__ import annotations

import argparse
from typing import Any

from ushape.commands.shared import Bar, check_output, console, say
from ushape.errors import RunError


def measure(options: argparse.Namespace) -> None:
    """Print, and write where asked, the composition of predicted slides."""
    from ushape.files import write_json
    from ushape.predict.composition import row, write_composition_csv
    from ushape.predict.measure import find_predictions
    from ushape.predict.measure import measure as measured

    check_output(options.csv, ".csv")
    check_output(options.json, ".json")
    if options.csv and options.json and options.csv.resolve() == options.json.resolve():
        raise RunError(f"{options.csv}: --csv and --json are one file: name two")
    folders, unfinished = find_predictions(options.folders)
    with Bar("slides", len(folders)) as advance:
        made = measured(folders, options.inside, advance)
    rows = []
    for (slide, annotation), composition in made.compositions.items():
        place: dict[str, Any] = {"slide": slide}
        if options.inside:
            place |= {"annotation": annotation, "region_mm2": made.region[slide, annotation]}
        rows.append((place, composition))
    console().print(_table(made.grouping, rows))
    if unfinished:
        say(f"note: not finished, and left out: {len(unfinished)} ({', '.join(each.name for each in unfinished)})")
    if made.without_area:
        say(f"{made.without_area} points or lines, which have no area, were passed over")
    if options.csv:
        write_composition_csv(options.csv, [place | row(composition) for place, composition in rows])
    if options.json:
        found = [place | composition for place, composition in rows]
        write_json(options.json, {"grouping": made.grouping, "rows": found})


def _table(grouping: str, rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    from rich.table import Table

    places, first = [key for key in ("slide", "annotation") if key in rows[0][0]], rows[0][1]
    title = f"{grouping}: tissue in mm², classes in % of it; ratios as docs/slide-results.md defines them"
    heads = [*places, "tissue", *first["classes"], "tumor-stroma ratio", "inflammatory share of stroma"]
    table = Table(*heads, title=title, box=None, pad_edge=False)
    for column in table.columns[len(places) :]:
        column.justify = "right"
    for place, made in rows:
        shares = [_percent(entry["share"]) for entry in made["classes"].values()]
        ratios = [_percent(made[key]) for key in ("tumor_stroma_ratio", "inflammatory_share_of_stroma")]
        table.add_row(*(place[key] for key in places), f"{made['tissue_mm2']:.3f}", *shares, *ratios)
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
