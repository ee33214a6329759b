"""What one prediction is ahead of another by, on the same volumes: paired differences of Dice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ushape.errors import DataError
from ushape.lits.score import Scores
from ushape.study.statistics import mean_interval


@dataclass(frozen=True)
class Ahead:
    """Mean over volumes of (this Dice - that Dice), its 95% interval (t over volumes) and p (signs flipped, two-sided).

    volumes: how many. better: in how many this one is the higher.
    """

    difference: float
    low: float
    high: float
    p: float
    volumes: int
    better: int


def ahead(this: dict[str, dict[str, Scores]], that: dict[str, dict[str, Scores]], organ: str) -> Ahead:
    """Both as `score_folder` gives them, of the same data; DataError where they are of fewer than two volumes."""
    if len(this) < 2:
        raise DataError(f"{len(this)} volume to compare: an interval over volumes needs at least 2")
    values = np.array([this[name][organ].dice - that[name][organ].dice for name in this])
    return Ahead(*mean_interval(values), _p(values), len(values), int((values > 0).sum()))


def _p(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Share of the sign patterns whose mean lies at least as far from 0: all up to 2^14 of them, else 20,000 drawn."""
    count = len(values)
    if count <= 14:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean())
    signs = np.random.default_rng(0).choice((-1, 1), (20_000, count))
    return float((1 + (np.abs(signs @ values) >= abs(values.sum()) - 1e-12).sum()) / 20_001)
