"""A study that looks real: blobs of tissue, predictions that are nearly right, scores that belong to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

CLASSES = ["tumor", "stroma", "inflammatory", "necrosis", "other"]
COLOURS = [[213, 62, 79], [102, 194, 165], [94, 79, 162], [254, 224, 97], [158, 158, 158]]
ARMS = ["unet[width=16]", "unet[width=16]+residual", "unet[width=16]+residual+attention-gate+aspp"]
SKILL = [0.62, 0.5, 0.74]
"""How far the arms' predictions stray: the second is the best, the third the worst."""

Study = Callable[..., Path]


def dice(confusion: np.ndarray) -> dict[str, Any]:
    """Scores of a confusion matrix [5, 5] in the form of results.json."""
    hits, truth, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    total = int(confusion.sum())

    def each(above: np.ndarray, below: np.ndarray) -> dict[str, Any]:
        return {c: float(a / b) if b else None for c, a, b in zip(CLASSES, above, below, strict=True)}

    both = {"dice": each(2 * hits, truth + predicted), "iou": each(hits, truth + predicted - hits)}
    right = float(hits.sum() / total) if total else None
    return {
        "macro_dice": average(both["dice"].values()),
        "accuracy": right,
        "balanced_accuracy": average(each(hits, truth).values()),
        "macro_iou": average(both["iou"].values()),
        "micro_dice": right,
        "micro_iou": float(hits.sum() / (2 * total - hits.sum())) if total else None,
        **both,
    }


