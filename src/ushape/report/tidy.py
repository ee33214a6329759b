"""A study's numbers as CSV files, one number or one comparison a row, in shares and full precision."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ushape.report.results import Comparison, Effect, Results
from ushape.report.sheets import counted

Row = dict[str, Any]


def tables(results: Results) -> dict[str, str]:
    """File name -> its text; tables without a row are left out. An empty cell: there is no such number."""
    made = {
        "settings": _settings(results), "arms": _arms(results), "scores": _scores(results),
        "comparisons": map(_comparison, results.comparisons), "effects": map(_effect, results.effects),
        "ranks": _ranks(results), "rois": _rois(results), "calibration": _calibration(results),
        "tuning": _tuning(results),
    }  # fmt: skip
    told = {f"{name}.csv": list(rows) for name, rows in made.items()}
    return {name: _text(rows) for name, rows in told.items() if rows}


def _settings(r: Results) -> Iterator[Row]:
    """What the study was, as key and value."""
    told: Row = {
        "ushape": r.ushape, "created": r.created, "command": r.command, "data": r.data.folder,
        "fingerprint": r.data.fingerprint, "rois": r.data.rois, "patients": r.data.patients, "mpp": r.data.mpp,
        "grouping": r.grouping.id, "split": r.split, "folds": len(r.folds), "seeds": r.seeds, "margin": r.margin,
        "matched": r.matched, "design": r.design.kind if r.design else None,
    }  # fmt: skip
    told |= {f"recipe.{k}": v for k, v in r.recipe.items()} | {f"version.{k}": v for k, v in r.versions.items()}
    for key, value in told.items():
        yield {"key": key, "value": json.dumps(value) if isinstance(value, (list, dict)) else value}


def _arms(r: Results) -> Iterator[Row]:
    for a in r.arms:
        yield {"arm": a.name, "parameters": a.parameters, "flops": a.flops, "train_minutes": a.train_minutes}


def _scores(r: Results) -> Iterator[Row]:
    """Columns arm, metric, aggregation, class (empty: all together), value; counts of absences too."""
    whole = ("macro_dice", "micro_dice", "macro_iou", "micro_iou", "accuracy", "balanced_accuracy")
    for arm in r.arms:
        found: list[tuple[str, str, str, float | None]] = []
        for key, _, score in counted(arm):
            found += [(metric, key, "", getattr(score, metric)) for metric in whole]
            found += [("dice", key, c, score.dice.get(c)) for c in r.grouping.classes]
            found += [("iou", key, c, score.iou.get(c)) for c in r.grouping.classes]
        m = arm.measures
        for name, each in (("surface_dice", m.surface_dice), ("hausdorff95_um", m.hausdorff95_um)):
            found.append((name, "per_roi", "", each.macro))
            found += [(name, "per_roi", c, each.classes.get(c)) for c in r.grouping.classes]
            found += [(f"{name}_absent", "count", c, each.absent.get(c, 0)) for c in r.grouping.classes]
        found += [("dice_absent", "count", c, arm.absent.get(c, 0)) for c in r.grouping.classes]
        if m.calibration:
            found.append(("expected_calibration_error", "pooled", "", m.calibration.error))
        for metric, aggregation, name, value in found:
            yield {"arm": arm.name, "metric": metric, "aggregation": aggregation, "class": name, "value": value}


def _comparison(c: Comparison) -> Row:
    row = asdict(c)
    tests, variance = row.pop("tests") or {}, row.pop("variance") or {}
    for key in ("wilcoxon_p", "permutation_p", "benjamini_hochberg_p", "better", "same", "worse"):
        row[key] = tests.get(key)
    return _first(row, "arm", "baseline") | {f"variance_{k}": variance.get(k) for k in ("patient", "seed", "rest")}


def _effect(e: Effect) -> Row:
    return _first(asdict(e) | {"aliases": " ".join(e.aliases)}, "effect", "aliases")


def _first(row: Row, *keys: str) -> Row:
    return {key: row[key] for key in keys} | row


def _ranks(r: Results) -> Iterator[Row]:
    for arm, rank in r.ranks.mean_ranks.items() if r.ranks else ():
        assert r.ranks
        yield {"arm": arm, "mean_rank": rank, "critical_difference": r.ranks.critical_difference,
               "friedman_p": r.ranks.friedman_p, "patients": r.ranks.patients}  # fmt: skip


def _rois(r: Results) -> Iterator[Row]:
    for name, roi in r.rois.items():
        for arm, each in roi.arms.items():
            for metric in ("macro_dice", "accuracy"):
                value = getattr(each, metric)
                yield {"roi": name, "patient": roi.patient, "fold": roi.fold, "arm": arm, "metric": metric,
                       "value": value}  # fmt: skip


def _calibration(r: Results) -> Iterator[Row]:
    for arm in r.arms:
        if bins := arm.measures.calibration:
            for i, (n, right, sure) in enumerate(zip(bins.pixels, bins.right, bins.confidence, strict=True)):
                ends = {"from": i / len(bins.pixels), "to": (i + 1) / len(bins.pixels)}
                yield {"arm": arm.name, **ends, "pixels": n, "right": right, "confidence": sure / n if n else None}


def _tuning(r: Results) -> Iterator[Row]:
    for arm, searches in r.tuning.arms.items() if r.tuning else ():
        assert r.tuning
        for s in searches:
            for i, trial in enumerate(s.trials, 1):
                yield {"arm": arm, "fold": s.fold, "trial": i, r.tuning.key: trial.get(r.tuning.key),
                       "macro_dice": trial.get("macro_dice"), "pruned": trial.get("pruned"),
                       "chosen": s.chosen}  # fmt: skip


def _text(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
