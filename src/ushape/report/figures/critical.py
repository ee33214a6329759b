"""The critical-difference diagram of Demšar 2006, with arms below each other so that long names can be read."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ushape.report.figures.drawing import INK, LINK, MUTED, RULE, WIDTH, short, style, svg
from ushape.report.results import Ranks


def ranks(found: Ranks, label: str) -> str:
    """Mean ranks, best on top; bars at the right join arms that are not told apart; above, the critical difference."""
    order = sorted(found.mean_ranks, key=lambda arm: (found.mean_ranks[arm], arm))
    n, cd = len(order), found.critical_difference
    height = 0.85 + 0.42 * n
    with style():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots()
        across = axes.get_yaxis_transform()
        for row, arm in enumerate(order):
            y, rank = n - 1 - row, found.mean_ranks[arm]
            axes.plot([1, n], [y - 0.12] * 2, color=RULE, lw=0.8, zorder=0)
            axes.plot([rank], [y - 0.12], "o", ms=6.5, color=LINK)
            axes.text(0, y + 0.22, short(arm, 46), transform=across, va="center", size=9)
            axes.text(1.04, y - 0.12, f"{rank:.2f}", transform=across, va="center", size=9)
        for i, group in enumerate(found.groups):
            places = [n - 1 - order.index(arm) for arm in group]
            axes.plot([1.17 + 0.035 * i] * 2, [min(places) - 0.3, max(places) + 0.06], color=INK, lw=3,
                      transform=across, solid_capstyle="butt", clip_on=False)  # fmt: skip
        if cd <= n - 1:  # else the ruler would leave the axis; the caption has the number
            axes.plot([1, 1 + cd], [n - 0.18] * 2, color=INK, lw=1.4, marker="|", ms=7)
            axes.text(1 + cd + 0.03 * n, n - 0.18, f"critical difference {cd:.2f}", va="center", size=8.5, color=MUTED)
        axes.set(xlim=(0.9, n + 0.1), ylim=(-0.5, n + 0.1), yticks=[], xlabel="mean rank over patients (1: best)")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.subplots_adjust(0.035, 0.45 / height, 0.74, 1)
        return svg(figure, label)
