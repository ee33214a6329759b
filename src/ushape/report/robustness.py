"""The figure of a robustness test, from its robustness.csv alone."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ushape.predict.degrade import KINDS, Kind
from ushape.report.figures.robustness import Course, Panel, robustness
from ushape.report.formats import replace

TITLES = {
    "haematoxylin": "Haematoxylin", "eosin": "Eosin", "blur": "Blur", "jpeg": "JPEG", "scale": "Pixel size",
}  # fmt: skip

Row = Mapping[str, str]


def draw(folder: Path) -> Path:
    """Write `folder`/robustness.svg: change of pooled macro Dice over the strength of each kind of degradation."""
    with (folder / "robustness.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    whole = {row["arm"]: row["macro_dice"] for row in rows if row["degradation"] == "none"}
    named = [f"{arm} ({_percent(whole[arm])} undegraded)" for arm in arms]
    panels = [_panel(kind, rows, arms) for kind in KINDS.values()]
    label = "Change of pooled macro Dice in points when images are degraded; lines are arms, bands 95% intervals"
    return replace(folder / "robustness.svg", robustness(panels, named, "macro Dice", label))


def _panel(kind: Kind, rows: Sequence[Row], arms: Sequence[str]) -> Panel:
    found = {(r["arm"], float(r["strength"])): r for r in rows if r["degradation"] == kind.name}
    courses = [
        Course(*zip(*(_points(found[arm, s]) if s is not None else (0.0,) * 3 for s in kind.strengths), strict=True))
        for arm in arms
    ]
    return Panel(TITLES[kind.name], kind.unit, [kind.show(s) for s in kind.strengths], courses)


def _points(row: Row) -> tuple[float, float, float]:
    """Change, and its lowest and highest value, in points: a fall is a change for the worse."""
    fall, low, high = (100 * float(row[f"macro_dice_{part}"] or math.nan) for part in ("fall", "low", "high"))
    return -fall, -high, -low


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f}" if share else "–"
