"""Two modifications together: what one adds without the other and with it, as two lines."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ushape.report.figures.drawing import INK, LINK, MUTED, PAGE, SMALL, grid, style, svg


@dataclass(frozen=True)
class Crossing:
    """Scores in percent: `without` the first modification and `with_` it, each (second off, second on)."""

    first: str
    second: str
    without: tuple[float, float]
    with_: tuple[float, float]

    @classmethod
    def of(cls, first: str, second: str, mean: float, a: float, b: float, ab: float) -> Crossing:
        """From the mean score of all arms, both main effects and their interaction, in shares.

        A factorial's score with x and y in {-1, 1} for off and on is mean + (a x + b y + ab x y) / 2.
        """

        def at(x: int, y: int) -> float:
            return 100 * (mean + (a * x + b * y + ab * x * y) / 2)

        return cls(first, second, (at(-1, -1), at(-1, 1)), (at(1, -1), at(1, 1)))


def crossing(c: Crossing, limits: tuple[float, float], label: str) -> str:
    """The lines over `limits` of the score in percent; parallel lines: neither changes what the other adds."""
    with style():
        figure = Figure(figsize=(SMALL, 2.2))
        axes = figure.subplots()
        for ends, colour, fill in ((c.without, MUTED, PAGE), (c.with_, LINK, LINK)):
            axes.plot([0, 1], ends, "o-", color=colour, mfc=fill, mew=1.4, lw=1.6, ms=5.5, clip_on=False)
        # The words stand apart at least by their height, the upper line's above.
        gap = 0.1 * (limits[1] - limits[0])
        low, high = sorted((c.without[1], c.with_[1]))
        push = max(0.0, (gap - (high - low)) / 2)
        upper = c.with_[1] >= c.without[1]
        axes.text(1.06, (high + push) if upper else (low - push), f"with {c.first}", va="center", size=8.5, color=INK)
        axes.text(1.06, (low - push) if upper else (high + push), f"without {c.first}", va="center", size=8.5,
                  color=MUTED)  # fmt: skip
        axes.set(xlim=(-0.12, 1.05), ylim=limits, ylabel="macro Dice, %", xlabel=c.second)
        grid(axes)
        axes.set_xticks([0, 1], ["without", "with"])
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        figure.subplots_adjust(0.17, 0.2, 0.62, 0.96)
        return svg(figure, label)


def score_range(crossings: list[Crossing]) -> tuple[float, float]:
    """One range of scores for all panels of a report, so that they can be compared."""
    ends = [v for c in crossings for v in (*c.without, *c.with_)]
    around = 0.12 * (max(ends) - min(ends)) or 1.0
    return min(ends) - around, max(ends) + around
