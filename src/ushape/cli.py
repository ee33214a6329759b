"""The command line: one thin function per command. Nothing here computes; everything here is importable elsewhere."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ushape import __version__
from ushape.errors import DataError, RecipeError, RunError, UshapeError

if TYPE_CHECKING:
    from rich.console import Console

    from ushape.data.rois import Roi
    from ushape.data.splits import Fold
    from ushape.train.recipe import Recipe
    from ushape.train.run import RunPlan

TTA_NAMES = ("none", "flips", "d4")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 something given was wrong (told in one line), 130 interrupted."""
    # before numpy and torch are imported: see ushape.threads
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    options = _parser().parse_args(arguments)
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        code = options.function(options)
    except UshapeError as error:
        print(f"ushape: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("ushape: interrupted; what was done is kept: the same command goes on from there", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code or 0)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


# -- commands --------------------------------------------------------------------------------------------------------


def data_phantom(options: argparse.Namespace) -> None:
    """Write the procedural tissue."""
    from ushape.data.phantom import write_phantom

    with _bar("ROIs", options.patients) as advance:
        written = write_phantom(
            options.folder,
            options.patients,
            options.seed,
            options.size,
            options.mpp,
            progress=lambda _: advance(),
        )
    _say(f"wrote {len(written)} ROIs of {options.patients} patients to {options.folder}")


def data_check(options: argparse.Namespace) -> int:
    """List what is wrong with a folder."""
    from ushape.data.check import Inventory, check_folder
    from ushape.data.classes import grouping

    inventory, findings = Inventory(), 0
    for finding in check_folder(options.folder, options.mpp, inventory):
        findings += 1
        print(f"{finding.about}: {finding.problem}")
    groups = grouping(options.grouping)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in inventory.shares(groups).items())
    print(f"{inventory.images} ROIs of {inventory.patients} patients; {groups.id}: {shares or 'no pixel counts'}")
    print(f"{findings} problems" if findings else "no problem found")
    return 2 if findings else 0


def train(options: argparse.Namespace) -> None:
    """Train one network."""
    from ushape.data.classes import grouping
    from ushape.data.crops import check_sizes
    from ushape.data.rois import open_pixels
    from ushape.nets.device import pick_device
    from ushape.nets.spec import parse
    from ushape.threads import Lanes, cores
    from ushape.train.loop import train as run_training
    from ushape.train.run import check_trainable, open_run

    recipe, spec = _recipe(options), parse(options.spec)
    check_trainable(spec, len(grouping(recipe.grouping).classes))  # before anything is written
    plan = _plan(options, recipe)
    device = pick_device(options.device)
    check_sizes([open_pixels(roi, recipe.mpp, recipe.normalise) for roi in plan.train], recipe.crop)
    open_run(options.out, plan)
    count = min(options.threads or cores(), recipe.shards)
    with Lanes(count) as lanes, _bar("steps", recipe.steps, "loss") as advance:
        run_training(plan, options.out, lanes, device, lambda step, loss: advance(step, loss), options.save_every)
    _say(f"weights: {options.out / 'weights.safetensors'}")
    if plan.test:
        _print_run(options.out, recipe.grouping)


def evaluate(options: argparse.Namespace) -> None:
    """Score a network on whole ROIs."""
    from ushape.data.classes import grouping
    from ushape.data.rois import find_rois, open_pixels
    from ushape.files import write_json
    from ushape.nets.device import pick_device, pick_precision
    from ushape.nets.weights import load_weights
    from ushape.predict.engine import Predictor
    from ushape.predict.engine import evaluate as run_evaluation
    from ushape.predict.score import scores, summary
    from ushape.threads import Lanes, cores

    weights = load_weights(options.weights)
    about, groups = weights.about, grouping(weights.about["grouping"]["id"])
    rois = find_rois(options.data, options.mpp)
    device = pick_device(options.device)
    with Lanes(options.threads or cores()) as lanes, _bar("ROIs", len(rois)) as advance:
        tta = options.tta or about["tta"]
        predictor = Predictor(weights.net, device, pick_precision("auto", device), lanes, tta)
        matrices = {}
        pixels = (open_pixels(roi, about["mpp"], about["normalise"]) for roi in rois)
        for name, matrix in run_evaluation(predictor, pixels, groups):
            matrices[name] = matrix
            advance()
    made = summary(matrices, {r.name: r.patient for r in rois}, groups.classes)
    each = {name: scores(matrix, groups.classes) for name, matrix in matrices.items()}
    _print_scores({"": made}, groups.id)
    seen = {*about["trained_on"], *about["validated_on"]} & {r.patient for r in rois}
    if seen:
        _say(f"[bold]note[/]: {len(seen)} of these patients were in the network's training or validation set")
    if options.json:
        write_json(
            options.json, {"grouping": groups.id, "tta": tta, "seen_patients": sorted(seen), **made, "rois": each}
        )


