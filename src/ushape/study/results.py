"""From a study's finished runs to results.json and the pictures that its report shows (see docs/results.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ushape
from ushape.data.classes import Grouping, grouping
from ushape.data.rois import Roi, find_rois, open_pixels
from ushape.errors import RunError
from ushape.files import read_json, read_yaml, replacing, write_json
from ushape.nets.plugin import hashes
from ushape.nets.spec import Spec
from ushape.nets.unet import build, parameters
from ushape.nets.weights import load_tensors
from ushape.predict.outputs import save_labels
from ushape.predict.score import scores, summary
from ushape.study import tuning
from ushape.study.design import FOLD_SEED, Study, read_study
from ushape.study.factorial import Design
from ushape.study.guards import find_alike, limits_of_data
from ushape.study.runner import is_finished
from ushape.study.statistics import AGGREGATIONS, METRICS, Difference, contrasts, holm, paired_differences
from ushape.study.unchanged import check_unchanged
from ushape.train.loop import read_log

WIDEST = 1024
"""Pictures are at most this many pixels wide and high."""

Evidence = dict[tuple[str, int], dict[str, NDArray[np.int64]]]
"""(arm, seed) -> {ROI: confusion matrix}, all folds together."""


def write_results(folder: Path) -> dict[str, Any]:
    """Read all runs of a study, write pictures/ and results.json, and return the latter's content.

    RunError where runs are missing or unfinished.
    """
    study = read_study(folder)
    missing = [f for f in (study.run_folder(*run) for run in study.runs()) if not is_finished(folder / f)]
    if missing:
        raise RunError(f"{folder}: {len(missing)} runs are not finished ({missing[0]}): run `ushape compare` again")
    pixels = check_unchanged(study, folder)
    groups = grouping(study.recipe.grouping)
    rois = {roi.name: roi for roi in find_rois(study.data, study.mpp)}
    fold_of = {p: k for k, fold in enumerate(study.folds, 1) for p in fold.test}
    evidence = _evidence(study, folder)
    for roi in rois.values():
        _draw_pictures(folder, study, roi, fold_of[roi.patient], groups)
    results = {
        "ushape": ushape.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(study, folder),
        "data": {
            "folder": study.data.resolve().name,
            "fingerprint": study.fingerprint,
            "rois": len(rois),
            "patients": len({roi.patient for roi in rois.values()}),
            "mpp": study.recipe.mpp,
        },
        "grouping": groups.describe(),
        "folds": [fold.to_dict() for fold in study.folds],
        "split": f"{len(study.folds)} patient-level folds balanced by class pixels, seed {FOLD_SEED}",
        "seeds": list(range(study.seeds)),
        "recipe": study.recipe.to_dict(),
        "versions": read_yaml(folder / "study.yaml")["versions"],
        "arms": [_arm(study, folder, arm, spec, evidence, rois, groups) for arm, spec in study.arms.items()],
        "comparisons": _comparisons(study, evidence, rois, fold_of),
        "design": _design(study.design),
        "matched": study.matched,
        "tuning": tuning.told(study, folder),
        "limits_of_data": limits_of_data(find_alike(pixels, study.recipe.mpp)),
        "effects": _effects(study, evidence, rois, fold_of),
        "rois": {n: _roi(study, evidence, roi, fold_of[roi.patient], groups) for n, roi in rois.items()},
        "curves": [_curve(study, folder, *run) for run in study.runs()],
    }
    write_json(folder / "results.json", results)
    return results


def _evidence(study: Study, folder: Path) -> Evidence:
    found: Evidence = {}
    for arm, fold, seed in study.runs():
        path = folder / study.run_folder(arm, fold, seed) / "rois.json"
        matrices = found.setdefault((arm, seed), {})
        try:
            for roi, entry in read_json(path).items():
                matrices[roi] = np.array(entry["confusion"], np.int64)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path}: is damaged ({error!r}): remove it, then run `ushape compare` again") from error
    return found


def _arm(
    study: Study, folder: Path, arm: str, spec: Spec, evidence: Evidence, rois: dict[str, Roi], groups: Grouping
) -> dict[str, Any]:
    matrices, patients = {}, {}
    for seed in range(study.seeds):
        for roi, matrix in evidence[arm, seed].items():
            matrices[f"{roi}@{seed}"], patients[f"{roi}@{seed}"] = matrix, rois[roi].patient
    made = summary(matrices, patients, groups.classes)
    absent = made.pop("absent")
    runs = [folder / study.run_folder(*run) for run in study.runs() if run[0] == arm]
    minutes = sum(read_log(run / "log.csv")["seconds"][-1] for run in runs) / 60
    return {
        "name": spec.name,
        "folder": arm,
        "parameters": parameters(build(spec, classes=len(groups.classes))),
        "train_minutes": round(minutes, 2),
        "confusion": made.pop("confusion"),
        "scores": made,
        "absent": absent,
    }


def _matrices(study: Study, evidence: Evidence, rois: dict[str, Roi]) -> list[NDArray[np.int64]]:
    """Of each arm [seeds, patients, classes, classes], patients in the order of their names."""
    patients = sorted({roi.patient for roi in rois.values()})

    def of(arm: str, seed: int) -> list[NDArray[np.int64]]:
        return [sum(m for r, m in evidence[arm, seed].items() if rois[r].patient == p) for p in patients]  # type: ignore[misc]

    return [np.stack([np.stack(of(arm, seed)) for seed in range(study.seeds)]) for arm in study.arms]


def _comparisons(
    study: Study, evidence: Evidence, rois: dict[str, Roi], fold_of: dict[str, int]
) -> list[dict[str, Any]]:
    """Every arm with the first, in every metric; p-values adjusted over the arms."""
    names = [spec.name for spec in study.specs]
    first, *others = _matrices(study, evidence, rois)
    folds = [fold_of[p] for p in sorted(fold_of)]

    def compare(metric: str, aggregation: str) -> list[Difference]:
        return paired_differences(others, first, metric, aggregation, folds=folds)

    return _told([{"arm": name, "baseline": names[0]} for name in names[1:]], compare)


def _effects(study: Study, evidence: Evidence, rois: dict[str, Roi], fold_of: dict[str, int]) -> list[dict[str, Any]]:
    """Main effects and interactions of an ablation, in every metric; p-values adjusted over the effects."""
    if study.design is None:
        return []
    matrices, effects = _matrices(study, evidence, rois), study.design.effects
    folds = [fold_of[p] for p in sorted(fold_of)]

    def compare(metric: str, aggregation: str) -> list[Difference]:
        return contrasts(matrices, [e.weights for e in effects], metric, aggregation, folds=folds)

    aliases = [[("- " if sign < 0 else "+ ") + " x ".join(names) for sign, names in e.aliases] for e in effects]
    labels = [{"effect": e.name, "aliases": told} for e, told in zip(effects, aliases, strict=True)]
    return _told(labels, compare)


def _told(labels: list[dict[str, Any]], compare: Callable[[str, str], list[Difference]]) -> list[dict[str, Any]]:
    """Rows of results.json: for each label its difference in every metric and aggregation, with Holm's p."""
    made: list[list[dict[str, Any]]] = [[] for _ in labels]
    if not labels:
        return []
    for aggregation in AGGREGATIONS:
        for metric in METRICS:
            found = compare(metric, aggregation)
            adjusted = holm([each.p for each in found])
            for label, rows, each, p in zip(labels, made, found, adjusted.tolist(), strict=True):
                shown = {k: _rounded(v) for k, v in vars(each).items() if k not in ("seeds", "uncertainty")}
                rows.append(label | shown | {"p_holm": _rounded(p)})
    return [row for rows in made for row in rows]


