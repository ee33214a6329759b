"""Reliability: is a network that is 80% sure right 8 times in 10?"""

from __future__ import annotations

from matplotlib.figure import Figure

from ushape.report.figures.drawing import LINK, MUTED, RULE, SMALL, style, svg
from ushape.report.results import Calibration


def reliability(bins: Calibration, label: str) -> str:
    """Accuracy over confidence in percent, a dot for each bin that has pixels; bars: the share of pixels in a bin."""
    known = [i for i, n in enumerate(bins.pixels) if n]
    sure = [100 * bins.confidence[i] / bins.pixels[i] for i in known]
    right = [100 * bins.right[i] / bins.pixels[i] for i in known]
    total, width = sum(bins.pixels) or 1, 100 / len(bins.pixels)
    with style():
        figure = Figure(figsize=(SMALL, 2.5))
        axes = figure.subplots()
        shares = [100 * n / total for n in bins.pixels]
        axes.bar([(i + 0.5) * width for i in range(len(shares))], shares, 0.8 * width, color=RULE, lw=0)
        axes.plot([0, 100], [0, 100], color=MUTED, lw=0.9, ls=(0, (4, 3)))
        axes.plot(sure, right, "o-", color=LINK, lw=1.4, ms=4, clip_on=False)
        axes.set(xlim=(0, 100), ylim=(0, 100), xticks=range(0, 101, 25), yticks=range(0, 101, 25))
        axes.set(xlabel="how sure, %", ylabel="how often right, %")
        axes.tick_params(left=False)
        figure.subplots_adjust(0.17, 0.17, 0.95, 0.96)
        return svg(figure, label)
