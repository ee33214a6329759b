"""`ushape reproduce`: the systems this project started from, as their papers describe them."""

from __future__ import annotations

import argparse
from typing import Any

from ushape.commands.shared import console, say
from ushape.errors import RunError


def unet2015(options: argparse.Namespace) -> None:
    """U-Net 2015 on membranes in electron micrographs."""
    from dataclasses import replace

    from ushape.nets.device import pick_device
    from ushape.reproduce.unet2015.reproduction import Question, reproduce
    from ushape.reproduce.unet2015.settings import FULL_WIDTH, Settings
    from ushape.reproduce.unet2015.stack import read_stack
    from ushape.threads import Lanes

    settings = Settings(width=FULL_WIDTH) if options.full else Settings()
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    question = Question(options.data, settings, options.seeds, options.ablate, options.validate)
    device = pick_device(options.device)
    stack = read_stack(options.data)
    with Lanes(1), _Bars() as watch:
        made = reproduce(question, stack, options.out, device, watch)
    _print_unet2015(made)
    say(f"all numbers: {options.out / 'results.json'}")


def degradation(options: argparse.Namespace) -> None:
    """Training loss against depth, plain and residual."""
    from ushape.commands.shared import StudyBars
    from ushape.data.phantom import write_phantom
    from ushape.files import write_json
    from ushape.nets.device import pick_device
    from ushape.reproduce.degradation import CONFIDENCE, sweep, verdicts
    from ushape.reproduce.depth_figure import draw

    device = pick_device(options.device).type
    data = options.data
    for file in ("run.yaml", "study.yaml"):
        if (options.out / file).exists():
            raise RunError(f"{options.out} belongs to a run or study ({file}): choose another --out")
    if data is None:
        data = [options.out / "data" / "phantom"]
        write_phantom(data[0], patients=12, seed=0)
        say("on the phantom; real tissue with --data PHANTOM BCSS")
    with StudyBars(options.out, options.steps) as watch:
        points = sweep(data, options.out, options.seeds, options.steps, options.jobs, watch, device)
    rows = verdicts(points)
    made = {"confidence": CONFIDENCE, "networks": [vars(p) | {"spec": p.spec} for p in points], "changes": rows}
    write_json(options.out / "results.json", made)
    draw(points, options.out / "loss-against-depth.svg")
    _print_degradation(rows)
    say(f"figure: {options.out / 'loss-against-depth.svg'}; all numbers: {options.out / 'results.json'}")


def _print_degradation(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    title = "difference of the training loss at the end; mean and interval over seeds"
    table = Table("data", "normalisation", "", "difference", title=title, box=None, pad_edge=False)
    for row in rows:
        told = "a run diverged" if row["difference"] is None else _cell(row | {"mean": row["difference"]}, "+.3f")
        table.add_row(row["data"], row["norm"], row["what"], told)
    console().print(table)


def seed_experiments(options: argparse.Namespace) -> None:
    """The author's ten networks, matched and compared as one study, beside their published accuracies."""
    from ushape.commands.study import run_arms
    from ushape.data.rois import find_rois
    from ushape.files import read_json, write_json
    from ushape.reproduce.seed_experiments import (
        agreement,
        check_rois,
        compare,
        confusion_as_printed,
        read_published,
        specs,
    )

    if options.match != "flops":
        raise RunError(f"--match {options.match}: the ten are compared at equal FLOPs: leave it out")
    published = read_published(options.data)
    check_rois(published, [roi.name for roi in find_rois(options.data, options.mpp)])
    run_arms(options, specs())
    results = read_json(options.out / "results.json")
    rows = compare(published, results)
    rank, p = agreement(rows)
    made = {
        "networks": [vars(row) for row in rows],
        "rank_correlation": {"spearman": rank, "p": p},
        "confusion": confusion_as_printed(results),
    }
    write_json(options.out / "published.json", made)
    _print_seed_experiments(rows)
    say(f"rank correlation of the ten mean accuracies, published and ours: {rank:+.2f} (p {p:.2g})")
    file = options.out / "published.json"
    say(f"accuracies by ROI, and confusion matrices as the author printed them: {file}")


def _print_seed_experiments(rows: Any) -> None:
    from rich.table import Table

    heads = ["published", "minus U-Net", "ours", "minus U-Net"]
    title = "mean pixel accuracy over the ROIs; differences with their 95% interval over ROIs, paired"
    table = Table("network", *heads, title=title, box=None, pad_edge=False)
    for row in rows:
        theirs, own = (
            "" if d is None else f"{d[0]:+.3f} [{d[1]:+.3f}, {d[2]:+.3f}]"
            for d in (row.published_difference, row.difference)
        )
        table.add_row(row.network, f"{row.published:.3f}", theirs, f"{row.ours:.3f}", own)
    console().print(table)


class _Bars:
    """A bar for each piece of work, one after the other."""

    def __init__(self) -> None:
        from ushape.progress import Progress

        self._make = Progress
        self._progress: Progress | None = None
        self._what = ""

    def __enter__(self) -> _Bars:
        return self

    def __call__(self, what: str, done: int, of: int) -> None:
        if self._progress is None or what != self._what:
            self.__exit__()
            self._what, self._progress = what, self._make("done", of)
            self._progress.start(done)
        self._progress.update(done, what)

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()


def _print_unet2015(made: dict[str, Any]) -> None:
    from rich.table import Table

    names = {"v_rand": "V rand", "v_info": "V info", "pixel_error": "pixel error"}
    rules = {"training": "threshold of the training slices", "challenge": "best threshold of the scored slices"}
    percent = round(100 * made["confidence"])
    slices = f"{len(made['slices']['test'])} slices ({made['slices']['test'][0]} to {made['slices']['test'][-1]})"
    for rule, words in rules.items():
        title = f"{slices}, {words}; mean and {percent}% interval over slices"
        table = Table("", *names.values(), title=title, box=None, pad_edge=False)
        for arm, scores in made["arms"].items():
            table.add_row(arm, *(_cell(scores[rule][metric], ".4f") for metric in names))
        for arm, differences in made["differences"].items():
            table.add_row(f"paper minus {arm}", *(_cell(differences[rule][metric], "+.4f") for metric in names))
        console().print(table)


def _cell(value: dict[str, float], form: str) -> str:
    return f"{value['mean']:{form}} [{value['low']:{form}}, {value['high']:{form}}]"
