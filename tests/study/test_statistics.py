"""Intervals of paired differences: what they must contain, and how often they do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice
from ushape.study.statistics import AGGREGATIONS, METRICS, paired_difference

Counts = NDArray[np.int64]

EVERY = [(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]


def matrices(seed: int, patients: int = 10, seeds: int = 1, skill: float = 0.7) -> Counts:
    """Random confusion matrices [seeds, patients, 3, 3] with `skill` of each row on the diagonal, roughly."""
    rng = np.random.default_rng(seed)
    made = rng.poisson(1000 * (1 - skill) / 3, (seeds, patients, 3, 3))
    made += rng.poisson(1000 * skill, (seeds, patients, 3, 3)) * np.eye(3, dtype=np.int64)
    return made * rng.integers(1, 9, (1, patients, 1, 1))


def difference(arm: Counts, baseline: Counts, kind: tuple[str, str] = EVERY[0], resamples: int = 2000, **more):
    return paired_difference(arm, baseline, *kind, resamples=resamples, **more)


@pytest.mark.parametrize("kind", EVERY)
def test_the_interval_contains_the_observed_difference(kind: tuple[str, str]):
    for seed in range(10):
        found = difference(matrices(seed), matrices(seed + 100, skill=0.6), kind)
        assert found.low < found.difference < found.high


@pytest.mark.parametrize("kind", EVERY)
def test_identical_arms_differ_by_nothing(kind: tuple[str, str]):
    arm = matrices(0, seeds=2)
    found = difference(arm, arm.copy(), kind)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize("kind", EVERY)
def test_a_better_arm_has_a_positive_difference(kind: tuple[str, str]):
    found = difference(matrices(0, skill=0.8), matrices(1, skill=0.5), kind)
    assert found.difference > 0.1
    assert found.low > 0


@pytest.mark.parametrize("kind", EVERY)
def test_exchanging_the_arms_turns_the_sign(kind: tuple[str, str]):
    one, other = matrices(0, seeds=2), matrices(1, seeds=2, skill=0.65)
    there, back = difference(one, other, kind), difference(other, one, kind)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_the_difference_is_that_of_the_pooled_or_the_mean_score():
    one, other = matrices(0)[0], matrices(1, skill=0.6)[0]
    pooled = difference(one[None], other[None], ("macro_dice", "pooled")).difference
    assert pooled == pytest.approx(macro_dice(one.sum(0)) - macro_dice(other.sum(0)))
    each = difference(one[None], other[None], ("accuracy", "per_patient")).difference
    assert each == pytest.approx(np.mean(accuracy(one)) - np.mean(accuracy(other)))


def test_what_was_asked_for_stands_in_the_result():
    found = difference(matrices(0), matrices(1), ("accuracy", "per_patient"), 500, confidence=0.8)
    assert (found.metric, found.aggregation, found.confidence) == ("accuracy", "per_patient", 0.8)
    assert (found.patients, found.resamples) == (10, 500)


def test_the_same_call_gives_the_same_interval():
    assert difference(matrices(0), matrices(1)) == difference(matrices(0), matrices(1))


def test_more_confidence_is_a_wider_interval():
    narrow, wide = (difference(matrices(0), matrices(1), confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_pairs_are_kept_together():
    # patients differ widely, but each by the same amount between arms: paired, there is nothing to be unsure of
    right = np.arange(100, 1000, 90)
    arm, baseline = (np.array([[[r + g, 1000 - r - g], [0, 0]] for r in right]) for g in (50, 0))
    found = difference(arm[None], baseline[None], ("accuracy", "per_patient"))
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))


def test_patients_are_drawn_and_not_their_pixels():
    # a thousand times the pixels of the same patients make nothing surer
    one, other = matrices(0), matrices(1, skill=0.65)
    few, many = difference(one, other), difference(one * 1000, other * 1000)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_more_patients_make_a_narrower_interval():
    def width(patients: int) -> float:
        pairs = [(matrices(n, patients), matrices(n + 50, patients)) for n in range(6)]
        found = [difference(*pair, ("accuracy", "per_patient")) for pair in pairs]
        return float(np.mean([f.high - f.low for f in found]))

    assert width(40) < 0.6 * width(10)


def test_few_patients_get_a_wider_interval_than_plain_percentiles():
    one, other = matrices(0, 5), matrices(1, 5)
    rng = np.random.default_rng(1)
    own = (macro_dice(one) - macro_dice(other))[0]
    plain = np.quantile(own[rng.integers(5, size=(4000, 5))].mean(1), [0.025, 0.975])
    found = difference(one, other, ("macro_dice", "per_patient"))
    assert found.high - found.low > 1.2 * (plain[1] - plain[0])


def test_seeds_lie_inside_patients_and_are_drawn_as_well():
    # seed 0 is better by .1, seed 1 worse by .1, for every patient: on average nothing, and all of it unsure
    def right(share: float) -> Counts:
        return np.array([[[round(1000 * share), round(1000 * (1 - share))], [0, 0]]] * 8)

    arm, baseline = np.stack([right(0.7), right(0.5)]), np.stack([right(0.6), right(0.6)])
    found = difference(arm, baseline, ("accuracy", "per_patient"))
    assert found.difference == pytest.approx(0)
    assert (found.low, found.high) == pytest.approx((-0.1, 0.1))


def test_seeds_are_not_more_patients():
    one, other = matrices(0), matrices(1, skill=0.65)
    single, copied = (difference(np.repeat(one, n, 0), np.repeat(other, n, 0)) for n in (1, 5))
    assert copied.patients == 10
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high), abs=1e-9)


@pytest.mark.parametrize("kind", EVERY)
def test_a_class_that_is_nowhere_is_left_out(kind: tuple[str, str]):
    one, other = matrices(0), matrices(1, skill=0.6)
    wide = [np.pad(m, ((0, 0), (0, 0), (0, 1), (0, 1))) for m in (one, other)]
    assert difference(*wide, kind) == difference(one, other, kind)


def test_a_class_that_one_patient_alone_holds_gives_a_finite_interval():
    one, other = matrices(0), matrices(1, skill=0.6)
    for each in (one, other):
        each[:, 1:, 2], each[:, 1:, :, 2] = 0, 0
    for kind in EVERY:
        found = difference(one, other, kind)
        assert np.isfinite([found.low, found.difference, found.high]).all()
        assert found.low <= found.difference <= found.high


def test_a_patient_without_a_counted_pixel_is_left_out():
    one, other = matrices(0), matrices(1, skill=0.6)
    one[:, 3], other[:, 3] = 0, 0
    kept = [i for i in range(10) if i != 3]
    for kind in EVERY:
        found, without = difference(one, other, kind), difference(one[:, kept], other[:, kept], kind)
        assert found.difference == pytest.approx(without.difference)
        assert np.isfinite([found.low, found.high]).all()


def test_arms_of_other_shape_cannot_be_paired():
    with pytest.raises(RunError, match="cannot be paired"):
        difference(matrices(0, 10), matrices(1, 9))


def test_one_patient_is_too_few():
    with pytest.raises(RunError, match="at least 2 patients"):
        difference(matrices(0, 1), matrices(1, 1))


@pytest.mark.parametrize("kind", [("accuracy", "per_patient"), ("accuracy", "pooled"), ("macro_dice", "pooled")])
def test_intervals_hold_the_truth_about_as_often_as_they_claim(kind: tuple[str, str]):
    # 300 studies of 10 patients; the truth is the difference over a population of 40,000
    rng = np.random.default_rng(0)

    def draw(patients: int) -> tuple[Counts, Counts]:
        hard = rng.normal(0, 0.08, patients)  # what both arms share
        shares = [np.clip(0.7 + gain + hard + rng.normal(0, 0.05, patients), 0.05, 0.95) for gain in (0.02, 0.0)]
        made = []
        for share in shares:
            right = np.stack([share, np.clip(share + 0.05, 0, 1)], 1)  # [patients, 2]
            counts = np.zeros((1, patients, 2, 2), np.int64)
            for c in range(2):
                counts[0, :, c, c] = (5000 * right[:, c]).astype(int)
                counts[0, :, c, 1 - c] = 5000 - counts[0, :, c, c]
            made.append(counts)
        return made[0], made[1]

    truth = difference(*draw(40_000), kind, resamples=1).difference
    held = 0
    for study in range(300):
        found = difference(*draw(10), kind, resamples=600, seed=study)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 300 <= 0.99
