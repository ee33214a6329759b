"""Figures as inline SVG that takes its colours from the page, so that one drawing serves light and dark."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ushape.report import words
from ushape.report.results import Comparison, Curve, Effect
from ushape.report.words import interval, side

INK, MUTED, RULE, BETTER, WORSE, PAGE = (f"#0a0b0{i}" for i in range(1, 7))
VARIABLES = {
    INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", BETTER: "var(--better)", WORSE: "var(--worse)",
    PAGE: "var(--page)",
}  # fmt: skip
"""Stand-ins that no drawing uses otherwise, and what each becomes in the page."""

FOLDS = ("#2f7fc1", "#e0762f", "#2f9e77", "#c964a5", "#b08f1d", "#7d74d6", "#8a8a8a", "#c9504b")
"""Middle tones that are read on white and on black; a ninth fold begins again."""

SEEDS = ("-", "--", ":", "-.")
WIDTH = 4.4
"""Inches: at 9 pt, text is read in half a desktop page and on a phone."""

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "ushape", "text.parse_math": False, "font.family": "DejaVu Sans",
    "font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "text.color": INK,
    "axes.edgecolor": RULE, "axes.labelcolor": MUTED, "xtick.color": RULE, "ytick.color": RULE,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "axes.linewidth": 0.8, "axes.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "path.simplify": False, "axes.unicode_minus": True,
}  # fmt: skip


def forest(comparisons: Sequence[Comparison | Effect], span: tuple[float, float], label: str) -> str:
    """Differences in points, a row for each arm or effect, with its interval and a line at zero."""
    n = len(comparisons)
    with _style():
        figure = Figure(figsize=(WIDTH, 0.5 + 0.5 * n))
        axes = figure.subplots()
        for row, c in enumerate(comparisons):
            y = n - 1 - row
            axes.plot([0, 0], [y - 0.5, y + 0.12], color=MUTED, lw=0.9, zorder=1)  # below the words of the row
            number, bounds = interval(c)
            axes.text(
                0, y + 0.29, _short(words.label(c), 58), transform=axes.get_yaxis_transform(), va="center", size=9
            )
            axes.text(1.52, y - 0.08, f"{number} {bounds}", transform=axes.get_yaxis_transform(), va="center",
                      ha="right", size=9)  # fmt: skip
            if c.difference is None or c.low is None or c.high is None:
                continue
            colour = {1: BETTER, 0: MUTED, -1: WORSE}[side(c)]
            axes.plot([100 * c.low, 100 * c.high], [y - 0.08] * 2, color=colour, lw=2, solid_capstyle="butt")
            # Hollow where the interval includes zero: the verdict does not hang on colour alone.
            axes.plot([100 * c.difference], [y - 0.08], "o", ms=6.5, color=colour, mew=1.6,
                      mfc=colour if side(c) else PAGE)  # fmt: skip
        axes.set(xlim=span, ylim=(-0.5, n - 0.3), yticks=[], xlabel="points: right of the line is better")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:g}")
        figure.subplots_adjust(0.035, 0.42 / (0.5 + 0.5 * n), 0.655, 1)
        return _svg(figure, label)


def span(comparisons: Sequence[Comparison | Effect]) -> tuple[float, float]:
    """One x-range in points for all forest plots of a report, so that panels can be compared; zero is inside."""
    ends = [100 * v for c in comparisons for v in (c.low, c.high, c.difference) if v is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def curves(curves: Sequence[Curve], seeds: Sequence[int], limits: Limits, label: str) -> str:
    """Training loss over validation macro Dice, one line for each fold and seed, a dot at the chosen step."""
    with _style():
        figure = Figure(figsize=(WIDTH, 3.5))
        loss, dice = figure.subplots(2, 1, sharex=True)
        for c in curves:
            look = {"color": fold_colour(c.fold), "ls": SEEDS[seeds.index(c.seed) % len(SEEDS)], "lw": 1.2}
            loss.plot(*smooth(c.step, c.loss), **look)
            values = [math.nan if v is None else 100 * v for v in c.validation_macro_dice]
            dice.plot(c.validation_step, values, **look)
            if c.chosen_step in c.validation_step:
                chosen = c.validation_step.index(c.chosen_step)
                dice.plot([c.chosen_step], [values[chosen]], "o", ms=5, color=look["color"], clip_on=False, zorder=5)
        loss.set(ylim=limits.loss, ylabel="training loss")
        dice.set(xlim=limits.step, ylim=limits.dice, ylabel="validation Dice, %", xlabel="step")
        for axes in (loss, dice):
            _grid(axes)
        loss.tick_params(bottom=False)
        figure.align_ylabels()
        figure.subplots_adjust(0.125, 0.125, 0.98, 0.98, hspace=0.16)
        return _svg(figure, label)


class Limits:
    """Axis limits over all curves of a report, so that panels can be compared."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        smoothed = [v for c in curves for v in smooth(c.step, c.loss)[1] if math.isfinite(v)]
        dice = [100 * v for c in curves for v in c.validation_macro_dice if v is not None]
        steps = [s for c in curves for s in (*c.step, *c.validation_step)]
        self.step = (0.0, float(max(steps, default=0)) or 1.0)
        self.loss = (0.0, 1.05 * max(smoothed, default=0.0) or 1.0)
        low, high = min(dice, default=0.0), max(dice, default=100.0)
        pad = 0.08 * (high - low) or 1.0
        self.dice = (max(0.0, low - pad), min(100.0, high + pad))


def smooth(step: Sequence[int], loss: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Means of a window of a twentieth of the curve, at no more than 120 steps: what a small drawing can show."""
    half, stride = len(step) // 40, max(1, math.ceil(len(step) / 120))
    x, y = [], []
    for i in range(0, len(step), stride):
        known = [v for v in loss[max(0, i - half) : i + half + 1] if v is not None]
        x.append(float(step[i]))
        y.append(float(np.mean(known)) if known else math.nan)
    return x, y


def fold_colour(fold: int) -> str:
    return FOLDS[(fold - 1) % len(FOLDS)]


def _grid(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most // 2 - 1] + "…" + text[-(most - most // 2) :]


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change a report
        matplotlib.rcParams.update(STYLE)
        # The page's fonts draw the text: that the font used for measuring lacks a glyph does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element without size, ids of groups, metadata and fixed colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</defs>", "", text, count=1, flags=re.DOTALL)  # would rule the whole page
    text = re.sub(r' id="[a-z]\w*?_\d+"', "", text)  # would repeat from figure to figure
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg ', r"<svg \1", text, count=1)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return text.replace("<svg ", f'<svg class="plot" role="img" aria-label={quoteattr(label)} ', 1)
