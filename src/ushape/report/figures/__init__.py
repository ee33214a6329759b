"""Figures as inline SVG that takes its colours from the page, so that one drawing serves light and dark."""

from ushape.report.figures.calibration import reliability
from ushape.report.figures.critical import ranks
from ushape.report.figures.differences import forest, span
from ushape.report.figures.interactions import Crossing, crossing, score_range
from ushape.report.figures.learning import Limits, curves, fold_colour

__all__ = [
    "Crossing",
    "Limits",
    "crossing",
    "curves",
    "fold_colour",
    "forest",
    "ranks",
    "reliability",
    "score_range",
    "span",
]
