"""Calibration: hand-made bins, what adds up, and what never counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.predict.calibration import BINS, Calibration, calibration

truths = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, IGNORE]))
guesses = arrays(np.uint8, (6, 7), elements=st.integers(0, 2))
sures = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32))


def test_a_hand_made_example() -> None:
    """Two of the three pixels of 90% are right (|2 - 2.7|), the one of 50% is not (|0 - 0.5|): 1.2 of 4 pixels."""
    truth = np.array([[0, 0, 1, 1, IGNORE]], np.uint8)
    predicted = np.array([[0, 0, 0, 0, 0]], np.uint8)
    made = calibration(truth, predicted, np.array([[0.9, 0.9, 0.9, 0.5, 0.1]], np.float32))
    assert made.pixels[[7, 13]].tolist() == [1, 3]
    assert made.pixels.sum() == 4
    assert made.right[[7, 13]].tolist() == [0, 2]
    assert made.error == pytest.approx(1.2 / 4)


def test_bins_hold_their_upper_end() -> None:
    edges = (np.arange(BINS + 1) / BINS).astype(np.float64)
    made = calibration(np.zeros(BINS + 1, np.uint8), np.zeros(BINS + 1, np.uint8), edges)  # type: ignore[arg-type]
    assert made.pixels.tolist() == [2] + [1] * (BINS - 1)  # 0 itself goes into the first


def test_sure_and_right_is_perfect_and_nothing_counted_has_no_error() -> None:
    labels = np.array([[0, 1]], np.uint8)
    assert calibration(labels, labels, np.ones((1, 2), np.float32)).error == 0
    nothing = calibration(np.full((1, 2), IGNORE, np.uint8), labels, np.ones((1, 2), np.float32))
    assert np.isnan(nothing.error)
    assert nothing.pixels.sum() == 0


@given(truths, guesses, sures)
def test_parts_add_up_and_ignored_pixels_never_count(
    truth: NDArray[np.uint8], guess: NDArray[np.uint8], sure: NDArray[np.float32]
) -> None:
    whole = calibration(truth, guess, sure)
    halves = calibration(truth[:3], guess[:3], sure[:3]) + calibration(truth[3:], guess[3:], sure[3:])
    assert np.array_equal(whole.pixels, halves.pixels)
    assert np.array_equal(whole.right, halves.right)
    assert np.allclose(whole.confidence, halves.confidence)
    assert (whole.right <= whole.pixels).all()
    assert whole.pixels.sum() == (truth != IGNORE).sum()
    other = np.where(truth == IGNORE, 1 - sure, sure).astype(np.float32)
    assert calibration(truth, guess, other).to_dict() == whole.to_dict()
    assert np.isnan(whole.error) or 0 <= whole.error <= 1


@given(truths, guesses, sures)
def test_it_survives_a_file(truth: NDArray[np.uint8], guess: NDArray[np.uint8], sure: NDArray[np.float32]) -> None:
    made = calibration(truth, guess, sure)
    again = Calibration.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.to_dict() == made.to_dict()


def test_damaged_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="15 bins"):
        Calibration.from_dict({"pixels": [1], "right": [1], "confidence": [1.0]})
