"""`ushape study status`, `resume` and `power`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ushape.commands.shared import console, say, several

if TYPE_CHECKING:
    from ushape.study.planning import Outlook
    from ushape.study.status import Status


def status(options: argparse.Namespace) -> None:
    """Tell how far a study is."""
    from ushape.study.status import read_status

    found = read_status(options.study)
    _table(found)
    for part in found.parts:
        if part.state == "failed":
            say(f"failed: {part.folder}: {part.why}")
    working = [part for part in found.parts if part.state == "at work"]
    for part in working:
        say(f"at work: {part.folder}, step {part.steps:,} of {part.total:,}")
    left, spent = found.seconds_left, f"{_time(found.seconds)} of training done"
    if all(part.state == "finished" for part in found.parts):
        say(f"all runs finished; {spent}")
    elif left is None:
        say("nothing has been trained yet: the time left is unknown")
    elif working:
        say(f"{spent}; about {_time(left / len(working))} left with {len(working)} at work")
    else:
        say(f"{spent}; about {_time(left)} left on one core")
    if not working and any(part.state != "finished" for part in found.parts):
        say(f"nothing is at work: `ushape study resume {options.study}` goes on")


def _table(found: Status) -> None:
    from rich.table import Table

    from ushape.study.status import STATES

    kinds = [("", False)] if not any(part.is_search for part in found.parts) else [("searches", True), ("runs", False)]
    table = Table("", *STATES, "steps", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, is_search in kinds:
        for arm in found.arms:
            own = [part for part in found.parts if part.arm == arm and part.is_search is is_search]
            counts = [str(found.count(state, arm, is_search)) for state in STATES]
            steps = f"{sum(p.steps for p in own):,} of {sum(p.total for p in own):,}"
            table.add_row(f"{arm} {kind}".strip(), *counts, steps)
    console().print(table)


def _time(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.1f} min"


def resume(options: argparse.Namespace) -> None:
    """Go on with a study as its folder says, then write and name its report."""
    from ushape.commands.study import go_on
    from ushape.nets.device import pick_device
    from ushape.study.cluster import pick_engine
    from ushape.study.folder import open_study, read_study
    from ushape.study.unchanged import check_unchanged, load_copies

    engine = pick_engine(options.engine, options.address)
    load_copies(options.study)
    study = read_study(options.study)
    check_unchanged(study, options.study)
    open_study(options.study, study)
    go_on(study, options.study, options.jobs, pick_device(options.device).type, engine)


def power(options: argparse.Namespace) -> None:
    """Tell what a finished study can see, and what larger ones could."""
    from ushape.study.planning import outlook

    found = outlook(options.study, options.difference / 100, options.power)
    what = "effects" if found.of_effects else "comparisons"
    level = "5%" if found.contrasts == 1 else f"5% / {found.contrasts} {what}, to be safe under Holm"
    folds = several(found.folds, "fold")
    size = f"{found.patients} patients, {folds}, {several(found.seeds, 'seed')}"
    of = "effects on pooled macro Dice" if found.of_effects else "pooled macro Dice against the first arm"
    say(f"{of}; two-sided test at {level}")
    if found.parts is None or found.chance is None:
        say(f"this study ({size}) sees, at best, a difference of {100 * found.visible:.1f} points with a power of")
        say(f"{found.wanted:g}: that is if a run's luck (its seed) made no difference at all, which one seed cannot")
        say("show. What a run's luck costs, and so how many seeds or patients are enough, cannot be told from it:")
        say("run at least two seeds")
        return
    say(
        f"this study ({size}) sees a difference of {100 * found.visible:.1f} points with a power of {found.wanted:g}; "
        f"one of {100 * found.difference:g} points it sees with a chance of {found.chance:.0%}"
    )
    spread = {name: 100 * getattr(found.parts, name) ** 0.5 for name in ("patient", "seed", "rest")}
    say(
        f"standard deviation of the difference: {spread['patient']:.1f} points between patients, {spread['seed']:.1f} "
        f"between runs of a fold, {spread['rest']:.1f} left"
    )
    _power_table(found, folds)


def _power_table(found: Outlook, folds: str) -> None:
    from rich.table import Table

    sizes = list(found.rows[0].visible)
    heads = [f"{n:,} patients" for n in sizes]
    title = f"smallest difference seen with a power of {found.wanted:g}, in points, with {folds}"
    table = Table("seeds", *heads, f"patients for {100 * found.difference:g} points", title=title, box=None)
    for column in table.columns:
        column.justify = "right"
    for row in found.rows:
        needed = "no number" if row.needed is None else f"{row.needed:,}"
        table.add_row(str(row.seeds), *(f"{100 * row.visible[n]:.1f}" for n in sizes), needed)
    console().print(table)
