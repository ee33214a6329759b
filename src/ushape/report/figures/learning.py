"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ushape.report.figures.drawing import TONES, WIDTH, grid, style, svg
from ushape.report.results import Curve

SEEDS = ("-", "--", ":", "-.")


def curves(curves: Sequence[Curve], seeds: Sequence[int], limits: Limits, label: str) -> str:
    """Training loss over validation macro Dice, one line for each fold and seed, a dot at the chosen step.

    The loss alone where no run of the report looked at validation patients.
    """
    with style():
        if not limits.looked:
            return _losses(curves, seeds, limits, label)
        figure = Figure(figsize=(WIDTH, 3.5))
        loss, dice = figure.subplots(2, 1, sharex=True)
        for c in curves:
            look = _look(c, seeds)
            loss.plot(*smooth(c.step, c.loss), **look)
            values = [math.nan if v is None else 100 * v for v in c.validation_macro_dice]
            dice.plot(c.validation_step, values, **look)
            if len(c.validation_step) > 1 and c.chosen_step in c.validation_step:
                chosen = c.validation_step.index(c.chosen_step)
                dice.plot([c.chosen_step], [values[chosen]], "o", ms=5, color=look["color"], clip_on=False, zorder=5)
        loss.set(ylim=limits.loss, ylabel="training loss")
        dice.set(xlim=limits.step, ylim=limits.dice, ylabel="validation Dice, %", xlabel="step")
        for axes in (loss, dice):
            grid(axes)
        loss.tick_params(bottom=False)
        figure.align_ylabels()
        figure.subplots_adjust(0.125, 0.125, 0.98, 0.98, hspace=0.16)
        return svg(figure, label)


def _losses(curves: Sequence[Curve], seeds: Sequence[int], limits: Limits, label: str) -> str:
    figure = Figure(figsize=(WIDTH, 2.2))
    axes = figure.subplots()
    for c in curves:
        axes.plot(*smooth(c.step, c.loss), **_look(c, seeds))
    axes.set(xlim=limits.step, ylim=limits.loss, ylabel="training loss", xlabel="step")
    grid(axes)
    figure.subplots_adjust(0.125, 0.2, 0.98, 0.98)
    return svg(figure, label)


def _look(curve: Curve, seeds: Sequence[int]) -> dict[str, Any]:
    return {"color": fold_colour(curve.fold), "ls": SEEDS[seeds.index(curve.seed) % len(SEEDS)], "lw": 1.2}


class Limits:
    """Axis limits over all curves of a report, so that panels can be compared."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        smoothed = [v for c in curves for v in smooth(c.step, c.loss)[1] if math.isfinite(v)]
        self.looked = any(c.validation_step for c in curves)
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
    return TONES[(fold - 1) % len(TONES)]
