"""What a run starts from or learns from beside its ROIs, and the guard that no patient it is judged by is in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ushape.data.classes import grouping
from ushape.data.images import check_windows, find_images, fingerprint, open_images
from ushape.data.rois import in_both, patient_key
from ushape.errors import DataError, RunError
from ushape.files import content_hash
from ushape.nets.weights import PRETRAINING, read_about, weights_file
from ushape.train.places import TAKEN
from ushape.train.recipe import WORDS, Recipe

Patients = Collection[str]


def sources(recipe: Recipe, test: Patients, validation: Patients, mpp: float | None) -> dict[str, Any]:
    """Hashes of all that the recipe names by a path, as a run with these patients uses it; empty where it names none.

    mpp: pixel size of unlabelled images whose names do not say it.
    RunError or DataError where something is missing, or holds patients of whom the run must not know.
    """
    found: dict[str, Any] = {}
    if recipe.pretrained not in WORDS:
        file = weights_file(Path(recipe.pretrained))
        _refuse_known(file, read_about(file), test, validation)
        found["pretrained"] = content_hash(file)
    if recipe.teacher != "none":
        found["teacher"] = {str(file): content_hash(file) for file in find_teachers(recipe, test, validation)}
    if recipe.unlabelled != "none":
        images = find_images(Path(recipe.unlabelled), mpp)
        if both := in_both((image.name for image in images), (*test, *validation)):
            raise DataError(
                f"{recipe.unlabelled}: has images of patient {both[0]}, whom this run is tested or validated on "
                f"({len(both)} in all): a leak; move their images away"
            )
        found["unlabelled"] = fingerprint(images)
    return found


def check_unlabelled(recipe: Recipe, mpp: float | None) -> None:
    """Decode the recipe's images without masks, where it names some; DataError on one that no crop can be made of."""
    if recipe.unlabelled != "none":
        pictures = find_images(Path(recipe.unlabelled), mpp)
        check_windows(pictures, open_images(pictures, recipe.mpp, recipe.normalise), recipe.crop_settings)


def check_apart(recipe: Recipe, out: Path) -> None:
    """RunError where what is trained into `out` would count among the teachers, as a folder with runs is one."""
    folder = Path(recipe.teacher).resolve()
    runs = recipe.teacher != "none" and folder.is_dir() and not weights_file(folder).exists()
    if runs and out.resolve().is_relative_to(folder):
        raise RunError(
            f"{out}: lies in the folder of teachers {recipe.teacher}, and would teach its own kind: choose an --out "
            "beside it, or name the teachers' own folder"
        )


def find_teachers(recipe: Recipe, test: Patients, validation: Patients) -> list[Path]:
    """The files of weights below the recipe's `teacher` that this run may learn from, sorted.

    Left out is a network that was trained on a test or validation patient of the run, or whose checkpoint was chosen
    on a test patient. RunError where none is left, or where one sees images or classes otherwise than this run.
    """
    files = _weights_below(Path(recipe.teacher))
    abouts = {file: read_about(file) for file in files}
    if test or validation:
        for file, about in abouts.items():
            _check_told(file, about, (*test, *validation))
    kept = [
        file
        for file, about in abouts.items()
        if not in_both(about.get("trained_on", ()), (*test, *validation))
        and not in_both(about.get("validated_on", ()), test)
    ]
    if not kept:
        raise RunError(
            f"{recipe.teacher}: each of its {len(files)} networks knows a patient whom this run is tested or validated "
            "on: give teachers that were trained without them"
        )
    for file in kept:
        _check_teacher(file, abouts[file], recipe)
    return kept


