"""The figures of a page with their titles, and the words that a reader hears who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ushape.report import figures, verdicts, words
from ushape.report.numbers import interval, percent
from ushape.report.results import AGGREGATIONS, METRICS, Comparison, Effect, Results

CROSSINGS = 6
"""Interactions drawn at most; the table has all of them."""


@dataclass(frozen=True)
class Panel:
    title: str
    svg: Markup
    below: str = ""


def differences(results: Results) -> list[Panel]:
    """Each arm less the first, a panel for each score; macro Dice first."""
    span = figures.span(results.comparisons, results.margin)
    each = [results.compared(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]
    return [_forest(rows, span, results, f"Difference to {results.arms[0].name}") for rows in each if rows]


def effects(results: Results) -> list[Panel]:
    """Main effects and interactions of an ablation, a panel for each score; macro Dice first."""
    span = figures.span(results.effects, results.margin)
    each = [results.effects_on(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]
    return [_forest(rows, span, results, "Effects") for rows in each if rows]


def _forest(rows: Sequence[Comparison | Effect], span: tuple[float, float], results: Results, about: str) -> Panel:
    title = verdicts.score(rows[0])
    each = (f"{verdicts.label(e)} {' '.join(interval(e, results.margin))}, {verdicts.word(e)}" for e in rows)
    label = f"{about}, {title}, points: {'; '.join(each)}"
    return Panel(title[0].upper() + title[1:], Markup(figures.forest(rows, span, results.margin, label)))


def crossings(results: Results) -> list[Panel]:
    """Pairs of modifications whose interaction is told apart from zero first, then the larger ones."""
    if results.design is None:
        return []
    found = {e.effect: e for e in results.effects_on()}
    main = {n: e for n in results.design.factors if (e := found.get(n)) is not None and e.difference is not None}
    scores = [s for a in results.arms if (s := a.scores.pooled.macro_dice) is not None]
    pairs = []
    for e in found.values():
        names = e.effect.split(" x ")
        if len(names) == 2 and set(names) <= main.keys() and e.difference is not None and scores:
            a, b = (main[n].difference or 0.0 for n in names)
            mean = sum(scores) / len(scores)
            pairs.append((e, figures.Crossing.of(names[0], names[1], mean, a, b, e.difference)))
    pairs.sort(key=lambda pair: (pair[0].verdict not in ("better", "worse"), -abs(pair[0].difference or 0.0)))
    limits = figures.score_range([c for _, c in pairs]) if pairs else (0.0, 1.0)
    panels = []
    for e, c in pairs[:CROSSINGS]:
        below = words.crossing(main[c.first], e, c.first, c.second, results.margin)
        if e.aliases:
            below += f" The design cannot tell this from {' '.join(e.aliases)}."
        ends = (f"{c.first} {word} {off:.1f}, {on:.1f}" for word, (off, on) in (("off", c.without), ("on", c.with_)))
        label = f"Macro Dice without and with {c.second}, percent: {'; '.join(ends)}"
        panels.append(Panel(f"{c.first} and {c.second}", Markup(figures.crossing(c, limits, label)), below))
    return panels


def ranks(results: Results) -> Markup | None:
    """The critical-difference diagram."""
    r = results.ranks
    if r is None:
        return None
    told = "; ".join(f"{arm} {rank:.2f}" for arm, rank in sorted(r.mean_ranks.items(), key=lambda x: x[1]))
    groups = "; ".join(", ".join(group) for group in r.groups) or "none"
    label = f"Mean ranks: {told}. Critical difference {r.critical_difference:.2f}. Not told apart: {groups}"
    return Markup(figures.ranks(r, label))


def reliabilities(results: Results) -> list[Panel]:
    """How often each arm is right where it is so sure."""
    panels = []
    for arm in results.arms:
        if bins := arm.measures.calibration:
            below = f"Expected calibration error {percent(bins.error)}%."
            label = f"Reliability of {arm.name}: accuracy over confidence. {below}"
            panels.append(Panel(arm.name, Markup(figures.reliability(bins, label)), below))
    return panels


def curves(results: Results) -> list[Panel]:
    limits = figures.Limits(results.curves)
    panels = []
    for arm in results.arms:
        own = [c for c in results.curves if c.arm == arm.name]
        shown = "loss and validation macro Dice" if limits.looked else "loss"
        label = f"Training {shown} of {arm.name} over steps, {len(own)} runs"
        if own:
            panels.append(Panel(arm.name, Markup(figures.curves(own, results.seeds, limits, label))))
    return panels
