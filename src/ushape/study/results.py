"""From a study's finished runs to results.json and the pictures that its report shows (see docs/results.md)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

import ushape
from ushape.data.classes import Grouping, grouping
from ushape.data.rois import Roi
from ushape.data.splits import told_split
from ushape.errors import RunError
from ushape.files import read_json, write_json
from ushape.nets.budget import sized
from ushape.nets.plugin import hashes
from ushape.nets.registry import AXES, NETWORK, is_bare, lookup
from ushape.nets.spec import Spec
from ushape.nets.weights import load_tensors
from ushape.nets.zoo import published
from ushape.predict.boundary import TOLERANCE
from ushape.predict.calibration import Calibration
from ushape.predict.score import plain, scores, summary
from ushape.study import tuning
from ushape.study.design import FOLD_SEED, MARGIN, Study
from ushape.study.factorial import Design
from ushape.study.folder import read_question, read_study
from ushape.study.guards import find_alike, limits_of_data
from ushape.study.inference import Evidence, Inference
from ushape.study.maps import Maps, read_maps, summarise
from ushape.study.pictures import draw_pictures
from ushape.study.runner import is_finished
from ushape.study.unchanged import check_unchanged
from ushape.train.places import LOG, VALIDATION
from ushape.train.steps import read_log

REMEDY = "remove its folder, then `ushape study resume`"


def write_results(
    folder: Path, tolerance: float = TOLERANCE, watch: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Read all runs of a study, write pictures/ and results.json, and return the latter's content.

    `tolerance`: µm within which a predicted border counts as right; `watch` is called after each run is read.
    RunError where runs are missing or unfinished.
    """
    study = read_study(folder)
    missing = [f for f in (study.run_folder(*run) for run in study.runs()) if not is_finished(folder / f)]
    if missing:
        raise RunError(f"{folder}: {len(missing)} runs are not finished ({missing[0]}): run `ushape study resume`")
    pixels = check_unchanged(study, folder)
    groups = grouping(study.recipe.grouping)
    rois = {roi.name: roi for roi in study.tested_rois}
    fold_of = {p: k for k, fold in enumerate(study.folds, 1) for p in fold.test}
    evidence, sure = _read_scores(study, folder)
    inference = Inference(study, evidence, rois)
    for roi in rois.values():
        draw_pictures(folder, study, roi, fold_of[roi.patient], groups)
    results = {
        "ushape": ushape.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(study, folder),
        "data": {
            "folder": study.data.resolve().name,
            "fingerprint": study.fingerprint,
            "rois": len(study.rois),
            "patients": len({roi.patient for roi in study.rois}),
            "mpp": study.recipe.mpp,
        },
        "grouping": groups.describe(),
        "folds": [fold.to_dict() for fold in study.folds],
        "split": told_split(study.split, study.folds, FOLD_SEED),
        "seeds": list(range(study.seeds)),
        "recipe": study.recipe.told(),
        "versions": read_question(folder)["versions"],
        "margin": study.margin,
        "arms": [_arm(study, folder, arm, evidence, sure[arm], rois, tolerance, watch) for arm in study.arms],
        "parts": _parts(study),
        "comparisons": inference.comparisons(),
        "ranks": inference.ranks(),
        "design": _design(study.design),
        "matched": study.matched,
        "tuning": tuning.told(study, folder),
        "limits_of_data": limits_of_data(find_alike(pixels, study.recipe.mpp), rois),
        "effects": inference.effects(),
        "rois": {n: _roi(study, evidence, roi, fold_of[roi.patient], groups) for n, roi in rois.items()},
        "curves": [_curve(study, folder, *run) for run in study.runs()],
    }
    write_json(folder / "results.json", results)
    return results


