"""A few SVG shapes, and how wide text is: what diagrams are drawn with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
INK, GREY = "#20242b", "#69707d"

_WIDTHS = (  # in em, of the widest of the common sans-serif fonts, so that no font exceeds what is reserved
    ("il|'", 0.29),
    ("I.,:;![]()·- jtfr/\\", 0.41),
    ("mwMW@%", 0.99),
    ("ABCDEGHKNOPQRSTUVXYZ&+=<>×≥≤→", 0.84),
)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """An upper estimate of the width of a line in px, whatever sans-serif font is used."""
    ems = sum(next((em for known, em in _WIDTHS if c in known), 0.64) for c in text)
    return ems * size * (1.1 if bold else 1.0)


def wrap(text: str, size: float, width: float, bold: bool = False, after: str = " ", before: str = "") -> list[str]:
    """Lines of at most `width` px, broken behind the characters `after` or in front of those in `before`.

    A piece that is wider by itself is cut.
    """
    pieces = [""]
    for character in text:
        if pieces[-1] and (pieces[-1][-1] in after or character in before):
            pieces.append("")
        if text_width(pieces[-1] + character, size, bold) > width and pieces[-1]:
            pieces.append("")
        pieces[-1] += character
    lines = [""]
    for piece in pieces:
        if lines[-1] and text_width(lines[-1] + piece.rstrip(), size, bold) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def fit(text: str, size: float, width: float, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than `width` px."""
    if text_width(text, size, bold) <= width:
        return text
    return wrap(text, size, width - text_width("…", size, bold), bold, after="")[0] + "…"


class Svg:
    """Shapes in the order of drawing; `to_string` closes them into a document of the size given."""

    def __init__(self) -> None:
        self.shapes: list[ET.Element] = []

    def _add(self, tag: str, text: str | None = None, **attributes: object) -> None:
        written = {k.replace("_", "-"): _number(v) for k, v in attributes.items() if v is not None}
        element = ET.Element(tag, written)
        element.text = text
        self.shapes.append(element)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str | None = None, radius: float = 2
    ) -> None:
        line = 1.2 if stroke else None
        self._add("rect", x=x, y=y, width=width, height=height, rx=radius, fill=fill, stroke=stroke, stroke_width=line)

    def circle(self, x: float, y: float, radius: float, fill: str, stroke: str | None = None) -> None:
        self._add("circle", cx=x, cy=y, r=radius, fill=fill, stroke=stroke, stroke_width=1.4 if stroke else None)

    def text(
        self, x: float, y: float, text: str, size: float, colour: str = INK, bold: bool = False, anchor: str = "start"
    ) -> None:
        """A line of text on the baseline y; `anchor`: which point of it x is (start, middle or end)."""
        weight = "bold" if bold else None
        where = None if anchor == "start" else anchor
        self._add("text", text, x=x, y=y, font_size=size, fill=colour, font_weight=weight, text_anchor=where)

    def words(self, x: float, y: float, size: float, runs: Sequence[tuple[str, str, bool]]) -> float:
        """Pieces of text (text, colour, bold) after each other on one line; their width at most."""
        self._add("text", x=x, y=y, font_size=size)
        for text, colour, bold in runs:
            span = ET.SubElement(self.shapes[-1], "tspan", {"fill": colour})
            span.text = text
            if bold:
                span.set("font-weight", "bold")
        return sum(text_width(text, size, bold) for text, _, bold in runs)

    def path(
        self, points: str, colour: str, width: float = 1.6, dashed: bool = False, opacity: float | None = None
    ) -> None:
        dashes = "4 3" if dashed else None
        self._add(
            "path", d=points, fill="none", stroke=colour, stroke_width=width, stroke_dasharray=dashes, opacity=opacity
        )

    def arrow(
        self,
        points: Sequence[tuple[float, float]],
        colour: str,
        width: float = 1.6,
        dashed: bool = False,
        opacity: float | None = None,
        curve: bool = False,
    ) -> None:
        """A line through the points with a head at the last; `curve`: a Bézier of four points instead."""
        (x, y), (px, py) = points[-1], points[-2]
        length = ((x - px) ** 2 + (y - py) ** 2) ** 0.5 or 1.0
        ux, uy, head = (x - px) / length, (y - py) / length, 4 + 1.6 * width
        base = (x - head * ux, y - head * uy)
        through = [*points[:-1], base]
        joint = " C" if curve else " L"
        start, *rest = (f"{_number(a)},{_number(b)}" for a, b in through)
        self.path(f"M{start}{joint}{(' ' if curve else ' L').join(rest)}", colour, width, dashed, opacity)
        half = 0.42 * head
        corners = [(x, y), (base[0] - half * uy, base[1] + half * ux), (base[0] + half * uy, base[1] - half * ux)]
        self._add("polygon", points=" ".join(f"{_number(a)},{_number(b)}" for a, b in corners), fill=colour)

    def badge(self, x: float, y: float, number: int, colour: str) -> None:
        """A numbered disc, of radius 8."""
        self.circle(x, y, 8, colour, "#ffffff")
        self.text(x, y + 3.6, str(number), 10, "#ffffff", bold=True, anchor="middle")

    def to_string(self, width: float, height: float, title: str, description: str) -> str:
        attributes = {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": _number(width),
            "height": _number(height),
            "viewBox": f"0 0 {_number(width)} {_number(height)}",
            "font-family": FONT,
            "role": "img",
        }
        root = ET.Element("svg", attributes)
        ET.SubElement(root, "title").text = title
        ET.SubElement(root, "desc").text = description
        root.append(ET.Element("rect", {"width": "100%", "height": "100%", "fill": "#ffffff"}))
        root.extend(self.shapes)
        lines = [ET.tostring(child, encoding="unicode") for child in root]
        root[:] = []
        opening = ET.tostring(root, encoding="unicode").replace(" />", ">")
        return "\n".join([opening, *lines, "</svg>", ""])  # not indented: space within a line of text would show


def _number(value: object) -> str:
    """Numbers with at most two decimals; anything else as it is."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
