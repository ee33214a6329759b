"""What commands share: the recipe that was asked for, tables and progress on a terminal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ushape.errors import DataError, RecipeError, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from ushape.data.rois import Roi
    from ushape.train.recipe import Recipe


def read_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of --recipe, --set and --steps, its precision settled for --device.

    A cluster's nodes tell for themselves whether they compute it (see `ushape.study.cluster`).
    """
    from dataclasses import replace

    from ushape.files import read_yaml
    from ushape.nets.device import pick_device, pick_precision, training_precision
    from ushape.train.recipe import Recipe, make_recipe, read_settings, with_full_paths

    recipe = Recipe()
    if options.recipe:
        recipe = make_recipe(read_yaml(options.recipe), recipe, str(options.recipe))
    settings = read_settings(options.set or [])
    if options.steps is not None:
        if "steps" in settings:
            raise RecipeError("--steps and --set steps= both set the steps: keep one of them")
        settings["steps"] = options.steps
    recipe = with_full_paths(make_recipe(settings, recipe, "--set"))
    settle = pick_precision if getattr(options, "engine", "local") == "ray" else training_precision
    return replace(recipe, precision=settle(recipe.precision, pick_device(options.device)))


def training_threads(asked: int | None, shards: int) -> int:
    """Threads that a training takes: one a core, and no more than a step has shards; RunError where more are asked."""
    from ushape.threads import cores

    if asked is not None and asked > shards:
        raise RunError(
            f"--threads {asked}: a step of {shards} shards takes {shards} at most: give so many, or other --set shards="
        )
    return min(asked or cores(), shards)


def check_mpp(mpp: float | None, names: Iterable[str]) -> None:
    """DataError where --mpp has no effect, as the names of all images give their pixel size."""
    from ushape.data.rois import named_pixel_size

    if mpp is not None and None not in map(named_pixel_size, names):
        raise DataError(f"--mpp {mpp:g} has no effect: the names of all images give their pixel size: leave it out")


def check_output(path: Path | None, suffix: str) -> None:
    """RunError, before any work, where a result cannot go to this file, or would replace one of another kind."""
    if path is None:
        return
    if path.is_dir():
        raise RunError(f"{path}: is a folder: name a file in it, as {path / f'name{suffix}'}")
    if path.exists() and (not path.is_file() or path.suffix.lower() not in (suffix, "")):
        raise RunError(f"{path}: is there already and no {suffix} file: name another one")
    there = next(each for each in path.absolute().parents if each.exists())
    if not os.access(there, os.W_OK):
        raise RunError(f"{path}: {there} cannot be written: have it allowed, or name another place")


def show(rows: list[dict[str, Any]], table: Any, as_json: bool) -> None:
    """Rows as a table, or as a list of objects."""
    import json

    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        console().print(table(rows))


def print_scores(rows: dict[str, dict[str, Any]], grouping: str) -> None:
    """A table of scores: pooled and per ROI, then Dice of each class."""
    from rich.table import Table

    first = next(iter(rows.values()))
    classes = list(first["pooled"]["dice"])
    heads = ["macro Dice", "accuracy", "per ROI: macro Dice", "accuracy", *classes]
    table = Table("", *heads, title=f"{grouping}, pooled over pixels unless it says per ROI", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, made in rows.items():
        values = [made[part][key] for part in ("pooled", "per_roi") for key in ("macro_dice", "accuracy")]
        values += [made["pooled"]["dice"][c] for c in classes]
        table.add_row(name, *("–" if v is None else f"{v:.3f}" for v in values))
    console().print(table)


def console() -> Console:
    """The terminal, to which brackets and colons in the name of a file or a spec mean nothing."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    console().print(text, soft_wrap=True)


class Bar:
    """A progress bar with the time left, on stderr; without a terminal, a line every half minute."""

    def __init__(self, unit: str, total: int, value: str = "") -> None:
        self.unit, self.total, self.value = unit, total, value

    def __enter__(self) -> Bar:
        from ushape.progress import Progress

        self._progress = Progress(self.unit, self.total)
        self._progress.start()
        return self

    def __call__(self, done: int | None = None, value: float | None = None) -> None:
        shown = f"{self.value} {value:.3f}" if self.value and value is not None and value == value else ""
        self._progress.update(done, shown)

    def of(self, done: int, total: int) -> None:
        """So many are done, of a total that was not known before."""
        self._progress.update(done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def read_all(rois: Sequence[Roi], mpp: float, normalise: str) -> None:
    """Decode ROIs into the cache, with progress: what opens them later finds them there, and no wrong file comes late.

    Says which of them are enlarged so far that they show little. DataError where one cannot be used.
    """
    from ushape.data.rois import check_coarseness, open_pixels

    notes = [note for roi in rois if (note := check_coarseness(roi.image, roi.mpp, mpp))]
    with Bar("ROIs read", len(rois)) as advance:
        for roi in rois:
            open_pixels(roi, mpp, normalise)
            advance()
    for note in notes[:3]:
        say(f"note: {note}")
    if len(notes) > 3:
        say(f"note: {len(notes) - 3} more images are enlarged as far")


class StudyBars:
    """Progress of a study: all steps of all runs (or searches, say), with what is at work now."""

    def __init__(self, folder: Path, steps: int, what: str = "runs") -> None:
        self.folder, self.steps, self.what = folder, steps, what

    def __enter__(self) -> Any:
        from ushape.progress import Progress

        self._progress: Progress | None = None

        def watch(state: Any) -> None:
            if self._progress is None:
                self._progress = Progress("steps", state.trainings * self.steps)
                self._progress.start(done=sum(state.steps.values()))
            at_work = ", ".join(str(run.relative_to(self.folder)) for run in state.working)
            failed = f", {len(state.failed)} failed" if state.failed else ""
            held = f"; {state.note}" if state.note else ""
            shown = f"{len(state.finished)} of {state.total_runs} {self.what} done{failed}; {at_work}{held}"
            self._progress.update(sum(state.steps.values()), shown)

        return watch

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()


def several(count: int, thing: str) -> str:
    """`1 fold`, `2 folds`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