def average(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def mean(scores: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [key for key in scores[0] if key not in ("dice", "iou")]
    made: dict[str, Any] = {key: average(s[key] for s in scores) for key in whole}
    return made | {key: {c: average(s[key][c] for s in scores) for c in CLASSES} for key in ("dice", "iou")}


def measures(image: dict[str, Any], spoiled: float) -> dict[str, Any]:
    """Borders and calibration that get worse with `spoiled`; `image`: scores to give as those of squares."""
    known = {c: v for c, v in image["dice"].items() if v is not None}
    near = {c: None if c not in known else round(known[c] * 0.7, 4) for c in CLASSES}
    far = {c: None if c not in known else round(60 / known[c], 2) for c in CLASSES}
    absent = {c: 3 for c in CLASSES if c not in known}
    sure = np.linspace(0.5, 14.5, 15) / 15
    pixels = np.array([0, 0, 0, 10, 40, 80, 120, 160, 200, 240, 300, 380, 480, 700, 2900])
    right = np.rint(pixels * np.clip(sure - 0.15 * spoiled * (sure > 0.4), 0, 1)).astype(int)
    confidence = pixels * sure
    error = float(abs(right - confidence).sum() / pixels.sum())
    return {
        "surface_dice": {"tolerance_um": 10.0, "macro": average(near.values()), "classes": near, "absent": absent},
        "hausdorff95_um": {"macro": average(far.values()), "classes": far, "absent": absent},
        "per_image": {"side_px": 256} | image,
        "calibration": {"error": error, "pixels": pixels.tolist(), "right": right.tolist(),
                        "confidence": confidence.tolist()},
    }  # fmt: skip


def verdict(low: float, high: float, p: float, margin: float = 0.01) -> str:
    """As docs/results.md defines it."""
    if -margin < low and high < margin:
        return "equivalent"
    return "unresolved" if p >= 0.05 or low <= 0 <= high else "better" if low > 0 else "worse"


def estimate(
    difference: float, low: float, high: float, metric: str, aggregation: str, patients: int
) -> dict[str, Any]:
    """What comparisons and effects share."""
    p = 0.008 if low > 0 or high < 0 else 0.4
    return {
        "metric": metric, "aggregation": aggregation, "difference": difference, "low": low, "high": high,
        "confidence": 0.95, "patients": patients, "p": p / 2, "p_holm": p, "p_equivalence": 0.3,
        "verdict": verdict(low, high, p),
    }  # fmt: skip


def fields(rng: np.random.Generator, size: tuple[int, int], grain: float) -> np.ndarray:
    """Smooth random fields [5, h, w] with standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal((5, *size)), (0, grain, grain))
    return np.asarray(noise / noise.std((1, 2), keepdims=True))


def tissue(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """An image [h, w, 3] somewhat like haematoxylin and eosin: nuclei over a ground, by class."""
    ground = np.array([[214, 160, 196], [232, 178, 206], [205, 170, 205], [226, 196, 200], [238, 228, 236]])
    density = np.array([0.030, 0.008, 0.05, 0.012, 0.002])[labels]
    nuclei = ndimage.gaussian_filter((rng.random(labels.shape) < density).astype(float), 1.6) * 14
    grain = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 1.2)[..., None] * 22
    image = ground[labels] + grain + np.clip(nuclei, 0, 1)[..., None] * (np.array([88, 58, 130]) - ground[labels])
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def build(
    folder: Path,
    arms: int = 2,
    rois: int = 6,
    size: tuple[int, int] = (40, 60),
    seeds: tuple[int, ...] = (0,),
    edit: Callable[[dict[str, Any]], None] = lambda results: None,
) -> Path:
    """Write a study of `rois` ROIs of `size` (h, w), one patient each, in 5 folds; `edit` changes its results."""
    rng = np.random.default_rng(7)
    (folder / "pictures").mkdir(parents=True)
    names = [(ARMS + [f"unet[width=16]+mod-{i}" for i in range(20)])[i] for i in range(arms)]
    skill = (SKILL + [0.6] * 20)[:arms]
    confusion = np.zeros((arms, rois, 5, 5), int)
    shown: dict[str, Any] = {}
    for r in range(rois):
        field = fields(rng, size, size[0] / 9) + np.array([0.5, 0.45, -0.1, -9 if r % 3 else 0.2, -0.4])[:, None, None]
        labels = field.argmax(0)  # [h, w]
        truth = labels.astype(np.uint8)
        y, x = np.mgrid[: size[0], : size[1]]
        truth[x + 0.4 * y > (1.22 if r % 2 else 2) * size[1]] = 255
        truth[y < 0.06 * size[0]] = 255
        name = f"TCGA-A{r}-A0SK-DX1_xmin{45749 + 811 * r}_ymin25055"
        Image.fromarray(tissue(rng, labels)).save(folder / f"pictures/{name}-image.jpg", quality=90)
        Image.fromarray(truth).save(folder / f"pictures/{name}-truth.png")
        stray = fields(rng, size, size[0] / 40) * 0.7 + fields(rng, size, size[0] / 12)
        entry: dict[str, Any] = {
            "patient": f"TCGA-A{r}", "fold": r % 5 + 1, "image": f"pictures/{name}-image.jpg",
            "truth": f"pictures/{name}-truth.png", "arms": {},
        }  # fmt: skip
        for a, arm in enumerate(names):
            own = fields(rng, size, size[0] / 40) * 0.25
            predicted = (field + skill[a] * (1 + 0.1 * r * (a == 2)) * (stray + own)).argmax(0).astype(np.uint8)
            path = f"pictures/{name}-arm{a}.png"
            Image.fromarray(predicted).save(folder / path)
            counted = truth != 255
            np.add.at(confusion[a, r], (truth[counted], predicted[counted]), 1)
            score = dice(confusion[a, r])
            entry["arms"][arm] = {k: score[k] for k in ("macro_dice", "accuracy", "dice")} | {"prediction": path}
        shown[name] = entry

    def scores(a: int, drawn: Any) -> dict[str, Any]:
        each = mean([dice(confusion[a, r]) for r in drawn])
        return {"pooled": dice(confusion[a, drawn].sum(0)), "per_roi": each, "per_patient": each}

    image = [scores(a, np.arange(rois))["per_roi"] for a in range(arms)]
    comparisons = []
    draws = [rng.integers(rois, size=rois) for _ in range(8)]
    for a in range(1, arms):
        for aggregation in ("pooled", "per_patient"):
            for metric in ("macro_dice", "accuracy"):

                def gain(drawn: Any, a: int = a, aggregation: str = aggregation, metric: str = metric) -> float:
                    return float(scores(a, drawn)[aggregation][metric] - scores(0, drawn)[aggregation][metric])

                low, high = np.quantile([gain(d) for d in draws], [0.025, 0.975])
                found = estimate(gain(np.arange(rois)), float(low), float(high), metric, aggregation, rois)
                tests = {"wilcoxon_p": 0.02, "permutation_p": 0.03, "benjamini_hochberg_p": 0.04, "better": 0.71,
                         "same": 0.2, "worse": 0.09}  # fmt: skip
                comparisons.append(
                    {"arm": names[a], "baseline": names[0], **found}
                    | {"tests": tests if aggregation == "per_patient" else None}
                    | {"variance": {"patient": 4e-4, "seed": 1e-4, "rest": 2e-4} if len(seeds) > 1 else None}
                )
    step, checks = list(range(10, 1201, 10)), list(range(100, 1201, 100))
    curves = []
    for a, arm in enumerate(names):
        for fold in range(1, 6):
            for seed in seeds:
                t, v = np.array(step) / 1200, np.array(checks) / 1200
                loss = 0.35 + 1.1 * np.exp(-5 * t) + 0.1 * skill[a] + rng.normal(0, 0.06, t.size)
                d = 0.74 - 0.2 * skill[a] - 0.4 * np.exp(-5 * v) + rng.normal(0, 0.012, v.size) + 0.012 * fold
                curves.append(
                    {
                        "arm": arm,
                        "fold": fold,
                        "seed": seed,
                        "step": step,
                        "loss": loss.tolist(),
                        "validation_step": checks,
                        "validation_macro_dice": d.tolist(),
                        "chosen_step": checks[int(d.argmax())],
                    }
                )
    patients = [f"TCGA-A{r}" for r in range(rois)]
    results: dict[str, Any] = {
        "ushape": "0.1.0",
        "created": "2026-11-24T12:00:00+00:00",
        "command": f"ushape compare {' '.join(names)} --data bcss-seed10 --grouping bcss-5 --out studies/first",
        "data": {"folder": "bcss-seed10", "fingerprint": "sha256:" + "9f3c" * 16, "rois": rois, "patients": rois,
                 "mpp": 1.2},
        "grouping": {"id": "bcss-5@1", "classes": list(CLASSES), "ignored": [0], "colours": COLOURS,
                     "codes": {"tumor": [1, 19, 20], "stroma": [2], "inflammatory": [3, 10, 11], "necrosis": [4],
                               "other": [5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 21]}},
        "folds": [{"test": patients[k::5], "validation": patients[(k + 1) % 5 :: 5],
                   "train": [p for i, p in enumerate(patients) if i % 5 not in (k, (k + 1) % 5)]} for k in range(5)],
        "split": "5 patient-level folds balanced by class pixels, seed 0",
        "seeds": list(seeds),
        "recipe": {"steps": 1200, "batch": 8, "crop": 256, "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01,
                   "loss": {"cross_entropy": 0.5, "dice": 0.5}, "augment": ["flip", "rotate90", "stain"]},
        "arms": [
            {"name": arm, "spec": arm.split(" ")[0], "asked": None, "changes": {}, "folder": f"arm{a}",
             "train_minutes": 60.1 + 7.3 * a,
             "parameters": 1942645 + 183_202 * a, "flops": 2_300_000_000 + 170_000_000 * a,
             "measures": measures(image[a], skill[a]),
             "scores": scores(a, np.arange(rois)), "confusion": confusion[a].sum(0).tolist(),
             "absent": {c: n for i, c in enumerate(CLASSES)
                        if (n := int(sum(not m[i].sum() and not m[:, i].sum() for m in confusion[a])))}}
            for a, arm in enumerate(names)
        ],
        "versions": {"ushape": "0.1.0", "code": "9f3c", "python": "3.11.7", "torch": "2.9.1"},
        "parts": [{"name": "residual", "summary": "convolutions learn a difference", "source": "He et al. 2016"}],
        "margin": 0.01,
        "matched": None,
        "design": None,
        "effects": [],
        "tuning": None,
        "limits_of_data": [],
        "ranks": ranks(names, rois) if arms > 2 else None,
        "comparisons": comparisons,
        "rois": shown,
        "curves": curves,
    }  # fmt: skip
    edit(results)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def ranks(names: list[str], patients: int) -> dict[str, Any]:
    """The first arms not told apart, nor the last."""
    mean_ranks = {name: 1.2 + 0.8 * i for i, name in enumerate(names)}
    return {"metric": "macro_dice", "mean_ranks": mean_ranks, "critical_difference": 1.1, "friedman_p": 0.03,
            "patients": patients, "confidence": 0.95, "groups": [names[:2], names[1:3]]}  # fmt: skip


def make_ablation(results: dict[str, Any], factors: Sequence[str] = ("residual", "se", "aspp")) -> None:
    """Make an ablation of it: a main effect for each factor, and interactions, of every kind of verdict."""
    ends = {0: (0.006, 0.037), 1: (-0.006, 0.008), 2: (-0.059, 0.036), 3: (-0.037, -0.006)}
    pairs = [f"{a} x {b}" for a, b in combinations(factors, 2)]
    results["design"] = {"kind": "full", "factors": list(factors), "resolution": None, "words": []}
    for metric, aggregation in product(("macro_dice", "accuracy"), ("pooled", "per_patient")):
        for i, effect in enumerate([*factors, *pairs]):
            low, high = ends[i % 4]
            found = estimate((low + high) / 2, low, high, metric, aggregation, results["data"]["patients"])
            results["effects"].append({"effect": effect, "aliases": [], **found})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """`study(arms=3, ...)` builds a study in a fresh folder and returns the folder."""
    made = 0

    def make(**options: Any) -> Path:
        nonlocal made
        made += 1
        return build(tmp_path / f"study{made}", **options)

    return make


@pytest.fixture
def ablated() -> Callable[..., None]:
    """`ablated(results, factors)` adds the effects of a factorial to results."""
    return make_ablation