def _design(design: Design | None) -> dict[str, Any] | None:
    if design is None:
        return None
    words = [" x ".join(word) for word in design.words]
    return {"kind": design.kind, "factors": list(design.factors), "resolution": design.resolution, "words": words}


def _roi(study: Study, evidence: Evidence, roi: Roi, fold: int, groups: Grouping) -> dict[str, Any]:
    arms = {}
    for arm, spec in study.arms.items():
        made = scores(evidence[arm, 0][roi.name], groups.classes)
        kept = {key: made[key] for key in ("macro_dice", "accuracy", "dice")}
        arms[spec.name] = kept | {"prediction": f"pictures/{roi.name}-{arm}.png"}
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
    log, validation = read_log(run / "log.csv"), read_log(run / "validation.csv")
    _, metadata = load_tensors(run / "weights.safetensors")
    return {
        "arm": study.arms[arm].name,
        "fold": fold,
        "seed": seed,
        "step": [int(s) for s in log["step"]],
        "loss": log["loss"],
        "validation_step": [int(s) for s in validation.get("step", [])],
        "validation_macro_dice": validation.get("macro_dice", []),
        "chosen_step": json.loads(metadata["ushape"])["chosen_step"],
    }


def _draw_pictures(folder: Path, study: Study, roi: Roi, fold: int, groups: Grouping) -> None:
    """Image, truth and every arm's first-seed prediction of a ROI, at one size, into pictures/."""
    pixels = open_pixels(roi, study.recipe.mpp)
    height, width = pixels.codes.shape
    scale = min(1.0, WIDEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pictures = folder / "pictures"
    with replacing(pictures / f"{roi.name}-image.jpg") as temporary:
        Image.fromarray(np.asarray(pixels.image)).resize(size, Image.Resampling.BOX).save(temporary, "JPEG", quality=88)
    save_labels(pictures / f"{roi.name}-truth.png", _shrunk(groups.labels(pixels.codes), size), groups)
    for arm in study.arms:
        with Image.open(folder / study.run_folder(arm, fold, 0) / "predictions" / f"{roi.name}.png") as labels:
            save_labels(pictures / f"{roi.name}-{arm}.png", _shrunk(np.asarray(labels), size), groups)


def _shrunk(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _command(study: Study, folder: Path) -> str:
    import shlex

    changed = {k: v for k, v in study.recipe.to_dict().items() if v != type(study.recipe)().to_dict()[k]}
    if study.design:
        words = ["ushape", "ablate", str(study.base), "--mods", *study.design.factors, "--design", study.design.kind]
        words += ["--halvings", str(study.design.halvings)] if study.design.halvings else []
    else:
        words = ["ushape", "compare", *(spec.name for spec in study.specs)]
    words += ["--data", study.data.name, "--out", folder.name]
    words += ["--folds", str(len(study.folds)), "--seeds", str(study.seeds)]
    words += ["--match", study.matched] if study.matched else []
    words += tuning.words(study)
    words += [word for name in hashes(study.specs) for word in ("--plugin", f"{folder.name}/plugins/{name}")]
    words += ["--mpp", f"{study.mpp:g}"] if study.mpp else []
    words += ["--set", *(f"{k}={v}" for k, v in changed.items())] if changed else []
    return shlex.join(words)


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
