"""What all figures share: colours of the page, style, and SVG without what would clash in one."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, MUTED, RULE, BETTER, WORSE, PAGE, LINK, WASH = (f"#0a0b0{i}" for i in range(1, 9))
VARIABLES = {
    INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", BETTER: "var(--better)", WORSE: "var(--worse)",
    PAGE: "var(--page)", LINK: "var(--link)", WASH: "var(--band)",
}  # fmt: skip
"""Stand-ins that no drawing uses otherwise, and what each becomes in the page."""

ON_PAPER = {
    INK: "#1a1c1f", MUTED: "#63686f", RULE: "#dfe1e4", BETTER: "#1c6f4c", WORSE: "#a8322d", PAGE: "#ffffff",
    LINK: "#1f5f8b", WASH: "#e9ecef",
}  # fmt: skip
"""What each becomes in a file of its own: the page's colours by daylight."""

TONES = ("#2f7fc1", "#e0762f", "#2f9e77", "#c964a5", "#b08f1d", "#7d74d6", "#8a8a8a", "#c9504b")
"""Of lines: middle tones that are read on white and on black. A ninth line begins again."""

WIDTH, SMALL = 4.4, 2.9
"""Inches: at 9 pt, text is read in half a desktop page and on a phone; small ones in a quarter."""

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "ushape", "text.parse_math": False, "font.family": "DejaVu Sans",
    "font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "text.color": INK,
    "axes.edgecolor": RULE, "axes.labelcolor": MUTED, "xtick.color": RULE, "ytick.color": RULE,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "axes.linewidth": 0.8, "axes.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "path.simplify": False, "axes.unicode_minus": True,
}  # fmt: skip


def grid(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most // 2 - 1] + "…" + text[-(most - most // 2) :]


@contextmanager
def style() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change a report
        matplotlib.rcParams.update(STYLE)
        # The page's fonts draw the text: that the font used for measuring lacks a glyph does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def svg(figure: Figure, label: str) -> str:
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


def document(figure: Figure, label: str) -> str:
    """The figure as an SVG file of its own, on a white page, with a title for those who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor=PAGE, metadata={"Date": None, "Title": label})
    text = buffer.getvalue()
    for colour, fixed in ON_PAPER.items():
        text = text.replace(colour, fixed)
    return text
