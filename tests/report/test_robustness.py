"""The figure of a robustness test, from its CSV alone."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ushape.predict.degrade import DEGRADATIONS, KINDS
from ushape.report.figures.robustness import Course, Panel, robustness
from ushape.report.robustness import _panel, draw

ARMS = ("unet[width=16]", "unet & <b>$x$")
HEADS = ["arm", "degradation", "strength", "macro_dice", "macro_dice_fall", "macro_dice_low", "macro_dice_high"]


def rows(bounds: bool = True) -> list[dict[str, str]]:
    made = []
    for k, arm in enumerate(ARMS):
        made.append(dict(zip(HEADS, [arm, "none", "", "0.6", "", "", ""], strict=True)))
        for i, how in enumerate(DEGRADATIONS):
            fall = 0.01 * (i + k)
            ends = [f"{fall - 0.02}", f"{fall + 0.03}"] if bounds else ["", ""]
            numbers = [f"{0.6 - fall}", f"{fall}", *ends]
            made.append(dict(zip(HEADS, [arm, how.kind, f"{how.strength:g}", *numbers], strict=True)))
    return made


@pytest.mark.parametrize("bounds", [True, False])
def test_the_figure_is_a_file_of_its_own(tmp_path: Path, bounds: bool) -> None:
    with (tmp_path / "robustness.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADS)
        writer.writeheader()
        writer.writerows(rows(bounds))
    assert draw(tmp_path) == tmp_path / "robustness.svg"
    text = (tmp_path / "robustness.svg").read_text()
    ET.fromstring(text)
    assert "var(--" not in text
    assert "#0a0b0" not in text
    assert "unet[width=16] (60.0 undegraded)" in text
    assert "unet &amp; &lt;b&gt;$x$" in text
    for title in ("Haematoxylin", "Eosin", "Blur", "JPEG", "Pixel size", "points of macro Dice", "+30", "×0.5"):
        assert title in text
    draw(tmp_path)
    assert (tmp_path / "robustness.svg").read_text() == text


def test_a_fall_is_drawn_downwards_with_its_bounds_in_points() -> None:
    panel = _panel(KINDS["scale"], rows(), ARMS)
    assert panel.strengths == ["-30", "-20", "-10", "0", "+10", "+20", "+30"]
    course, other = panel.courses
    places = [i for i, how in enumerate(DEGRADATIONS) if how.kind == "scale"]
    places.insert(3, -1)
    expected = [0.0 if i < 0 else -float(i) for i in places]
    assert course.change == pytest.approx(expected)
    assert course.low == pytest.approx([0.0 if i < 0 else -i - 3.0 for i in places])
    assert course.high == pytest.approx([0.0 if i < 0 else -i + 2.0 for i in places])
    assert other.change[0] == pytest.approx(course.change[0] - 1)


def test_panels_share_one_range() -> None:
    panels = [
        Panel(f"kind {i}", "strength", ["0", "1"], [Course([0, -5.0 * i], [0, -5.0 * i - 1], [0, -5.0 * i + 1])])
        for i in range(1, 4)
    ]
    text = robustness(panels, ["unet"], "macro Dice", "Falls")
    ET.fromstring(text)
    assert text.count(">−15<") == 3  # each panel has the tick of the deepest fall
