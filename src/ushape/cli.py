"""The command line: what can be asked for. `ushape.commands` does it."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ushape import __version__
from ushape.arguments import (
    amount,
    fold_of,
    folds,
    jobs,
    natural,
    path,
    pixel_size,
    positive,
    radius,
    seed,
    seeds,
    side,
)
from ushape.errors import UshapeError

TTA_NAMES = ("none", "flips", "d4", "zooms")

RESUMED = (
    *("train:", "pretrain:", "robustness:", "study:compare", "study:ablate", "studies:resume", "predict:predict"),
    *("lits:prepare", "lits:train", "lits:predict", "reproduce:"),
)
"""Functions of the commands that, once interrupted, go on where they were."""

WITHOUT_PLUGINS = ("data:", "studies:", "study:report", "reproduce:", "lits:", "measure:", "nets:nets")
"""Functions of the commands that know no specs, or those of a study's folder, which holds copies of its plugins."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 something given was wrong (told in one line), 130 interrupted."""
    # before numpy and torch are imported: see ushape.threads
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    options = make_parser().parse_args(arguments)
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        for file in getattr(options, "plugin", None) or []:
            from ushape.nets.plugin import load_plugin

            load_plugin(file)
        room, _, function = options.function.partition(":")
        code = getattr(import_module(f"ushape.commands.{room}"), function)(options)
    except UshapeError as error:
        print(f"ushape: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        kept = "; what was done is kept: the same command goes on from there"
        print(f"ushape: interrupted{kept * options.function.startswith(RESUMED)}", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        what, remedy = error.filename or "what is written here", _REMEDIES.get(error.errno or 0, "check it")
        print(f"ushape: {what}: {error.strerror or error}: {remedy}", file=sys.stderr)
        code = 2
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            print("ushape: that takes more memory than there is: ask for less at a time", file=sys.stderr)
        elif plugins := getattr(options, "plugin", None):
            from ushape.nets.plugin import blame

            print(f"ushape: {blame(error, [Path(file).resolve() for file in plugins])}", file=sys.stderr)
        else:
            raise
        code = 2
    sys.exit(code or 0)


_REMEDIES = {
    errno.EACCES: "have it allowed, or choose another place",
    errno.EPERM: "have it allowed, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "name one that is there",
    errno.ENOSPC: "free some space",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""What to do about an error of the operating system."""


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


# -- the parser ------------------------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """The parser; a command's `function` is `module:function` of `ushape.commands`."""
    parser = argparse.ArgumentParser(
        prog="ushape",
        description="Does a modification of U-Net really help on tissue images, and by how much?",
        epilog="A spec is `unet`, `unet[width=16]`, `unet[width=16]+residual+attention-gate`, ...; quote it in zsh.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ushape {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(to: Any, name: str, function: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = to.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(function=function)
        if not function.startswith(WITHOUT_PLUGINS):
            made.add_argument(
                "--plugin",
                type=path,
                action="append",
                metavar="FILE",
                help="Python file with modifications of your own",
            )
        return made

    data = commands.add_parser("data", help="make and check data", allow_abbrev=False)
    data_commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    one = add(data_commands, "phantom", "data:phantom", "write procedural tissue in the BCSS layout")
    one.add_argument("folder", type=path)
    one.add_argument("--patients", type=int, default=12)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--size", type=int, default=512, help="side of a ROI in px (512)")
    one.add_argument("--mpp", type=pixel_size, default=1.2, help="µm per pixel (1.2)")
    one = add(data_commands, "check", "data:check", "list what is wrong with a folder of images and masks")
    one.add_argument("folder", type=path)
    one.add_argument("--mpp", type=pixel_size, help="µm per pixel of images whose names do not say it")
    one.add_argument("--grouping", default="bcss-5", help="grouping of the class shares shown (bcss-5)")

    one = add(commands, "train", "train:train", "train one network")
    one.add_argument("spec")
    _training_arguments(one)
    one.add_argument("--seed", type=seed, default=0)
    where = one.add_mutually_exclusive_group()
    where.add_argument("--fold", type=fold_of, metavar="K/N", help="hold out fold K of N, or `official`, and score it")
    where.add_argument("--val", type=path, metavar="PATH", help="folder of validation ROIs of other patients")
    _fitting_arguments(one)

    one = add(commands, "pretrain", "pretrain:pretrain", "train a network on images without masks, to start from")
    one.add_argument("spec")
    one.add_argument("--data", type=path, required=True, metavar="DIR", help="folder of images")
    one.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the run; resumed if begun")
    one.add_argument("--mpp", type=pixel_size, help="µm per pixel of images whose names do not say it")
    one.add_argument("--steps", type=int, help="optimisation steps (800)")
    one.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="recipe keys to change")
    one.add_argument("--seed", type=seed, default=0)
    _fitting_arguments(one)

    one = add(commands, "evaluate", "predict:evaluate", "score a network on whole ROIs, or the mean of several")
    one.add_argument("weights", type=path, nargs="+", metavar="RUN|WEIGHTS")
    one.add_argument("--data", type=path, required=True, metavar="PATH")
    one.add_argument("--json", type=path, metavar="FILE", help="write all scores to a file")
    _filter_argument(one)
    _prediction_arguments(one)

    one = add(commands, "robustness", "robustness:robustness", "what stain, blur, JPEG and a wrong pixel size cost")
    one.add_argument("networks", type=path, nargs="+", metavar="STUDY|ARM|RUN|WEIGHTS")
    one.add_argument("--data", type=path, required=True, metavar="PATH", help="ROIs; scored by networks new to them")
    one.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the results; resumed if begun")
    _prediction_arguments(one)

    one = add(commands, "compare", "study:compare", "compare specs with the first one, over patient-level folds")
    one.add_argument(
        "arms", nargs="+", metavar="ARM", help="a spec, or 'SPEC key=value ...' with keys of the recipe changed"
    )
    _study_arguments(one)

    one = add(commands, "ablate", "study:ablate", "what each of several modifications adds, by a design of experiments")
    one.add_argument("spec", metavar="BASE")
    one.add_argument("--mods", nargs="+", required=True, metavar="MOD", help="changes: names, or axis=name")
    designs = ("one-at-a-time", "leave-one-out", "full", "fractional")
    one.add_argument("--design", choices=designs, default="one-at-a-time")
    one.add_argument("--halvings", type=natural, default=0, help="a fractional design halves the full one so often")
    one.add_argument("--dry-run", action="store_true", help="name the arms and what the design mixes up; train nothing")
    _study_arguments(one)

    study = commands.add_parser("study", help="how far a study is; go on with it; how large one must be")
    study_commands = study.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    one = add(study_commands, "status", "studies:status", "how far a study is, at work or not; reads only")
    one.add_argument("study", type=path)
    one = add(study_commands, "resume", "studies:resume", "go on with a study as its folder says, plugins included")
    one.add_argument("study", type=path)
    _pool_arguments(one)
    one = add(study_commands, "power", "studies:power", "how many patients and seeds it takes to see a difference")
    one.add_argument("study", type=path)
    one.add_argument("--difference", type=float, default=2.0, metavar="POINTS", help="of pooled macro Dice (2)")
    one.add_argument("--power", type=float, default=0.8, metavar="SHARE", help="chance to see it (0.8)")

    one = add(commands, "report", "study:report", "write a study's report again")
    one.add_argument("study", type=path)
    one.add_argument("--format", choices=("html", "latex", "csv", "markdown"), default="html")
    one.add_argument("--tolerance", type=float, metavar="UM", help="of borders, in µm (that of before, else 10)")

    one = add(commands, "predict", "predict:predict", "label whole slides and images with a trained network")
    _predict_arguments(one)

    one = add(commands, "export", "predict:export", "write a trained network as one file that other programs run")
    one.add_argument("weights", type=path, metavar="RUN|WEIGHTS")
    one.add_argument("--format", choices=("onnx", "openvino", "torch", "safetensors"), required=True)
    one.add_argument(
        "--out", type=path, required=True, metavar="FILE", help="ends as its format does: .onnx, .xml, .pt2"
    )
    one.add_argument("--stain", choices=("image", "given"), help="its strength: measured on each image, or an input")
    one.add_argument("--int8", action="store_true", help="quantise it; much faster on CPUs with VNNI or AMX")
    one.add_argument("--calibrate", type=path, metavar="PATH", help="images for --int8 (those of the training)")
    one.add_argument("--mpp", type=pixel_size, help="µm per pixel of those that do not say it")

    one = add(commands, "measure", "measure:measure", "tissue composition of predicted slides, from their label maps")
    one.add_argument("folders", type=path, nargs="+", metavar="DIR", help="what was --out of predict, or folders in it")
    one.add_argument(
        "--inside",
        type=path,
        metavar="FILE",
        help="within these annotations only: GeoJSON of QuPath, or a folder of them",
    )
    one.add_argument("--csv", type=path, metavar="FILE", help="write the rows to a file")
    one.add_argument("--json", type=path, metavar="FILE", help="write the rows to a file")

    one = add(commands, "mods", "nets:mods", "list every modification of U-Net that specs can name")
    one.add_argument("--axis", help="only those of one axis")
    one.add_argument("--json", action="store_true", help="as a list of objects")

    one = add(commands, "nets", "nets:nets", "list every published network that specs can name")
    one.add_argument("--json", action="store_true", help="as a list of objects")

    one = add(commands, "cost", "nets:cost", "parameters, FLOPs, receptive field, memory and speed of specs")
    one.add_argument("specs", nargs="+", metavar="SPEC")
    _image_arguments(one)
    one.add_argument("--no-time", action="store_true", help="do not measure the speed (on one core, in float32)")
    one.add_argument("--json", action="store_true", help="as a list of objects")

    one = add(commands, "draw", "nets:draw", "draw the architecture of a spec as SVG")
    one.add_argument("spec")
    one.add_argument("--out", type=path, required=True, metavar="FILE")
    _image_arguments(one)

    one = add(commands, "match", "nets:match", "the width at which a spec costs what another one does")
    one.add_argument("spec")
    one.add_argument("--to", required=True, metavar="SPEC")
    one.add_argument("--by", choices=("params", "flops", "time"), default="flops")

    _lits_commands(commands, add)
    again = commands.add_parser("reproduce", help="run a paper's system as it describes it", allow_abbrev=False)
    again_commands = again.add_subparsers(dest="reproduce_command", required=True, metavar="PAPER")
    one = add(again_commands, "unet2015", "reproduce:unet2015", "U-Net on membranes in electron micrographs")
    one.add_argument("--data", type=path, required=True, metavar="DIR", help="folder of images/ and labels/")
    one.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the results; resumed if begun")
    one.add_argument("--full", action="store_true", help="the paper's width of 64 channels, not 16")
    one.add_argument("--ablate", action="store_true", help="train without each of the paper's ingredients too")
    one.add_argument("--validate", action="store_true", help="score held-out training slices, to choose anything by")
    one.add_argument("--seeds", type=seeds, default=1, help="trainings of each kind (1)")
    one.add_argument("--steps", type=positive, help="optimisation steps, one tile each (7000)")
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    one = add(again_commands, "degradation", "reproduce:degradation", "training loss against depth, plain and residual")
    one.add_argument("--data", type=path, nargs="+", metavar="PATH", help="folders in the BCSS layout (a phantom)")
    one.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the results; resumed if begun")
    one.add_argument("--seeds", type=seeds, default=3, help="trainings of each network (3)")
    one.add_argument("--steps", type=positive, default=400, help="optimisation steps (400)")
    one.add_argument(
        "--jobs", type=jobs, default=None, help="runs at a time (auto: one a core, on a GPU one, if memory allows)"
    )
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    one = add(
        again_commands, "seed-experiments", "reproduce:seed_experiments", "ten modifications tried on BCSS before"
    )
    _study_arguments(one)
    one.set_defaults(match="flops")
    return parser


def _lits_commands(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    lits = commands.add_parser("lits", help="liver and lesions in CT volumes, as Han 2017", allow_abbrev=False)
    each = lits.add_subparsers(dest="lits_command", required=True, metavar="COMMAND")
    one = add(each, "phantom", "lits:phantom", "write computed CT volumes in the layout of LiTS")
    one.add_argument("folder", type=path)
    one.add_argument("--volumes", type=positive, default=24)
    one.add_argument("--seed", type=seed, default=0)
    one.add_argument("--size", type=positive, default=192, help="px along x and y (192)")
    one.add_argument("--pixel", type=float, default=1.1, metavar="MM", help="side of a pixel in mm, about (1.1)")
    one = add(each, "prepare", "lits:prepare", "check a folder of LiTS and make the arrays that training reads")
    one.add_argument("data", type=path)
    one.add_argument("--out", type=path, required=True, metavar="DIR")
    one = add(each, "train", "lits:train", "train the liver network and the lesion network")
    one.add_argument("prepared", type=path)
    one.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the results; resumed if begun")
    one.add_argument("--full", action="store_true", help="the paper's width, crops and rate, for a GPU")
    one.add_argument("--slices", type=positive, help="adjacent slices in, an odd number (5)")
    one.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="recipe keys to change")
    one.add_argument("--seed", type=seed, default=0)
    _fitting_arguments(one)
    one = add(each, "predict", "lits:predict", "label CT volumes with a trained cascade")
    one.add_argument("run", type=path)
    one.add_argument("volumes", type=path, nargs="+", metavar="VOLUME|DIR", help="NIfTI files, or folders of LiTS")
    one.add_argument("--out", type=path, required=True, metavar="DIR")
    _computing_arguments(one)
    one = add(each, "score", "lits:score", "score predicted labels as LiTS does")
    one.add_argument("predicted", type=path)
    one.add_argument("--data", type=path, required=True, metavar="DIR", help="folder of LiTS with the true labels")
    one.add_argument("--against", type=path, metavar="DIR", help="other predictions, compared volume by volume")
    one.add_argument("--json", type=path, metavar="FILE", help="write all scores to a file")


def _image_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=positive, default=256, help="side of the image in px (256)")
    parser.add_argument("--classes", type=positive, default=5)


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=path, required=True, metavar="PATH", help="folder in the BCSS layout")
    parser.add_argument(
        "--out", type=path, required=True, metavar="DIR", help="folder of the results; resumed if begun"
    )
    parser.add_argument("--mpp", type=pixel_size, help="µm per pixel of images whose names do not say it")
    parser.add_argument("--steps", type=int, help="optimisation steps (the recipe's)")
    parser.add_argument("--recipe", type=path, metavar="FILE", help="recipe in YAML; keys left out keep their default")
    parser.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="recipe keys to change")


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    _training_arguments(parser)
    parser.add_argument(
        "--match", choices=("params", "flops", "time"), help="solve widths: all cost what the first does"
    )
    parser.add_argument("--tune", choices=("lr",), help="look for a learning rate, for each arm in each fold (not)")
    parser.add_argument("--tune-trials", type=positive, metavar="N", help="rates tried, the recipe's first (6)")
    parser.add_argument("--tune-steps", type=positive, metavar="N", help="steps of a trial (a quarter of the recipe's)")
    parser.add_argument(
        "--margin", type=float, default=1.0, metavar="POINTS", help="difference that would not matter (1)"
    )
    parser.add_argument("--folds", type=folds, default=5, help="how many (5), or official: BCSS' own split")
    parser.add_argument("--seeds", type=seeds, default=1)
    _pool_arguments(parser)