def _read_scores(study: Study, folder: Path) -> tuple[Evidence, dict[str, Calibration]]:
    """The confusion matrices that all runs left, and the calibration of each arm over its runs."""
    found: Evidence = {}
    sure: dict[str, list[Calibration]] = {arm: [] for arm in study.arms}
    for arm, fold, seed in study.runs():
        path = folder / study.run_folder(arm, fold, seed) / "rois.json"
        matrices = found.setdefault((arm, seed), {})
        try:
            entries = read_json(path)
            if missing := {roi.name for roi in study.tested(fold)} - entries.keys():
                raise KeyError(min(missing))
            for roi, entry in entries.items():
                matrices[roi] = np.array(entry["confusion"], np.int64)
                sure[arm].append(Calibration.from_dict(entry["calibration"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{path}: is damaged ({error!r}): {REMEDY}") from error
    return found, {arm: reduce(add, each) for arm, each in sure.items()}


def _seconds(log: Path) -> float:
    """How long the run of this log trained."""
    try:
        return read_log(log)["seconds"][-1]
    except (KeyError, IndexError) as error:
        raise RunError(f"{log}: is damaged ({error!r}): {REMEDY}") from error


def _arm(
    study: Study,
    folder: Path,
    arm: str,
    evidence: Evidence,
    sure: Calibration,
    rois: dict[str, Roi],
    tolerance: float,
    watch: Callable[[], None],
) -> dict[str, Any]:
    groups, patients = grouping(study.recipe.grouping), {name: roi.patient for name, roi in rois.items()}
    seeds = [summary(evidence[arm, seed], patients, groups.classes) for seed in range(study.seeds)]
    absent = sum((Counter(each.pop("absent")) for each in seeds), Counter[str]())
    confusion = np.sum([each.pop("confusion") for each in seeds], axis=0)
    maps: list[Maps] = []
    runs = [run for run in study.runs() if run[0] == arm]
    for run in runs:
        maps += read_maps(
            folder / study.run_folder(*run), study.tested(run[1]), study.recipe.mpp, groups, tolerance
        ).values()
        watch()
    minutes = sum(_seconds(folder / study.run_folder(*run) / LOG) for run in runs) / 60
    return {
        "name": study.arms[arm].name,
        "spec": study.arms[arm].spec.name,
        "asked": _asked(study, arm),
        "changes": dict(study.arms[arm].changes),
        "folder": arm,
        **sized(study.arms[arm].spec, classes=len(groups.classes)),
        "train_minutes": round(minutes, 2),
        "confusion": confusion.tolist(),
        "scores": _mean(seeds),
        "absent": dict(absent),
        "measures": summarise(maps, groups.classes, tolerance)
        | {"calibration": {"error": plain(sure.error)} | sure.to_dict()},
    }


def _asked(study: Study, arm: str) -> str | None:
    """What an arm was called before its widths were solved; None where they were not, or came to the same."""
    given = study.arms[arm]
    name = dict(zip(study.given, study.asked, strict=False)).get(given)
    return name if name != given.name else None


def _parts(study: Study) -> list[dict[str, str]]:
    """What is not plain in the networks, once each: changes as specs name them, and published networks."""
    found: dict[str, tuple[str, str]] = {}
    for spec in study.specs:
        for axis in (*AXES, NETWORK):
            name = spec.choice(axis).name
            if name != Spec().choice(axis).name:
                made = lookup(axis, name)
                bare = axis == NETWORK or is_bare(axis, name)
                found[name if bare else f"{axis}={name}"] = (made.summary, made.source)
    names = {each.name: each for each in published()}
    for text in [arm.called for arm in study.given if arm.called] + [*study.asked]:
        if each := names.get(re.split(r"[\[+ ]", text)[0]):
            found[each.name] = (each.title, each.source)
    return [{"name": name, "summary": summary, "source": source} for name, (summary, source) in found.items()]


def _mean(scores: Sequence[Any]) -> Any:
    """Trees of scores, of the same keys -> their mean; of a score that some do not have, over those that do."""
    if isinstance(scores[0], Mapping):
        return {key: _mean([each[key] for each in scores]) for key in scores[0]}
    there = [each for each in scores if each is not None]
    return round(sum(there) / len(there), 6) if there else None


def _design(design: Design | None) -> dict[str, Any] | None:
    if design is None:
        return None
    words = [("- " if len(word) % 2 else "") + " x ".join(word) for word in design.words]  # the base is in the fraction
    return {"kind": design.kind, "factors": list(design.factors), "resolution": design.resolution, "words": words}


def _roi(study: Study, evidence: Evidence, roi: Roi, fold: int, groups: Grouping) -> dict[str, Any]:
    arms = {}
    for folder, arm in study.arms.items():
        made = scores(evidence[folder, 0][roi.name], groups.classes)
        kept = {key: made[key] for key in ("macro_dice", "accuracy", "dice")}
        arms[arm.name] = kept | {"prediction": f"pictures/{roi.name}-{folder}.png"}
    return {
        "patient": roi.patient,
        "fold": fold,
        "image": f"pictures/{roi.name}-image.jpg",
        "truth": f"pictures/{roi.name}-truth.png",
        "arms": arms,
    }


def _curve(study: Study, folder: Path, arm: str, fold: int, seed: int) -> dict[str, Any]:
    import json

    run = folder / study.run_folder(arm, fold, seed)
    log, validation = read_log(run / LOG), read_log(run / VALIDATION)
    _, metadata = load_tensors(run / "weights.safetensors")
    return {
        "arm": study.arms[arm].name,
        "fold": fold,
        "seed": seed,
        "step": [int(s) for s in log["step"]],
        "loss": log["loss"],
        "validation_step": [int(s) for s in validation.get("step", [])],
        "validation_macro_dice": [plain(dice) for dice in validation.get("macro_dice", [])],
        "chosen_step": json.loads(metadata["ushape"])["chosen_step"],
    }


def _command(study: Study, folder: Path) -> str:
    import shlex

    changed = {k: v for k, v in study.recipe.told().items() if v != type(study.recipe)().told()[k]}
    if study.design:
        words = ["ushape", "ablate", str(study.base), "--mods", *study.design.factors, "--design", study.design.kind]
        words += ["--halvings", str(study.design.halvings)] if study.design.halvings else []
    else:
        words = ["ushape", "compare", *(study.asked or (arm.name for arm in study.given))]
    words += ["--data", study.data.name, "--out", folder.name]
    words += ["--folds", str(study.split), "--seeds", str(study.seeds)]
    words += ["--match", study.matched] if study.matched else []
    words += tuning.words(study)
    words += [word for name in hashes(study.specs) for word in ("--plugin", f"{folder.name}/plugins/{name}")]
    words += ["--margin", f"{100 * study.margin:g}"] if study.margin != MARGIN else []
    words += ["--mpp", f"{study.mpp:g}"] if study.mpp else []
    words += ["--set", *(f"{k}={v}" for k, v in changed.items())] if changed else []
    return shlex.join(words)
