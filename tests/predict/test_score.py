"""Scores: hand-made examples, what must hold of every matrix, and what never counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.predict.score import (
    accuracy,
    balanced_accuracy,
    confusion,
    dice,
    iou,
    likeliest,
    macro_dice,
    mean_present,
    mean_scores,
    micro_iou,
    plain,
    scores,
    summary,
)

Matrix = NDArray[np.int64]
NAMES = ("tumor", "stroma", "rest")
HAND = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
"""Dice 12/15 and 6/9, IoU 6/9 and 3/6; the third class is absent; accuracy 9/12."""


def test_balanced_and_micro_scores_of_the_hand_made_matrix() -> None:
    assert balanced_accuracy(HAND) == pytest.approx((6 / 8 + 3 / 4) / 2)  # a class the truth lacks has no recall
    assert micro_iou(HAND) == pytest.approx(9 / (2 * 12 - 9))
    made = scores(HAND, NAMES)
    assert made["micro_dice"] == made["accuracy"] == pytest.approx(9 / 12)
    assert np.isnan(balanced_accuracy(np.zeros((3, 3), np.int64)))
    assert np.isnan(micro_iou(np.zeros((3, 3), np.int64)))


matrices = arrays(np.int64, (5, 5), elements=st.one_of(st.just(0), st.integers(0, 10**9)))
truths = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, IGNORE]))
guesses = arrays(np.uint8, (6, 7), elements=st.integers(0, 2))


# ---- confusion ---------------------------------------------------------------------------------------------


def test_rows_are_truth_and_columns_prediction() -> None:
    truth = np.array([[0, 0, 1], [2, 2, IGNORE]], np.uint8)
    predicted = np.array([[0, 2, 1], [2, 1, 0]], np.uint8)
    made = confusion(truth, predicted, 3)
    assert made.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert made.dtype == np.int64


@given(truth=truths, predicted=guesses, other=guesses)
def test_what_is_predicted_on_ignored_pixels_never_counts(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    changed = np.where(truth == IGNORE, other, predicted)
    made = confusion(truth, predicted, 3)
    assert np.array_equal(made, confusion(truth, changed, 3))
    assert made.sum() == (truth != IGNORE).sum()


@given(truth=truths, predicted=guesses)
def test_matrices_of_parts_sum_to_that_of_the_whole(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
    parts = confusion(truth[:2], predicted[:2], 3) + confusion(truth[2:], predicted[2:], 3)
    assert np.array_equal(parts, confusion(truth, predicted, 3))
    assert np.array_equal(np.diagonal(parts), [np.sum((truth == c) & (predicted == c)) for c in range(3)])


def test_an_image_that_is_all_ignored_gives_an_empty_matrix() -> None:
    made = confusion(np.full((3, 3), IGNORE, np.uint8), np.zeros((3, 3), np.uint8), 5)
    assert made.shape == (5, 5)
    assert made.sum() == 0


def test_codes_are_counted_beyond_what_8_bits_hold() -> None:
    truth = np.full((100, 100), 20, np.uint8)
    assert confusion(truth, truth, 22)[20, 20] == 10_000


# ---- scores of a matrix ------------------------------------------------------------------------------------


def test_the_scores_of_a_matrix_made_by_hand() -> None:
    assert dice(HAND) == pytest.approx([12 / 15, 6 / 9, np.nan], nan_ok=True)
    assert iou(HAND) == pytest.approx([6 / 9, 3 / 6, np.nan], nan_ok=True)
    assert accuracy(HAND) == pytest.approx(9 / 12)
    assert macro_dice(HAND) == pytest.approx((12 / 15 + 6 / 9) / 2)


@given(matrix=matrices)
def test_iou_follows_from_dice(matrix: Matrix) -> None:
    d, i = dice(matrix), iou(matrix)
    assert np.array_equal(np.isnan(d), np.isnan(i))
    assert i == pytest.approx(d / (2 - d), nan_ok=True)
    assert np.all((i[~np.isnan(i)] <= d[~np.isnan(d)] + 1e-12) & (i[~np.isnan(i)] >= 0) & (d[~np.isnan(d)] <= 1))


@given(matrix=matrices)
def test_dice_and_iou_do_not_ask_which_is_truth(matrix: Matrix) -> None:
    assert dice(matrix.T) == pytest.approx(dice(matrix), nan_ok=True)
    assert iou(matrix.T) == pytest.approx(iou(matrix), nan_ok=True)
    assert accuracy(matrix.T) == pytest.approx(accuracy(matrix), nan_ok=True)


@given(matrix=matrices)
def test_a_class_is_absent_only_where_neither_truth_nor_prediction_has_it(matrix: Matrix) -> None:
    absent = (matrix.sum(0) == 0) & (matrix.sum(1) == 0)
    assert np.array_equal(np.isnan(dice(matrix)), absent)


@given(matrix=matrices, order=st.permutations(range(5)))
def test_the_order_of_classes_does_not_matter(matrix: Matrix, order: list[int]) -> None:
    moved = matrix[np.ix_(order, order)]
    assert dice(moved) == pytest.approx(dice(matrix)[order], nan_ok=True)
    assert macro_dice(moved) == pytest.approx(macro_dice(matrix), nan_ok=True)


def test_a_class_that_is_only_predicted_scores_0_and_pulls_the_mean_down() -> None:
    matrix = np.array([[9, 1], [0, 0]])
    assert dice(matrix).tolist() == pytest.approx([18 / 19, 0])
    assert macro_dice(matrix) == pytest.approx(9 / 19)


def test_a_perfect_prediction_scores_1_and_a_disjoint_one_0() -> None:
    assert scores(np.diag([5, 7, 0]), NAMES)["macro_dice"] == 1
    assert scores(np.array([[0, 3, 0], [4, 0, 0], [0, 0, 0]]), NAMES)["macro_iou"] == 0


def test_a_stack_of_matrices_is_scored_one_by_one() -> None:
    stack = np.stack([HAND, HAND.T * 2, np.zeros((3, 3), np.int64)])
    assert dice(stack) == pytest.approx(np.stack([dice(m) for m in stack]), nan_ok=True)
    assert accuracy(stack) == pytest.approx(np.array([accuracy(m) for m in stack]), nan_ok=True)


def test_an_empty_matrix_has_no_score_at_all() -> None:
    made = scores(np.zeros((3, 3), np.int64), NAMES)
    assert made == {
        "macro_dice": None,
        "accuracy": None,
        "balanced_accuracy": None,
        "macro_iou": None,
        "micro_dice": None,
        "micro_iou": None,
        "dice": dict.fromkeys(NAMES),
        "iou": dict.fromkeys(NAMES),
    }


def test_scores_are_plain_data_with_none_for_what_is_absent() -> None:
    made = scores(HAND, NAMES)
    assert made["dice"] == {"tumor": 0.8, "stroma": 0.666667, "rest": None}
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_means_leave_out_what_is_not_there() -> None:
    values = np.array([[1.0, np.nan], [0.5, np.nan]])
    assert mean_present(values) == pytest.approx([1.0, 0.5])
    assert mean_present(values, 0) == pytest.approx([0.75, np.nan], nan_ok=True)
    assert (plain(np.nan), plain(np.float64(0.25))) == (None, 0.25)


# ---- over ROIs and patients --------------------------------------------------------------------------------


def test_the_mean_over_rois_is_of_scores_and_not_of_pixels() -> None:
    large, small = np.diag([1000, 0, 0]), np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]])
    made = mean_scores([large, small], NAMES)
    assert made["dice"] == {"tumor": 0.5, "stroma": pytest.approx(2 / 3, abs=1e-6), "rest": None}
    assert made["macro_dice"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-6)  # of each ROI's own macro Dice
    assert made["accuracy"] == pytest.approx(0.75)


def test_a_summary_pools_over_pixels_rois_and_patients() -> None:
    one = np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]])
    two = np.array([[0, 0, 0], [0, 5, 5], [0, 0, 0]])
    three = np.diag([0, 0, 4])
    rois = {"a1": one, "a2": two, "b1": three}
    made = summary(rois, {"a1": "a", "a2": "a", "b1": "b"}, NAMES)
    assert made["pooled"] == scores(one + two + three, NAMES)
    assert made["per_roi"] == mean_scores([one, two, three], NAMES)
    assert made["per_patient"] == mean_scores([one + two, three], NAMES)
    assert made["confusion"] == [[8, 2, 0], [0, 5, 5], [0, 0, 4]]


def test_a_summary_says_in_how_many_rois_a_class_was_absent() -> None:
    rois = {"a": np.diag([1, 0, 0]), "b": np.diag([1, 1, 0]), "c": np.diag([1, 0, 1])}
    made = summary(rois, {name: name for name in rois}, NAMES)
    assert made["absent"] == {"stroma": 2, "rest": 2}


def test_a_roi_that_is_all_ignored_changes_no_mean() -> None:
    rois = {"a": HAND, "b": HAND.T.copy()}
    patients = {"a": "a", "b": "b", "none": "none"}
    without = summary(rois, patients, NAMES)
    made = summary(rois | {"none": np.zeros((3, 3), np.int64)}, patients, NAMES)
    for part in ("pooled", "per_roi", "per_patient"):
        assert made[part] == without[part]


@given(stack=st.lists(matrices, min_size=1, max_size=4))
def test_a_single_patient_is_scored_as_its_pool(stack: list[Matrix]) -> None:
    names = tuple("abcde")
    made = summary(dict(enumerate(stack)), dict.fromkeys(range(len(stack)), "p"), names)  # type: ignore[arg-type]
    assert made["per_patient"] == made["pooled"]


@given(st.integers(1, 9), st.integers(0, 99))
def test_the_likeliest_class_is_the_first_of_the_largest(classes: int, seed: int) -> None:
    made = np.random.default_rng(seed).integers(0, 4, (classes, 7, 6)).astype(np.float32)  # many are alike
    labels = likeliest(made)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, made.argmax(0))
