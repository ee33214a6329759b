"""Figures: small SVG in the page's own colours."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from ushape.report import figures
from ushape.report.results import Comparison, Curve

ARM = "unet+residual & <b>$x$ 组织"


def comparison(difference: float | None, low: float | None, high: float | None) -> Comparison:
    return Comparison(ARM, "unet", "macro_dice", "pooled", difference, low, high, 0.95, 10, 0.5)


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
    rows = [comparison(0.02, 0.01, 0.03), comparison(-0.02, -0.03, -0.01), comparison(0, -0.01, 0.01)]
    svg = figures.forest([*rows, comparison(None, None, None)], figures.span(rows), "Differences <of> arms")
    check(svg)
    assert "&lt;b&gt;$x$" in svg
    assert all(f"var(--{word})" in svg for word in ("better", "worse", "muted", "page"))
    assert "+2.0 [1.0, 3.0]" in svg


def test_span_holds_zero_and_all_bounds() -> None:
    low, high = figures.span([comparison(0.02, 0.01, 0.03)])
    assert low < 0
    assert high > 3
    assert figures.span([comparison(None, None, None)]) == (-1, 1)


def test_curves_with_gaps_and_without_anything() -> None:
    full = Curve("a", 1, 0, [10, 20, 30], [1.0, None, 0.5], [20, 30], [0.5, None], 20)
    empty = Curve("a", 9, 1, [], [], [], [], None)
    check(figures.curves([full, empty], [0, 1], figures.Limits([full, empty]), "Curves"))
    check(figures.curves([empty], [0, 1], figures.Limits([empty]), "Curves"))


def test_smooth_is_short_and_keeps_a_constant() -> None:
    x, y = figures.smooth(list(range(5000)), [0.5] * 5000)
    assert len(x) == len(y) <= 120
    assert set(y) == {0.5}
    assert figures.smooth([1, 2], [0.3, 0.1]) == ([1.0, 2.0], [0.3, 0.1])
    assert math.isnan(figures.smooth([1], [None])[1][0])