def known_patients(
    recipe: Recipe, test: Patients, validation: Patients, mpp: float | None
) -> dict[str, set[str]] | None:
    """Patients that a run knows by way of its sources: those `trained_on`, and those `validated_on`.

    None where one of these does not say whom it knows: nor can the run, then.
    """
    files = find_teachers(recipe, test, validation) if recipe.teacher != "none" else []
    if recipe.pretrained not in WORDS:
        files = [*files, weights_file(Path(recipe.pretrained))]
    abouts = [read_about(file) for file in files]
    if any("trained_on" not in about for about in abouts):
        return None
    known = {key: {p for about in abouts for p in about.get(key, ())} for key in ("trained_on", "validated_on")}
    if recipe.unlabelled != "none":
        known["trained_on"] |= {image.patient for image in find_images(Path(recipe.unlabelled), mpp)}
    return known


def _weights_below(path: Path) -> list[Path]:
    """A file of weights, a run's, or those of all runs below a folder; RunError where there are none."""
    if not path.is_dir() or weights_file(path).exists():
        return [weights_file(path)]
    found = sorted(path.rglob("weights.safetensors"))
    files = [file for file in found if _taken_from(file) not in found]  # else one network would count twice
    if not files:
        raise RunError(f"{path}: holds no finished run: give a run, a file of weights, or a folder with runs in it")
    return files


def _taken_from(file: Path) -> Path | None:
    """The weights that those of a study's run are a copy of, where they are."""
    told = file.parent / TAKEN
    return file.parents[2] / told.read_text().strip() / file.name if told.exists() else None


def _check_told(file: Path, about: dict[str, Any], judged: Patients) -> None:
    """RunError where weights do not say whom they know, or in names that cannot be compared."""
    if "trained_on" not in about:
        raise RunError(
            f"{file}: does not say on which patients it was trained, so that it may know those whom this run is judged "
            "by: give weights as `ushape train` or `ushape pretrain` wrote them"
        )
    if unsure := maybe_known(about, judged):
        raise RunError(f"{file}: {unsure}, by whom this run is judged, may be one: give other weights")


UNNAMED = "SEED-"
"""How the patients of `bcss-seed10` are named, on whom the weights that come with the package were trained."""


def maybe_known(about: dict[str, Any], judged: Patients) -> str:
    """Of weights that may know one of these patients under another name, the beginning of a sentence on it; else ''."""
    unnamed = [p for p in about.get("trained_on", ()) if p.startswith(UNNAMED)]
    tcga = sorted(p for p in judged if patient_key(p).startswith("TCGA"))
    if not (unnamed and tcga):
        return ""
    return f"was trained on {len(unnamed)} patients of TCGA whose true names are not known, of whom {tcga[0]}"


def _refuse_known(file: Path, about: dict[str, Any], test: Patients, validation: Patients) -> None:
    if test or validation:
        _check_told(file, about, (*test, *validation))
    trained, chosen = about.get("trained_on", ()), about.get("validated_on", ())
    if both := in_both((*trained, *chosen), test):
        raise RunError(
            f"{file}: was trained on patient {both[0]}, whom this run is tested on ({len(both)} in all): a leak; give "
            "weights that were made without the test patients"
        )
    if both := in_both(trained, validation):
        raise RunError(
            f"{file}: was trained on patient {both[0]}, whom this run is validated on ({len(both)} in all): a leak; "
            "give weights that were made without the validation patients, or leave out what looks at them "
            "(validations, --val, --tune)"
        )


def _check_teacher(file: Path, about: dict[str, Any], recipe: Recipe) -> None:
    if PRETRAINING in about or "grouping" not in about:
        raise RunError(f"{file}: cannot teach, as it has no classes of tissue: give a network that `ushape train` made")
    mine = {"grouping": grouping(recipe.grouping).id, "mpp": recipe.mpp, "normalise": recipe.normalise}
    theirs = {"grouping": about["grouping"]["id"], "mpp": about["mpp"], "normalise": about["normalise"]}
    for key, value in mine.items():
        if theirs[key] != value:
            raise RunError(f"{file}: cannot teach with {key}={value}, as it was trained with {key}={theirs[key]}")
