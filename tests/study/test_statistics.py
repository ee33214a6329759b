"""Paired differences and their intervals; how often these hold is in test_statistics_simulated.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice
from ushape.study.statistics import (
    AGGREGATIONS,
    METRICS,
    paired_difference,
    paired_differences,
    patient_differences,
    patient_scores,
)
from ushape.study.statistics.evidence import gather

Counts = NDArray[np.int64]

EVERY = [(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]


def matrices(seed: int, patients: int = 10, seeds: int = 1, skill: float = 0.7) -> Counts:
    """Random confusion matrices [seeds, patients, 3, 3] with `skill` of each row on the diagonal, roughly."""
    rng = np.random.default_rng(seed)
    made = rng.poisson(1000 * (1 - skill) / 3, (seeds, patients, 3, 3))
    made += rng.poisson(1000 * skill, (seeds, patients, 3, 3)) * np.eye(3, dtype=np.int64)
    return made * rng.integers(1, 9, (1, patients, 1, 1))


def difference(arm: Counts, baseline: Counts, kind: tuple[str, str] = EVERY[0], **more):
    return paired_difference(arm, baseline, *kind, **more)


def accuracies(right: NDArray[np.float64]) -> Counts:
    """Matrices [seeds, patients, 2, 2] of equal size with these accuracies [seeds, patients]."""
    made = np.zeros((*right.shape, 2, 2), np.int64)
    made[..., 0, 0] = np.rint(1e6 * right)
    made[..., 0, 1] = 1_000_000 - made[..., 0, 0]
    return made


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
    found = difference(matrices(0, seeds=2), matrices(1, seeds=2), ("accuracy", "per_patient"), confidence=0.8)
    assert (found.metric, found.aggregation, found.confidence) == ("accuracy", "per_patient", 0.8)
    assert (found.patients, found.seeds) == (10, 2)


def test_more_confidence_is_a_wider_interval():
    narrow, wide = (difference(matrices(0), matrices(1), confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_pairs_are_kept_together():
    # patients differ widely, but each by the same amount between arms: paired, there is nothing to be unsure of
    right = np.arange(100, 1000, 90)
    arm, baseline = (np.array([[[r + g, 1000 - r - g], [0, 0]] for r in right]) for g in (50, 0))
    found = difference(arm[None], baseline[None], ("accuracy", "per_patient"))
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))
    assert found.p < 1e-9


def test_patients_are_the_unit_and_not_their_pixels():
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


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_per_patient_scores_of_one_seed_have_the_interval_and_p_of_a_paired_t_test(confidence: float):
    arm, baseline = matrices(0), matrices(1, skill=0.66)
    found = difference(arm, baseline, ("macro_dice", "per_patient"), confidence=confidence)
    own = (macro_dice(arm) - macro_dice(baseline))[0]
    assert (found.low, found.high) == pytest.approx(DescrStatsW(own).tconfint_mean(1 - confidence))
    assert found.p == pytest.approx(stats.ttest_1samp(own, 0).pvalue)


def test_p_and_interval_agree_on_zero():
    # the interval at confidence 1 - p just touches zero
    for seed in range(5):
        for kind in EVERY:
            pair = matrices(seed, seeds=3), matrices(seed + 10, seeds=3, skill=0.67)
            p = difference(*pair, kind).p
            touching = difference(*pair, kind, confidence=1 - p)
            assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-8)


def test_luck_of_seeds_widens_the_interval():
    # seed 0 is better by .1, seed 1 worse by .1, for every patient: on average nothing, and all of it unsure
    arm, baseline = (accuracies(np.repeat([[a], [b]], 8, 1)) for a, b in ((0.7, 0.5), (0.6, 0.6)))
    found = difference(arm, baseline, ("accuracy", "per_patient"))
    assert found.difference == pytest.approx(0)
    assert found.uncertainty.standard == pytest.approx(0.1)  # sd of the two seeds over the root of two
    assert (found.low, found.high) == (-1, 1)  # 12.7 standard errors, cut where scores end


def test_luck_that_is_another_in_each_fold_is_told_from_that_of_a_seed():
    # ten folds of four patients: each fold's three runs vary by .05, without a pattern of their seeds
    rng = np.random.default_rng(0)
    folds = np.repeat(np.arange(10), 4)
    right = 0.6 + rng.normal(0, 0.05, (3, 10))[:, folds] + rng.normal(0, 0.01, (3, 40))
    arm, baseline = accuracies(right), accuracies(np.full((3, 40), 0.6))
    blind, told = (difference(arm, baseline, ("accuracy", "per_patient"), folds=f) for f in (None, folds))
    assert told.uncertainty.seed == pytest.approx(0.05**2 / 30, rel=0.5)
    assert told.uncertainty.seed_freedom == pytest.approx(20)
    assert blind.uncertainty.seed_freedom == pytest.approx(2)
    named = difference(arm, baseline, ("accuracy", "per_patient"), folds=[f"fold {9 - f}" for f in folds])
    assert (named.low, named.high, named.p) == pytest.approx((told.low, told.high, told.p))


def test_every_patient_in_a_fold_of_its_own_is_a_sample_of_runs_as_well():
    arm, baseline = matrices(0, seeds=3), matrices(1, seeds=3)
    found = difference(arm, baseline, ("accuracy", "per_patient"), folds=range(10))
    own = (accuracy(arm) - accuracy(baseline)).mean(0)
    assert (found.low, found.high) == pytest.approx(DescrStatsW(own).tconfint_mean())


def test_many_arms_at_once_are_as_one_at_a_time():
    baseline, *arms = (matrices(n, seeds=2, skill=0.6 + n / 50) for n in range(4))
    for kind in EVERY:
        assert paired_differences(arms, baseline, *kind) == [difference(a, baseline, kind) for a in arms]


@pytest.mark.parametrize("kind", EVERY)
def test_pseudovalues_are_what_leaving_a_patient_out_changes(kind: tuple[str, str]):
    arm = matrices(3, patients=6, seeds=2)
    arm[:, 1:, 2], arm[:, 1:, :, 2] = 0, 0  # the last class is patient 0's alone
    values = gather([arm], *kind).pseudovalues()[0]

    def score(of: Counts) -> float:
        return float(METRICS[kind[0]](of.sum(0)) if kind[1] == "pooled" else METRICS[kind[0]](of).mean())

    for s in range(2):
        for p in range(6):
            without = score(np.delete(arm[s], p, 0))
            assert values[s, p] == pytest.approx(6 * score(arm[s]) - 5 * without)


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


def test_a_class_that_only_an_arm_invents_counts_as_in_the_score_shown():
    arm, baseline = matrices(0), matrices(1)
    for each in (arm, baseline):
        each[..., 2, :] = 0  # no patient has the third class
    baseline[..., 2] = 0  # and the baseline never gives it
    found = difference(arm, baseline, ("macro_dice", "pooled")).difference
    assert found == pytest.approx(float(macro_dice(arm.sum((0, 1))) - macro_dice(baseline.sum((0, 1)))))
    assert arm[..., 2].sum() > 0


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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), patients=st.integers(2, 12), seeds=st.integers(1, 4), kind=st.sampled_from(EVERY))
def test_intervals_are_finite_and_in_range_whatever_is_absent(seed: int, patients: int, seeds: int, kind):
    rng = np.random.default_rng(seed)
    pair = rng.integers(0, 50, (2, seeds, patients, 3, 3)) * (rng.random((2, seeds, patients, 3, 3)) < 0.3)
    pair[..., 0, 0] += 1  # every patient has a pixel
    found = difference(*pair, kind, folds=rng.integers(3, size=patients))
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert 0 <= found.p <= 1
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_patients_scores_average_seeds_and_leave_nothing_else_out():
    one, other = matrices(0, seeds=2), matrices(1, seeds=2)
    assert patient_scores(one, "accuracy") == pytest.approx(accuracy(one).mean(0))
    for each in (one, other):
        each[:, 4] = 0
    assert np.flatnonzero(np.isnan(patient_scores(one, "macro_dice"))).tolist() == [4]
    kept = np.delete(macro_dice(one).mean(0) - macro_dice(other).mean(0), 4)
    assert patient_differences(one, other, "macro_dice") == pytest.approx(kept)


def test_arms_of_other_shape_cannot_be_paired():
    for compare in (difference, lambda *pair: patient_differences(*pair, "accuracy")):
        with pytest.raises(RunError, match="cannot be paired"):
            compare(matrices(0, 10), matrices(1, 9))


def test_one_patient_is_too_few():
    with pytest.raises(RunError, match="at least 2 patients"):
        difference(matrices(0, 1), matrices(1, 1))
    empty = matrices(0, 3)
    empty[:, 1:] = 0
    with pytest.raises(RunError, match="at least 2 patients with counted pixels, not 1"):
        difference(empty, empty)


@pytest.mark.parametrize("kind", EVERY)
def test_a_patient_that_counts_in_one_arm_only_is_refused(kind: tuple[str, str]):
    one, other = matrices(0, seeds=2), matrices(1, seeds=2)
    one[1, 3] = 0
    with pytest.raises(RunError, match="cannot pair up"):
        difference(one, other, kind)


def test_what_is_no_evidence_is_refused():
    one, other = matrices(0), matrices(1)
    with pytest.raises(RunError, match="macro_dice, accuracy"):
        difference(one, other, ("f1", "pooled"))
    with pytest.raises(RunError, match="pooled or per_patient"):
        difference(one, other, ("accuracy", "per_roi"))
    with pytest.raises(RunError, match="negative"):
        difference(one - 10**6, other)
    with pytest.raises(RunError, match=r"\[seeds, patients, classes, classes\]"):
        difference(one[0], other[0])
    with pytest.raises(RunError, match="9 folds for 10 patients"):
        difference(one, other, folds=range(9))
    with pytest.raises(RunError, match="confidence 95"):
        difference(one, other, confidence=95)
    with pytest.raises(RunError, match="give macro_dice or accuracy"):
        patient_scores(one, "f1")
    with pytest.raises(RunError, match="nothing to compare"):
        patient_differences(one * 0, other * 0, "accuracy")


def test_one_stray_pixel_of_a_class_that_one_patient_has_does_not_hide_a_gain() -> None:
    """Left out without that patient for both arms, whichever of them calls a pixel so."""
    baseline = np.zeros((3, 10, 4, 4), np.int64)
    for patient in range(10):
        for c in range(4 if patient == 0 else 3):
            baseline[:, patient, c, c] = 80_000 + 1000 * ((7 * patient + c) % 5)
            baseline[:, patient, c, (c + 1) % 3] += 15_000
    better = baseline.copy()
    better[:, :, 1, 1] += 8000
    better[:, :, 1, 2] -= 8000
    stray = better.copy()
    stray[:, 1, 0, 0] -= 1
    stray[:, 1, 0, 3] += 1
    clean, found = (paired_difference(arm, baseline, "macro_dice", "pooled") for arm in (better, stray))
    assert clean.low > 0.005
    for key in ("difference", "low", "high"):
        assert getattr(found, key) == pytest.approx(getattr(clean, key), abs=1e-4)
