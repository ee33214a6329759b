"""p-values of several comparisons, adjusted so that each can be held against the level that one would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ushape.errors import RunError
from ushape.study.statistics.evidence import Float


def holm(p: Sequence[float] | Float) -> Float:
    """Adjusted p-values [n] that keep the chance of any false finding (Holm 1979, Scand J Statist 6:65).

    The i-th smallest of n is multiplied by n + 1 - i; none is let below one before it, nor above 1. nan stays nan and
    is not counted. Holds whatever the dependence, so for arms that share a baseline. RunError outside [0, 1].
    """
    given, order = _ascending(p)
    made = np.full(len(given), np.nan)
    made[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)), 1)
    return made


def benjamini_hochberg(p: Sequence[float] | Float) -> Float:
    """Adjusted p-values [n] that keep the expected share of false findings among all findings.

    The i-th smallest of n is multiplied by n / i; none is let above one after it (Benjamini and Hochberg 1995, J R
    Stat Soc B 57:289). Proved for independent comparisons and for positively dependent ones. nan stays nan and is not
    counted. RunError outside [0, 1].
    """
    given, order = _ascending(p)
    made = np.full(len(given), np.nan)
    raised = given[order] * (len(order) / np.arange(1, len(order) + 1))
    made[order] = np.minimum.accumulate(raised[::-1])[::-1]  # the last is given[order][-1], so none is above 1
    return made


def _ascending(p: Sequence[float] | Float) -> tuple[Float, NDArray[np.intp]]:
    """The p-values, and the places of those that are numbers from the smallest on."""
    given = np.asarray(p, np.float64)
    if given.ndim != 1 or (given < 0).any() or (given > 1).any():
        raise RunError(f"p-values are a list of numbers from 0 to 1, not {given.tolist()}")
    places = np.flatnonzero(~np.isnan(given))
    return given, places[np.argsort(given[places], kind="stable")]