def compare(options: argparse.Namespace) -> None:
    """Train and score every arm on every fold and seed; write and name the report."""
    from ushape.nets.device import pick_device
    from ushape.nets.spec import parse
    from ushape.report.html import write_report
    from ushape.study.design import open_study, plan_study
    from ushape.study.results import write_results
    from ushape.study.runner import run_study

    specs = [parse(text) for text in options.specs]
    if len(specs) < 2:
        raise RunError("compare: give at least two specs; the first is the baseline")
    recipe = _recipe(options)
    device = pick_device(options.device).type
    study = plan_study(specs, recipe, options.data, options.mpp, options.folds, options.seeds)
    open_study(options.out, study)
    with _study_bars(options.out, recipe.steps) as watch:
        run_study(study, options.out, options.jobs, watch, device)
    _finish_study(write_results(options.out), write_report(options.out))


def report(options: argparse.Namespace) -> None:
    """Write a study's report again from its runs."""
    from ushape.report.html import write_report
    from ushape.study.results import write_results

    _finish_study(write_results(options.study), write_report(options.study))


def predict(options: argparse.Namespace) -> None:
    """Label images with a trained network."""
    from ushape.data.classes import grouping
    from ushape.data.rois import pixel_size, prepare, read_image
    from ushape.files import write_json
    from ushape.nets.device import pick_device, pick_precision
    from ushape.nets.weights import load_weights
    from ushape.predict.engine import Predictor
    from ushape.predict.outputs import composition, save_overlay, save_prediction
    from ushape.threads import Lanes, cores

    weights = load_weights(options.weights)
    about, groups = weights.about, grouping(weights.about["grouping"]["id"])
    names = [path.stem for path in options.images]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name}: two images have this name and would overwrite each other: rename one")
    sizes = {path: pixel_size(path.stem, options.mpp) for path in options.images}
    device = pick_device(options.device)
    with Lanes(options.threads or cores()) as lanes, _bar("images", len(sizes)) as advance:
        tta = options.tta or about["tta"]
        predictor = Predictor(weights.net, device, pick_precision("auto", device), lanes, tta)
        for path, mpp in sizes.items():
            image = read_image(path)
            labels = predictor.labels(prepare(image, mpp, about["mpp"], about["normalise"]))
            save_prediction(options.out / f"{path.stem}.png", labels, image.size, groups)
            save_overlay(options.out / f"{path.stem}-overlay.jpg", image, labels, groups)
            made = {"image": str(path), "mpp": about["mpp"], "grouping": groups.id, "tta": tta}
            write_json(
                options.out / f"{path.stem}.json", made | {"composition": composition(labels, about["mpp"], groups)}
            )
            advance()
    _say(f"label maps, overlays and composition of {len(sizes)} images: {options.out}")


def mods(options: argparse.Namespace) -> None:
    """List every modification."""
    from ushape.nets.tables import mods_table, show_mods

    _show(mods_table(options.axis), show_mods, options.json)


def cost(options: argparse.Namespace) -> None:
    """What networks cost."""
    from ushape.nets.spec import parse
    from ushape.nets.tables import cost_table, show_costs

    specs = [parse(text) for text in options.specs]
    _show(cost_table(specs, options.size, options.classes, timed=options.time), show_costs, options.json)


def draw(options: argparse.Namespace) -> None:
    """Draw a network."""
    from ushape.files import write_text
    from ushape.nets.draw import draw as draw_network
    from ushape.nets.spec import parse

    write_text(options.out, draw_network(parse(options.spec), classes=options.classes, size=options.size))
    _say(f"diagram: {options.out}", markup=False)


def match(options: argparse.Namespace) -> None:
    """Find the width at which a network costs what another does."""
    from ushape.nets.budget import match as match_cost
    from ushape.nets.spec import parse

    print(match_cost(parse(options.spec), parse(options.to), options.by).name)


# -- what commands share ---------------------------------------------------------------------------------------------