def _pool_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=jobs, default=None, help="runs at a time (auto: one a core, on a GPU one, if memory allows)"
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster, of which this machine is a node")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "slides",
        type=path,
        nargs="+",
        metavar="[RUN|WEIGHTS] SLIDE",
        help="a trained network, unless --weights names it; files of any scanner, TIFF, PNG, JPEG, or folders of them",
    )
    add("--weights", type=path, metavar="RUN|WEIGHTS", help="the network; bcss-demo comes with the package")
    add("--out", type=path, default=Path("predictions"), metavar="DIR", help="(predictions)")
    add("--engine", choices=("auto", "torch", "openvino", "onnx"), default="auto", help="auto: the fastest here")
    add("--precision", choices=("auto", "float32", "bf16", "int8"), default="auto")
    add("--calibrate", type=path, metavar="PATH", help="images for int8 (those of the training); lets auto take it")
    add("--tta", choices=TTA_NAMES, default="none", help="views averaged: flips takes 4 times as long, d4 8, zooms 14")
    _filter_argument(parser)
    add("--classes", nargs="+", metavar="CLASS", help="those that become polygons (all)")
    add("--tissue", choices=("auto", "all"), default="auto", help="where to look: tissue, or everywhere")
    add("--saturation", type=float, metavar="S", help="colour, 0 to 1, above which it is tissue (found for each slide)")
    add("--mpp", type=pixel_size, help="µm per pixel of all slides; one that says otherwise is refused")
    add("--max-pixels", type=positive, metavar="N", help="of images that must be decoded as a whole (2^27)")
    add("--tolerance", type=amount, default=2.0, metavar="UM", help="detail that outlines of polygons may lose (2)")
    add("--probabilities", action="store_true", help="write a pyramid of probabilities too")
    add("--dicom", action="store_true", help="write a DICOM segmentation too")
    add("--tile", type=side, metavar="PX", help="side of tiles computed at once (about 1536; 512 where blended)")
    add("--jobs", type=positive, metavar="N", help="tiles computed at the same time (one a core)")
    add("--device", default="auto", help="auto, cpu, cuda or mps")


def _prediction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tta", choices=TTA_NAMES, help="test-time augmentation (what the network's recipe says)")
    parser.add_argument("--mpp", type=pixel_size, help="µm per pixel of images whose names do not say it")
    _computing_arguments(parser)


def _computing_arguments(parser: argparse.ArgumentParser, threads: str = "computing threads (one a core)") -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=positive, help=threads)


def _fitting_arguments(parser: argparse.ArgumentParser) -> None:
    _computing_arguments(parser, "computing threads (one a core, at most the recipe's shards)")
    parser.add_argument(
        "--save-every", type=amount, default=20.0, metavar="SECONDS", help="between states (20; 0: each)"
    )


def _filter_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--guided",
        type=radius,
        metavar="PX",
        help="radius of the guided filter (as the network's recipe says; 0: none)",
    )
