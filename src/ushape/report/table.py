"""The table of arms: pooled, per-ROI, per-patient and per-class scores side by side."""

from __future__ import annotations

from dataclasses import dataclass

from ushape.report.numbers import interval, percent
from ushape.report.results import Arm, Results


@dataclass(frozen=True)
class Cell:
    """A score as text; `best` of its column; difference to the first arm, its interval and the verdict."""

    text: str
    best: bool = False
    difference: str = ""
    bounds: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Table:
    groups: list[tuple[str, int]]
    heads: list[str]
    starts: list[bool]
    rows: list[tuple[Arm, list[Cell]]]


def table(results: Results) -> Table:
    """One row for each arm. Bold are the scores that print as the highest; with one arm, none."""
    groups = [("Pooled", 2), ("Mean of patients", 2), ("Mean of ROIs", 2)]
    groups.append(("Pooled Dice of each class", len(results.grouping.classes)))
    heads = ["macro Dice", "accuracy"] * 3 + results.grouping.classes
    starts = [True, False] * 3 + [i == 0 for i in range(len(results.grouping.classes))]
    values = [_values(arm, results.grouping.classes) for arm in results.arms]
    highest = [max(v for v in column) for column in zip(*[[_number(v) for v in r] for r in values], strict=True)]
    rows = []
    for arm, row in zip(results.arms, values, strict=True):
        cells = []
        for column, value in enumerate(row):
            best = len(results.arms) > 1 and value is not None and _number(value) == highest[column]
            cells.append(Cell(percent(value), best, *_difference(results, arm, column)))
        rows.append((arm, cells))
    return Table(groups, heads, starts, rows)


def _values(arm: Arm, classes: list[str]) -> list[float | None]:
    s = arm.scores
    overall = [v for score in (s.pooled, s.per_patient, s.per_roi) for v in (score.macro_dice, score.accuracy)]
    return overall + [s.pooled.dice[name] for name in classes]


def _number(value: float | None) -> float:
    """A score as it prints, so that scores that look equal are equal."""
    return -1.0 if value is None else float(percent(value))


def _difference(results: Results, arm: Arm, column: int) -> tuple[str, str, str]:
    kinds = [(m, a) for a in ("pooled", "per_patient") for m in ("macro_dice", "accuracy")]
    found = results.comparison(arm.name, *kinds[column]) if column < len(kinds) else None
    return (*interval(found, results.margin), found.verdict) if found else ("", "", "")
