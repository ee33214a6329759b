"""`ushape lits`: Han's cascade for liver and lesions in CT volumes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ushape.commands.shared import Bar, check_output, console, say
from ushape.errors import DataError


def phantom(options: argparse.Namespace) -> None:
    """Write CT volumes of a computed abdomen."""
    from ushape.lits.phantom.write import write_phantom

    with Bar("volumes", options.volumes) as advance:
        write_phantom(options.folder, options.volumes, options.seed, options.size, options.pixel, advance)
    say(f"{options.volumes} volumes with labels: {options.folder}")


def prepare(options: argparse.Namespace) -> None:
    """Check a folder and make the arrays that training reads."""
    from ushape.lits.folder import find_cases
    from ushape.lits.prepare import prepare as prepare_folder

    cases = find_cases(options.data)
    with Bar("volumes", len(cases)) as advance:
        names = prepare_folder(options.data, options.out, advance)
    _note_unplaced([case.volume for case in cases])
    say(f"prepared {len(names)} volumes: {options.out}")


def train(options: argparse.Namespace) -> None:
    """Train the two networks."""
    from ushape.lits.recipe import STAGES, read_recipe
    from ushape.lits.train import train_cascade
    from ushape.nets.device import pick_device
    from ushape.threads import Lanes, cores

    recipe = read_recipe(options.full, options.slices, options.set or [])
    device, steps = pick_device(options.device), sum(recipe.steps(stage) for stage in STAGES)
    with Lanes(options.threads or cores()) as lanes, Bar("steps", steps, "loss") as advance:
        train_cascade(options.prepared, options.out, recipe, options.seed, lanes, device, advance, options.save_every)
    say(f"trained networks: {options.out}")


def predict(options: argparse.Namespace) -> None:
    """Label volumes."""
    from ushape.lits.cascade import Cascade
    from ushape.lits.folder import find_cases, labels_name
    from ushape.nets.device import pick_device
    from ushape.threads import Lanes, cores

    paths: list[Path] = []
    for given in options.volumes:
        paths += [case.volume for case in find_cases(given, labelled=False)] if given.is_dir() else [given]
    outs = {labels_name(path): path for path in paths}
    if len(outs) < len(paths):
        raise DataError(
            "two of these volumes have one name and would overwrite each other's labels: predict them apart"
        )
    with Lanes(options.threads or cores()) as lanes, Bar("% of a volume", 100 * len(outs)) as advance:
        cascade = Cascade(options.run, pick_device(options.device), lanes)
        cascade.predict_all(outs, options.out, lambda share: advance(int(100 * len(outs) * share)))
    _note_unplaced(paths)
    say(f"labels of {len(outs)} volumes: {options.out}")


def score(options: argparse.Namespace) -> None:
    """Score predicted labels, and compare them with others."""
    from ushape.files import write_json
    from ushape.lits.compare import ahead
    from ushape.lits.folder import find_cases
    from ushape.lits.score import ORGANS, each_case, score_folder, summary

    check_output(options.json, ".json")
    folders = [options.predicted, *([options.against] if options.against else [])]
    cases = find_cases(options.data)
    with Bar("volumes", len(cases) * len(folders)) as advance:
        scores = [score_folder(options.data, folder, advance) for folder in folders]
    _note_unplaced([case.volume for case in cases])
    for folder, made in zip(folders, scores, strict=True):
        _show(str(folder), summary(made))
    content: dict[str, object] = {"data": str(options.data), "predicted": str(options.predicted)}
    content |= {"summary": summary(scores[0]), "volumes": each_case(scores[0])}
    if options.against and len(scores[0]) < 2:
        say(f"{options.data}: a single volume: what one prediction is ahead by has no interval")
    elif options.against:
        found = {organ: ahead(scores[0], scores[1], organ) for organ in ORGANS}
        content |= {"against": str(options.against), "ahead": {organ: vars(a) for organ, a in found.items()}}
        for organ, a in found.items():
            say(
                f"{organ} Dice per case, {options.predicted} minus {options.against}: {a.difference:+.4f}, "
                f"95% interval {a.low:+.4f} to {a.high:+.4f}, p = {a.p:.4f}; higher in {a.better} of {a.volumes}"
            )
    if options.json:
        write_json(options.json, content)


def _note_unplaced(volumes: Sequence[Path]) -> None:
    from ushape.lits.volumes import is_placed

    if lost := [path.name for path in volumes if not is_placed(path)]:
        say(
            f"note: the headers of {len(lost)} volumes do not place them in space ({', '.join(lost)}): their "
            "voxels are taken as cubes of 1 mm, and distances in them are as wrong as that is"
        )


def _show(title: str, made: dict[str, dict[str, object]]) -> None:
    from rich.table import Table

    heads = {"dice_per_case": "Dice per case", "dice_global": "Dice global", "voe": "VOE", "rvd": "RVD"}
    heads |= {"assd": "ASSD mm", "mssd": "MSSD mm"}
    table = Table("", *heads.values(), "volumes with a Dice", title=title, box=None, pad_edge=False)
    for organ, scores in made.items():
        volumes = scores["volumes"]
        assert isinstance(volumes, dict)
        values = [f"{v:.3f}" if isinstance(v := scores[key], float) else "–" for key in heads]
        table.add_row(organ, *values, str(volumes["dice"]))
    console().print(table)
