"""`ushape robustness`: what degraded images cost trained networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ushape.commands.shared import check_mpp, console, say

if TYPE_CHECKING:
    from ushape.study.falls import Fall, Score


def robustness(options: argparse.Namespace) -> None:
    """Score networks on degraded ROIs of patients that they never saw; write and name table and figure."""
    from ushape.data.rois import find_rois
    from ushape.files import write_text
    from ushape.nets.device import pick_device
    from ushape.progress import Progress
    from ushape.report.robustness import draw
    from ushape.study.falls import table
    from ushape.study.robustness import finished, plan_sweep, run_sweep
    from ushape.threads import Lanes, cores

    device = pick_device(options.device)
    sweep = plan_sweep(options.networks, options.data, options.mpp, options.tta)
    check_mpp(options.mpp, [roi.name for roi in find_rois(options.data, options.mpp)])
    if sweep.left_out:
        say(
            f"note: scored on {len(sweep.rois)} ROIs; left out: {len(sweep.left_out)} patients whom a network "
            "saw in training or validation, or whom a study does not know"
        )
    bar = Progress("predictions of ROIs", sweep.units)
    bar.start(finished(sweep, options.out))
    with Lanes(options.threads or cores()) as lanes:
        try:
            rows = run_sweep(sweep, options.out, lanes, device, bar.update)
        finally:
            bar.stop()
    write_text(options.out / "robustness.csv", table(rows))
    figure = draw(options.out)
    _print(rows)
    say(f"figure: {figure}; all numbers: {options.out / 'robustness.csv'}")


def _print(rows: Sequence[Fall]) -> None:
    from rich.table import Table

    from ushape.predict.degrade import KINDS

    first = rows[0]
    title = f"pooled over {first.patients} patients; falls in points with 95% intervals over patients"
    heads = ["strength", "", "macro Dice", "fall", "accuracy", "fall"]
    made = Table("degradation", *heads, title=title, box=None, pad_edge=False)
    for column in made.columns[3:]:
        column.justify = "right"
    for key in dict.fromkeys((row.degradation, row.strength) for row in rows):
        for row in (row for row in rows if (row.degradation, row.strength) == key):
            strength = "" if row.strength is None else KINDS[row.degradation].show(row.strength)
            cells = [cell for score in (row.macro_dice, row.accuracy) for cell in _cells(score)]
            made.add_row(row.degradation, strength, row.arm, *cells)
    console().print(made)


def _cells(score: Score) -> tuple[str, str]:
    value = "–" if score.value is None else f"{score.value:.3f}"
    if score.fall is None:
        return value, ""
    bounds = "" if score.low is None or score.high is None else f" [{100 * score.low:+.1f}, {100 * score.high:+.1f}]"
    return value, f"{100 * score.fall:+.1f}{bounds}"