def _show(rows: list[dict[str, Any]], table: Any, as_json: bool) -> None:
    """Rows as a table, or as a list of objects."""
    import json

    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        _console().print(table(rows))


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of --recipe, --set and --steps."""
    from ushape.files import read_yaml
    from ushape.train.recipe import Recipe, make_recipe, read_settings

    recipe = Recipe()
    if options.recipe:
        recipe = make_recipe(read_yaml(options.recipe), recipe, str(options.recipe))
    settings = read_settings(options.set or [])
    if options.steps is not None:
        if "steps" in settings:
            raise RecipeError("--steps and --set steps= both set the steps: keep one of them")
        settings["steps"] = options.steps
    return make_recipe(settings, recipe, "--set")


def _plan(options: argparse.Namespace, recipe: Recipe) -> RunPlan:
    """The run that `train` was asked for: a fold of the data, or all of it, validated elsewhere or not at all."""
    from ushape.data.rois import find_rois
    from ushape.nets.spec import parse
    from ushape.train.run import RunPlan

    rois = find_rois(options.data, options.mpp)
    spec = parse(options.spec)
    validation: list[Roi] = []
    test: list[Roi] = []
    if options.val:
        validation = find_rois(options.val, options.mpp)
        both = sorted({r.patient for r in rois} & {r.patient for r in validation})
        if both:
            raise DataError(
                f"{options.val}: patient {both[0]} is in the training data too ({len(both)} in all): a leak; move "
                "each patient's ROIs to one side"
            )
    elif options.fold:
        fold = _fold(options, recipe)
        validation = [r for r in rois if r.patient in fold.validation]
        test = [r for r in rois if r.patient in fold.test]
        rois = [r for r in rois if r.patient in fold.train]
    parts = (tuple(rois), tuple(validation), tuple(test))
    return RunPlan(spec, recipe, options.seed, options.data, *parts, options.val, options.mpp)


def _fold(options: argparse.Namespace, recipe: Recipe) -> Fold:
    from ushape.data.classes import grouping
    from ushape.data.rois import find_rois, open_pixels
    from ushape.data.splits import class_counts, make_folds
    from ushape.study.design import FOLD_SEED

    number, of = options.fold
    groups = grouping(recipe.grouping)
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in find_rois(options.data, options.mpp)]
    return make_folds(class_counts(pixels, groups), groups, of, FOLD_SEED)[number - 1]


def _print_run(folder: Path, name: str) -> None:
    """Scores of a run's test ROIs."""
    import numpy as np

    from ushape.data.classes import grouping
    from ushape.files import read_json
    from ushape.predict.score import summary

    groups, rois = grouping(name), read_json(folder / "rois.json")
    matrices = {roi: np.array(entry["confusion"]) for roi, entry in rois.items()}
    made = summary(matrices, {roi: entry["patient"] for roi, entry in rois.items()}, groups.classes)
    _print_scores({"": made}, groups.id)


def _finish_study(results: dict[str, Any], path: Path) -> None:
    _print_scores({arm["name"]: arm["scores"] for arm in results["arms"]}, results["grouping"]["id"])
    for found in results["comparisons"]:
        if found["metric"] == "macro_dice" and found["aggregation"] == "pooled":
            _say(
                f"{found['arm']} - {found['baseline']}: {100 * found['difference']:+.1f} points of pooled macro Dice, "
                f"95% interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f} "
                f"over {found['patients']} patients",
                markup=False,
            )
    _say(f"report: {path}", markup=False)


