"""Figures: small SVG in the page's own colours."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from ushape.report import figures
from ushape.report.figures.interactions import Crossing, score_range
from ushape.report.figures.learning import smooth
from ushape.report.results import Calibration, Comparison, Curve, Effect, Ranks

ARM = "unet+residual & <b>$x$ 组织"


def comparison(
    difference: float | None, low: float | None, high: float | None, verdict: str = "unresolved"
) -> Comparison:
    return Comparison(
        "macro_dice", "pooled", difference, low, high, 0.95, 10, 0.5, 0.5, verdict, ARM, "unet", None, None
    )


def check(svg: str) -> None:
    """Well formed, scalable, labelled, in the page's colours, with nothing that could clash or load."""
    ET.fromstring(svg)
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "aria-label" in head
    assert not re.search(r'\b(width|height)="', head)
    assert "#0a0b0" not in svg
    assert "var(--ink)" in svg or "var(--muted)" in svg
    assert "<style" not in svg
    assert not re.search(r'href="(?!#)', svg)
    assert not re.search(r'id="(figure|axes|text|line2d|patch)_', svg)


def test_forest() -> None:
    rows = [
        comparison(0.02, 0.01, 0.03, "better"),
        comparison(-0.02, -0.03, -0.01, "worse"),
        comparison(0, -0.01, 0.01),
    ]
    rows += [comparison(0, -0.002, 0.002, "equivalent"), comparison(None, None, None)]
    svg = figures.forest(rows, figures.span(rows), 0.01, "Differences <of> arms")
    check(svg)
    assert "&lt;b&gt;$x$" in svg
    assert all(f"var(--{word})" in svg for word in ("better", "worse", "muted", "page", "band"))
    assert "+2.0 [1.0, 3.0]" in svg
    assert "← worse · points of pooled macro Dice · better →" in svg
    assert [svg.count(f">{word}<") for word in ("better", "worse", "no difference", "undecided")] == [1, 1, 1, 2]


def test_forest_of_effects_says_which_side_harms() -> None:
    shared = ("macro_dice", "pooled", 0.02, 0.01, 0.03, 0.95, 10, 0.01, 0.5, "better")
    svg = figures.forest(
        [Effect(*shared, "se", []), Effect(*shared, "se x aspp", ["- a x b"])], (-1, 4), 0.01, "Effects"
    )
    check(svg)
    assert "← harms · points of pooled macro Dice · helps →" in svg
    assert ">helps<" in svg
    assert ">more together<" in svg
    assert "se x aspp - a x b" in svg


def test_reliability_leaves_out_empty_bins() -> None:
    bins = Calibration(0.1, [0, 10, 30], [0, 5, 27], [0.0, 6.0, 28.5])
    check(figures.reliability(bins, "Reliability"))
    check(figures.reliability(Calibration(None, [0, 0], [0, 0], [0.0, 0.0]), "Nothing"))


def test_ranks() -> None:
    found = Ranks("macro_dice", {ARM: 1.4, "b": 1.9, "c": 2.7}, 0.8, 0.03, 10, 0.95, [[ARM, "b"]])
    svg = figures.ranks(found, "Ranks")
    check(svg)
    assert "critical difference 0.80" in svg
    wide = Ranks("macro_dice", found.mean_ranks, 2.4, 0.4, 3, 0.95, [])
    assert "critical difference" not in figures.ranks(wide, "Ranks")  # longer than the axis


def test_crossing_shows_the_four_means() -> None:
    """Means of 50, 52, 53 and 57 percent (none, b, a, both): a adds 4 on average, b adds 3, together 1 more."""
    c = Crossing.of("a", "b", 0.53, 0.04, 0.03, 0.01)
    assert [round(v, 6) for v in (*c.without, *c.with_)] == [50, 52, 53, 57]
    svg = figures.crossing(c, score_range([c]), "Two changes")
    check(svg)
    assert all(f">{words}<" in svg for words in ("with a", "without a", "b", "without", "with"))
    low, high = score_range([c])
    assert low < 50 < 57 < high
    same = Crossing.of("a", "b", 0.5, 0.0, 0.0, 0.0)
    check(figures.crossing(same, score_range([same]), "Nothing"))


def test_span_holds_zero_all_bounds_and_the_margin() -> None:
    low, high = figures.span([comparison(0.02, 0.01, 0.03)], 0.05)
    assert low < -5
    assert high > 5
    low, high = figures.span([comparison(0.02, 0.01, 0.08)])
    assert low < 0
    assert high > 8
    assert figures.span([comparison(None, None, None)]) == (-1, 1)


def test_curves_with_gaps_and_without_anything() -> None:
    full = Curve("a", 1, 0, [10, 20, 30], [1.0, None, 0.5], [20, 30], [0.5, None], 20)
    empty = Curve("a", 9, 1, [], [], [], [], None)
    check(figures.curves([full, empty], [0, 1], figures.Limits([full, empty]), "Curves"))
    check(figures.curves([empty], [0, 1], figures.Limits([empty]), "Curves"))


def test_smooth_is_short_and_keeps_a_constant() -> None:
    x, y = smooth(list(range(5000)), [0.5] * 5000)
    assert len(x) == len(y) <= 120
    assert set(y) == {0.5}
    assert smooth([1, 2], [0.3, 0.1]) == ([1.0, 2.0], [0.3, 0.1])
    assert math.isnan(smooth([1], [None])[1][0])
