"""How scores change with the strength of degradations: a panel for each kind, a line for each arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ushape.report.figures.drawing import MUTED, TONES, document, grid, short, style

COLUMNS = 3


@dataclass(frozen=True)
class Course:
    """One arm in one panel: change of the score in points at each strength, and its interval (nan: there is none)."""

    change: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """A kind of degradation: what its strengths are called, in order, and the course of every arm."""

    title: str
    unit: str
    strengths: Sequence[str]
    courses: Sequence[Course]


def robustness(panels: Sequence[Panel], arms: Sequence[str], score: str, label: str) -> str:
    """An SVG document. Bands are the intervals; all panels have one range, so that they can be compared."""
    rows = -(-(len(panels) + 1) // COLUMNS)
    with style():
        figure = Figure(figsize=(2.75 * COLUMNS, 2.35 * rows), layout="constrained")
        places: list[Axes] = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes, panel in zip(places, panels, strict=False):
            x = np.arange(len(panel.strengths))
            axes.axhline(0, color=MUTED, lw=0.9)
            for k, course in enumerate(panel.courses):
                colour = TONES[k % len(TONES)]
                axes.fill_between(x, course.low, course.high, color=colour, alpha=0.15, lw=0)
                axes.plot(x, course.change, "o-", color=colour, lw=1.5, ms=3.5)
            axes.set_title(panel.title, fontsize=9, loc="left")
            axes.set_xlabel(panel.unit)
            grid(axes)
            axes.set_xticks(x, panel.strengths)
        _share_range(places[: len(panels)])
        for row in range(rows):
            places[row * COLUMNS].set_ylabel(f"points of {score}")
        for axes in places[len(panels) :]:
            axes.axis("off")
        for k, arm in enumerate(arms):
            places[len(panels)].plot([], [], "o-", color=TONES[k % len(TONES)], lw=1.5, ms=3.5, label=short(arm, 44))
        places[len(panels)].legend(loc="upper left", frameon=False, fontsize=8, borderaxespad=0)
        return document(figure, label)


def _share_range(places: Sequence[Axes]) -> None:
    """One y-range for all axes: from the lowest to the highest end of any."""
    limits = np.array([axes.get_ylim() for axes in places])
    for axes in places:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
