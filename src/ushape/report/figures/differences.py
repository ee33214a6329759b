"""Differences or effects with their intervals, a row each, beside the margin that does not matter."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ushape.report import verdicts
from ushape.report.figures.drawing import BETTER, INK, MUTED, PAGE, WASH, WIDTH, WORSE, short, style, svg
from ushape.report.numbers import interval
from ushape.report.results import Comparison, Effect, Estimate

COLOURS = {"better": BETTER, "worse": WORSE, "equivalent": INK, "unresolved": MUTED}
MARKERS = {"better": "o", "worse": "o", "equivalent": "s", "unresolved": "o"}
"""Hollow where nothing can be said: the verdict does not hang on colour alone."""


def forest(rows: Sequence[Comparison | Effect], span: tuple[float, float], margin: float, label: str) -> str:
    """Differences in points with their intervals, a line at zero and a band of ±margin (a share) around it."""
    n = len(rows)
    effects = bool(rows) and isinstance(rows[0], Effect)
    left, right = ("harms", "helps") if effects else ("worse", "better")
    height = 0.62 + 0.5 * n
    with style():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots()
        across = axes.get_yaxis_transform()
        for row, e in enumerate(rows):
            y = n - 1 - row
            # Below the words of the row, which would be crossed.
            axes.fill_between([-100 * margin, 100 * margin], y - 0.34, y + 0.12, color=WASH, lw=0, zorder=0)
            axes.plot([0, 0], [y - 0.34, y + 0.12], color=MUTED, lw=0.9, zorder=1)
            number, bounds = interval(e, margin)
            colour = COLOURS[e.verdict]
            word = verdicts.word(e)
            name = short(verdicts.label(e), 54 - len(word))  # they share a line, in fonts wider than the one measured
            axes.text(0, y + 0.29, name, transform=across, va="center", size=9)
            axes.text(1.52, y + 0.29, word, transform=across, va="center", ha="right", size=9, color=colour)
            axes.text(1.52, y - 0.1, f"{number} {bounds}", transform=across, va="center", ha="right", size=9)
            if e.difference is None or e.low is None or e.high is None:
                continue
            axes.plot([100 * e.low, 100 * e.high], [y - 0.1] * 2, color=colour, lw=2, solid_capstyle="butt")
            axes.plot([100 * e.difference], [y - 0.1], MARKERS[e.verdict], ms=6.5, color=colour, mew=1.6,
                      mfc=PAGE if e.verdict == "unresolved" else colour)  # fmt: skip
        axes.set(xlim=span, ylim=(-0.5, n - 0.3), yticks=[])
        axes.set_xlabel(f"← {left} · points of {verdicts.score(rows[0])} · {right} →" if rows else "", loc="left")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:g}")
        figure.subplots_adjust(0.035, 0.48 / height, 0.655, 1 - 0.06 / height)
        return svg(figure, label)


def span(rows: Sequence[Estimate], margin: float = 0.0) -> tuple[float, float]:
    """One x-range in points for all forest plots of a report, so that panels can be compared; ±margin is inside."""
    ends = [100 * v for e in rows for v in (e.low, e.high, e.difference) if v is not None]
    ends += [-100 * margin, 100 * margin]
    low, high = min(ends), max(ends)
    around = 0.06 * (high - low) or 1.0
    return low - around, high + around