def _print_scores(rows: dict[str, dict[str, Any]], grouping: str) -> None:
    """A table of scores: pooled and per ROI, then Dice of each class."""
    from rich.table import Table
    from rich.text import Text

    first = next(iter(rows.values()))
    classes = list(first["pooled"]["dice"])
    heads = ["macro Dice", "accuracy", "per ROI: macro Dice", "accuracy", *classes]
    table = Table("", *heads, title=f"{grouping}, pooled over pixels unless it says per ROI", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, made in rows.items():
        values = [made[part][key] for part in ("pooled", "per_roi") for key in ("macro_dice", "accuracy")]
        values += [made["pooled"]["dice"][c] for c in classes]
        table.add_row(Text(name), *("–" if v is None else f"{v:.3f}" for v in values))
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def _say(text: str, markup: bool = True) -> None:
    _console().print(text, markup=markup, soft_wrap=True)


class _bar:
    """A progress bar with the time left, on stderr; without a terminal, a line every half minute."""

    def __init__(self, unit: str, total: int, value: str = "") -> None:
        self.unit, self.total, self.value = unit, total, value

    def __enter__(self) -> _bar:
        from ushape.progress import Progress

        self._progress = Progress(self.unit, self.total)
        self._progress.start()
        return self

    def __call__(self, done: int | None = None, value: float | None = None) -> None:
        shown = f"{self.value} {value:.3f}" if self.value and value is not None and value == value else ""
        self._progress.update(done, shown)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class _study_bars:
    """Progress of a study: all steps of all runs, with what is at work now."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps

    def __enter__(self) -> Any:
        from ushape.progress import Progress

        self._progress: Progress | None = None

        def watch(state: Any) -> None:
            if self._progress is None:
                self._progress = Progress("steps", state.total_runs * self.steps)
                self._progress.start(done=sum(state.steps.values()))
            at_work = ", ".join(str(run.relative_to(self.folder)) for run in state.working)
            failed = f", {len(state.failed)} failed" if state.failed else ""
            shown = f"{len(state.finished)} of {state.total_runs} runs done{failed}; {at_work}"
            self._progress.update(sum(state.steps.values()), shown)

        return watch

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()


# -- the parser ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ushape",
        description="Does a modification of U-Net really help on tissue images, and by how much?",
        epilog="A spec is `unet`, `unet[width=16]`, `unet[width=16]+residual+attention-gate`, ...; quote it in zsh.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ushape {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(to: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = to.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(function=function)
        return made

    data = commands.add_parser("data", help="make and check data", allow_abbrev=False)
    data_commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    one = add(data_commands, "phantom", data_phantom, "write procedural tissue in the BCSS layout")
    one.add_argument("folder", type=Path)
    one.add_argument("--patients", type=int, default=12)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--size", type=int, default=512, help="side of a ROI in px (512)")
    one.add_argument("--mpp", type=float, default=1.2, help="µm per pixel (1.2)")
    one = add(data_commands, "check", data_check, "list what is wrong with a folder of images and masks")
    one.add_argument("folder", type=Path)
    one.add_argument("--mpp", type=float, help="µm per pixel of images whose names do not say it")
    one.add_argument("--grouping", default="bcss-5", help="grouping of the class shares shown (bcss-5)")

    one = add(commands, "train", train, "train one network")
    one.add_argument("spec")
    _training_arguments(one)
    one.add_argument("--seed", type=_natural, default=0)
    where = one.add_mutually_exclusive_group()
    where.add_argument("--fold", type=_fold_of, metavar="K/N", help="hold out fold K of N, by patient, and score it")
    where.add_argument("--val", type=Path, metavar="PATH", help="folder of validation ROIs of other patients")
    _computing_arguments(one)
    one.add_argument("--save-every", type=float, default=20.0, metavar="SECONDS", help="between states kept (20)")

    one = add(commands, "evaluate", evaluate, "score a network on whole ROIs")
    one.add_argument("weights", type=Path, metavar="RUN|WEIGHTS")
    one.add_argument("--data", type=Path, required=True, metavar="PATH")
    one.add_argument("--json", type=Path, metavar="FILE", help="write all scores to a file")
    _prediction_arguments(one)

    one = add(commands, "compare", compare, "compare specs with the first one, over patient-level folds")
    one.add_argument("specs", nargs="+", metavar="SPEC")
    _training_arguments(one)
    one.add_argument("--folds", type=_positive, default=5)
    one.add_argument("--seeds", type=_positive, default=1)
    one.add_argument("--jobs", type=_jobs, default=None, help="runs at a time (auto: one a core)")
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")

    one = add(commands, "report", report, "write a study's report again")
    one.add_argument("study", type=Path)

    one = add(commands, "predict", predict, "label images with a trained network")
    one.add_argument("weights", type=Path, metavar="RUN|WEIGHTS")
    one.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    _prediction_arguments(one)

    one = add(commands, "mods", mods, "list every modification of U-Net that specs can name")
    one.add_argument("--axis", help="only those of one axis")
    one.add_argument("--json", action="store_true", help="as a list of objects")

    one = add(commands, "cost", cost, "parameters, FLOPs, receptive field, memory and speed of specs")
    one.add_argument("specs", nargs="+", metavar="SPEC")
    _image_arguments(one)
    one.add_argument("--time", action="store_true", help="measure the speed as well, on one core")
    one.add_argument("--json", action="store_true", help="as a list of objects")

    one = add(commands, "draw", draw, "draw the architecture of a spec as SVG")
    one.add_argument("spec")
    one.add_argument("--out", type=Path, required=True, metavar="FILE")
    _image_arguments(one)

    one = add(commands, "match", match, "the width at which a spec costs what another one does")
    one.add_argument("spec")
    one.add_argument("--to", required=True, metavar="SPEC")
    one.add_argument("--by", choices=("params", "flops", "time"), default="flops")
    return parser


def _image_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=_positive, default=256, help="side of the image in px (256)")
    parser.add_argument("--classes", type=_positive, default=5)


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="folder in the BCSS layout")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the results; resumed if begun"
    )
    parser.add_argument("--mpp", type=float, help="µm per pixel of images whose names do not say it")
    parser.add_argument("--steps", type=int, help="optimisation steps (the recipe's)")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="recipe in YAML; keys left out keep their default")
    parser.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="recipe keys to change")


def _prediction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tta", choices=TTA_NAMES, help="test-time augmentation (what the network's recipe says)")
    parser.add_argument("--mpp", type=float, help="µm per pixel of images whose names do not say it")
    _computing_arguments(parser)


def _computing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=_positive, help="computing threads (one a core)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _jobs(text: str) -> int | None:
    return None if text == "auto" else _positive(text)


def _fold_of(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text!r}: write K/N with K from 1 to N, as 1/5")
    return int(number), int(of)
