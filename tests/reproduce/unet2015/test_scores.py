from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ushape.reproduce.unet2015.borders import cells
from ushape.reproduce.unet2015.scores import (
    CHALLENGE,
    THRESHOLDS,
    Curve,
    curve,
    information_score,
    overlap,
    pixel_error,
    rand_score,
)

TRUTH = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]])
MERGED = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1]])
SPLIT = np.array([[1, 1, 0, 2, 0, 3, 3, 3, 3]])
LABELS = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def test_shared_pixels_are_counted_over_cells_of_the_truth_only() -> None:
    table, border = overlap(TRUTH, SPLIT)
    assert table.tolist() == [[2, 1, 0], [0, 0, 4]]
    assert border.tolist() == [1, 0]


def test_rand_score_by_hand() -> None:
    """Merged: N = 8, shares of pairs 16 + 16 and 64: 2 * 32 / (32 + 64).

    Split: 2^2 + 1^2 + 4^2 and one border pixel, 22 in both sums of the segmentation: 2 * 22 / (32 + 22).
    """
    assert rand_score(TRUTH, TRUTH) == 1
    assert rand_score(TRUTH, MERGED) == pytest.approx(64 / 96)
    assert rand_score(TRUTH, SPLIT) == pytest.approx(44 / 54)


def test_information_score_by_hand() -> None:
    """Merged: the segmentation says nothing, I = 0.

    Split: T has 1 bit. S has shares 1/4, 1/8, 1/8 (the border pixel), 1/2: 1.75 bits, and tells T: I = 1.
    """
    assert information_score(TRUTH, TRUTH) == pytest.approx(1)
    assert information_score(TRUTH, MERGED) == pytest.approx(0)
    assert information_score(TRUTH, SPLIT) == pytest.approx(2 * 1 / (1 + 1.75))


def test_information_score_of_a_partly_wrong_border_by_hand() -> None:
    """Cells 1111 and 2222 are seen as 111 and 12222: shares 3/8, 1/8 | 0, 4/8 against 4/8, 4/8 and 3/8, 5/8."""
    truth, found = np.array([[1, 1, 1, 1, 2, 2, 2, 2]]), np.array([[1, 1, 1, 2, 2, 2, 2, 2]])
    h = {k: -k / 8 * np.log2(k / 8) for k in range(1, 8)}
    mutual = 1 + h[3] + h[5] - (h[3] + h[1] + h[4])
    assert information_score(truth, found) == pytest.approx(2 * mutual / (1 + h[3] + h[5]))
    assert rand_score(truth, found) == pytest.approx(2 * (9 + 1 + 16) / (32 + 34))


def test_no_true_cell_gives_no_score_and_one_cell_each_the_full_one() -> None:
    nothing = np.zeros_like(TRUTH)
    assert np.isnan(rand_score(nothing, TRUTH))
    assert np.isnan(information_score(nothing, TRUTH))
    assert information_score(MERGED, MERGED) == rand_score(MERGED, MERGED) == 1


def test_everything_called_border_is_all_pixels_alone() -> None:
    assert rand_score(TRUTH, np.zeros_like(TRUTH)) == pytest.approx(2 * 8 / (32 + 8))
    assert information_score(TRUTH, np.zeros_like(TRUTH)) == pytest.approx(2 * 1 / (1 + 3))


@given(LABELS, LABELS)
def test_scores_are_those_of_pairs_counted_one_by_one(truth: np.ndarray, found: np.ndarray) -> None:
    inside = truth > 0
    t, s = truth[inside], found[inside].astype(np.int64)
    s[s == 0] = 100 + np.arange((s == 0).sum())  # each border pixel a cell of its own
    if not len(t):
        return
    same_t, same_s = t[:, None] == t, s[:, None] == s
    assert rand_score(truth, found) == pytest.approx(2 * (same_t & same_s).sum() / (same_t.sum() + same_s.sum()))
    joint = [np.mean((t == a) & (s == b)) for a in set(t.tolist()) for b in set(s.tolist())]
    entropy = [
        -sum(p * np.log(p) for p in shares if p)
        for shares in ([np.mean(t == a) for a in set(t.tolist())], [np.mean(s == b) for b in set(s.tolist())], joint)
    ]
    if entropy[0] + entropy[1] > 0:
        expected = 2 * (entropy[0] + entropy[1] - entropy[2]) / (entropy[0] + entropy[1])
        assert information_score(truth, found) == pytest.approx(expected, abs=1e-12)


def test_pixel_error_by_hand() -> None:
    assert pixel_error(np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 0, 1]], bool)) == 0.5


def test_a_curve_has_each_threshold_and_thins_before_it_compares() -> None:
    """Two cells, a membrane of 2 px in truth and of 6 px in the map."""
    truth = np.ones((8, 20), bool)
    truth[:, 9:11] = False
    probability = np.full((8, 20), 0.95, np.float32)
    probability[:, 7:13] = 0.35
    made = curve([truth], [probability])
    assert made.values["v_rand"].shape == (len(THRESHOLDS), 1)
    low, high = THRESHOLDS.index(0.3), THRESHOLDS.index(0.4)  # at .3 the membrane is not seen, at .4 it is
    assert made.at("v_rand", low)[0] == pytest.approx(2 / 3)  # both cells merged
    assert made.at("v_rand", high)[0] == 1  # the thinned line lies inside the true membrane
    assert made.at("pixel_error", low)[0] == pytest.approx(2 / 20)
    assert made.at("pixel_error", high)[0] == pytest.approx(4 / 20)
    assert made.best("v_rand") == made.best("v_info") == THRESHOLDS.index(0.35)  # not above .35: no interior
    assert made.best("v_rand", CHALLENGE) == high
    assert made.best("pixel_error") == 0


def test_the_best_threshold_is_of_the_mean_over_slices() -> None:
    v = np.array([[0.9, 0.1], [0.6, 0.6], [0.1, 0.9], *([[0.2, 0.2]] * (len(THRESHOLDS) - 3))])
    made = Curve({"v_rand": v, "v_info": v, "pixel_error": 1 - v})
    assert made.best("v_rand") == made.best("pixel_error") == 1
    assert made.at("v_rand", 2).tolist() == [0.1, 0.9]
    assert THRESHOLDS[made.best("v_rand", CHALLENGE)] == 0  # .01 and .02, which are better, are not the challenge's


def test_the_truth_itself_scores_full_marks() -> None:
    interior = np.random.default_rng(0).random((30, 30)) > 0.3
    made = curve([interior], [interior.astype(np.float32)])
    for number in range(len(THRESHOLDS)):
        assert made.at("pixel_error", number)[0] == 0
    assert cells(interior).max() > 3
