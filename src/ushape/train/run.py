"""A run's folder: the plan written into it, read back from it, and never mixed with another run's.

`python -m ushape.train.run FOLDER [PLUGIN...]` trains what `FOLDER/run.yaml` says; studies start their runs so.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ushape.data.rois import Roi, find_rois, fingerprint
from ushape.errors import RunError, UshapeError, check_seed
from ushape.files import read_yaml, write_yaml
from ushape.locks import holding
from ushape.nets.plugin import hashes, load_plugin
from ushape.nets.spec import Spec, from_dict
from ushape.train.places import FAILURE, at_hand, leave
from ushape.train.recipe import AFTER_TRAINING, Recipe, make_recipe
from ushape.train.sources import sources
from ushape.versions import versions

if TYPE_CHECKING:
    import torch

    from ushape.threads import Lanes

PARTS = ("train", "validation", "test")

REMEDIES = {
    "fingerprint": "put back the images and masks with which it began",
    "images": "put back the images with which it began",
    "versions": "put back the version with which it began",
    "recipe.precision": "go on on a machine that computes it so, there with --set precision={old}",
    "precision": "go on on a machine that computes {old}",
}
"""What to do, but for choosing another folder, where a key is not what a folder began with; {old}: what it was."""


@dataclass(frozen=True)
class RunPlan:
    """What one run is: network, recipe, ROIs and seed. `test` is looked at once, after the last step.

    `data` is the folder of all ROIs, `validation_data` that of the validation ROIs where they lie elsewhere, `mpp`
    the pixel size of images whose names do not say it.
    """

    spec: Spec
    recipe: Recipe
    seed: int
    data: Path
    train: tuple[Roi, ...]
    validation: tuple[Roi, ...] = ()
    test: tuple[Roi, ...] = ()
    validation_data: Path | None = None
    mpp: float | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def patients(self, part: str) -> list[str]:
        """Patients of `train`, `validation` or `test`, sorted."""
        return sorted({roi.patient for roi in getattr(self, part)})

    def trained_alike(self) -> str:
        """Equal for plans that train the same weights: those that differ in what comes after training alone."""
        told = self.to_dict()
        if self.recipe.teacher == "none":  # else teachers predict with them
            for key in AFTER_TRAINING:
                del told["recipe"][key]
        return json.dumps(told, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the run: equal dictionaries are the same run."""
        return {
            "name": self.spec.name,
            "plugins": hashes([self.spec]),
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "data": str(self.data.resolve()),
            "validation_data": str(self.validation_data.resolve()) if self.validation_data else None,
            "mpp": self.mpp,
            "sources": sources(self.recipe, self.patients("test"), self.patients("validation"), self.mpp),
            "rois": {part: [roi.name for roi in getattr(self, part)] for part in PARTS},
            "fingerprint": {part: fingerprint(getattr(self, part)) for part in PARTS},
            "versions": versions(),
        }


def open_run(folder: Path, plan: RunPlan) -> None:
    """Write the plan into a new folder, or find the same plan there; RunError where the folder is another's."""
    file = folder / "run.yaml"
    claim(folder, file, plan.to_dict(), "run")


def claim(folder: Path, file: Path, content: dict[str, Any], kind: str) -> None:
    """Make `folder` this run's or study's own: write `file`, or find the same content in it.

    RunError where the folder holds something else; nothing in it is then touched.
    """
    if file.exists():
        there = read_yaml(file)
        if there != content:
            key, old, new = _difference(there, content)
            remedy = REMEDIES.get(key) or REMEDIES.get(key.split(".")[0], "repeat the command that began it")
            raise RunError(
                f"{folder} belongs to another {kind}: its {key} is {_short(old)}, not {_short(new)}: choose another "
                f"--out, or {remedy.format(old=old)}"
            )
    elif folder.exists() and not is_empty(folder):
        raise RunError(f"{folder} exists and is no {kind} of ushape: choose another --out, or empty it")
    else:
        write_yaml(file, content)


def read_run(folder: Path) -> RunPlan:
    """The plan of a run's folder, to go on with it.

    RunError or DataError where it or its ROIs are gone, or ROIs, plugins, sources or versions are not those that it
    began with.
    """
    data = read_yaml(folder / "run.yaml")
    try:
        folders = {"train": at_hand(data["data"]), "test": at_hand(data["data"])}
        folders["validation"] = at_hand(data["validation_data"] or data["data"])
        found = {path: {roi.name: roi for roi in find_rois(path, data["mpp"])} for path in set(folders.values())}
        parts = {part: tuple(found[folders[part]][name] for name in data["rois"][part]) for part in PARTS}
        plan = RunPlan(
            spec=from_dict(data["spec"]),
            recipe=make_recipe(data["recipe"]),
            seed=data["seed"],
            data=Path(data["data"]),
            validation_data=Path(data["validation_data"]) if data["validation_data"] else None,
            mpp=data["mpp"],
            **parts,
        )
        there = plan.to_dict()
        told, now = (
            each["sources"] | {key: each[key] for key in ("plugins", "fingerprint", "versions")}
            for each in (data, there)
        )
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / 'run.yaml'}: is no run of ushape, or its ROIs are gone ({error!r})") from error
    if told != now:
        key, old, new = _difference(told, now)
        raise RunError(
            f"{folder}: its {key} is not what it began with ({_short(old)}, now {_short(new)}): put that back, or "
            "begin another run"
        )
    return plan


def _difference(old: object, new: object, key: str = "content") -> tuple[str, object, object]:
    """The first place where two trees of mappings differ: its path and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for each in dict.fromkeys((*new, *old)):
            if old.get(each) != new.get(each):
                return _difference(old.get(each), new.get(each), str(each) if key == "content" else f"{key}.{each}")
    return key, old, new


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, but for what a killed start may have left half written."""
    return folder.is_dir() and all(p.name.startswith(".") and p.name.endswith(".part") for p in folder.iterdir())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def work(job: Callable[[Path, Lanes, torch.device], None]) -> None:
    """What a process of a study does: `job` in the folder of its first argument, plugins being the others.

    One lane, on CPU or the device of $USHAPE_DEVICE; it stops when the parent is gone. run.yaml is held meanwhile: a
    process whose study was killed may be at its last step still. Why it failed is left in error.txt.
    """
    from ushape.interrupts import stop_with_parent
    from ushape.nets.device import pick_device
    from ushape.threads import Lanes

    folder, *plugins = Path(sys.argv[1]), *sys.argv[2:]
    try:
        stop_with_parent()
        for file in plugins:
            load_plugin(file)
        with holding(folder / "run.yaml"), Lanes(1) as lanes:
            (folder / FAILURE).unlink(missing_ok=True)
            job(folder, lanes, pick_device(os.environ.get("USHAPE_DEVICE", "cpu")))
    except UshapeError as error:
        leave(folder, str(error))
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:
        leave(folder, f"{type(error).__name__}: {error}")
        raise


def main() -> None:
    """Train the run of a folder."""
    from ushape.train.loop import train

    work(lambda folder, lanes, device: train(read_run(folder), folder, lanes, device))


if __name__ == "__main__":
    main()
