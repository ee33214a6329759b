"""p-values, their adjustment, ranks, equivalence, practical superiority and verdicts, against other implementations,
published examples and what can be worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice
from ushape.study.statistics import (
    AGGREGATIONS,
    METRICS,
    bayesian_signed_rank,
    benjamini_hochberg,
    critical_difference,
    equivalence,
    holm,
    paired_difference,
    permutation_p,
    verdict,
    wilcoxon_p,
)

Counts = NDArray[np.int64]
Float = NDArray[np.float64]

EVERY = [(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]

DEMSAR = {
    "C4.5": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1, 0.940, 0.619, 0.972, 0.957],
    "C4.5+m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1, 0.962, 0.666, 0.981, 0.978],
    "C4.5+cf": [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1, 0.965, 0.614, 0.9751, 0.946],
    "C4.5+m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1, 0.962, 0.669, 0.975, 0.970],
}
"""AUC of four classifiers on 14 data sets: Demšar 2006, JMLR 7:1, table 6.

0.9751 is printed 0.975 there, and ranked apart from the others that are."""


def pair(number: int, patients: int, seeds: int = 1, better: int = 0) -> tuple[Counts, Counts]:
    rng = np.random.default_rng(number)
    arm, baseline = rng.integers(1, 900, (2, seeds, patients, 3, 3)) + 900 * np.eye(3, dtype=np.int64)
    return arm + better * np.eye(3, dtype=np.int64), baseline


# Permutation


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("patients", [2, 5, 9])
def test_exchanging_patients_scores_is_the_sign_flip_test_of_scipy(metric: str, patients: int):
    arm, baseline = pair(patients, patients, seeds=2, better=150)
    own = (METRICS[metric](arm) - METRICS[metric](baseline)).mean(0)
    expected = stats.permutation_test((own,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert permutation_p(arm, baseline, metric, "per_patient") == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("metric", METRICS)
def test_exchanging_pooled_matrices_is_every_exchange_by_hand(metric: str):
    arm, baseline = pair(1, 5, seeds=2, better=200)

    def gain(exchanged: tuple[bool, ...]) -> float:
        swap = np.array(exchanged)[None, :, None, None]
        one, other = np.where(swap, baseline, arm).sum(1), np.where(swap, arm, baseline).sum(1)  # [seeds, 3, 3]
        return float((METRICS[metric](one) - METRICS[metric](other)).mean())

    every = np.abs([gain(which) for which in itertools.product((False, True), repeat=5)])
    expected = (every >= every[0] - 1e-12).mean()
    assert permutation_p(arm, baseline, metric, "pooled") == pytest.approx(expected)


@pytest.mark.parametrize("kind", EVERY)
def test_drawn_exchanges_come_near_all_exchanges(kind: tuple[str, str]):
    arm, baseline = pair(2, 10, seeds=2, better=120)
    every = permutation_p(arm, baseline, *kind)
    drawn = permutation_p(arm, baseline, *kind, resamples=511)  # one fewer than there are
    assert drawn != every
    assert drawn == pytest.approx(every, abs=0.07)
    assert permutation_p(arm, baseline, *kind, resamples=511) == drawn
    assert permutation_p(arm, baseline, *kind, resamples=511, seed=1) != drawn


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("patients", [6, 40])
def test_equal_arms_are_as_likely_as_can_be_and_far_ones_as_unlikely(kind: tuple[str, str], patients: int):
    arm, baseline = pair(3, patients)
    assert permutation_p(arm, arm.copy(), *kind) == 1
    assert permutation_p(arm, baseline, *kind) == pytest.approx(permutation_p(baseline, arm, *kind), abs=0.02)
    far = permutation_p(arm + 10**5 * np.eye(3, dtype=np.int64), baseline, *kind, resamples=2000)
    assert far == pytest.approx(1 / 32 if patients == 6 else 1 / 2001)


def test_permutation_of_what_cannot_be_paired_is_refused():
    arm, baseline = pair(4, 5)
    with pytest.raises(RunError, match="cannot be paired"):
        permutation_p(arm[:, 1:], baseline, *EVERY[0])
    with pytest.raises(RunError, match="at least 2 patients"):
        permutation_p(arm[:, :1], baseline[:, :1], *EVERY[0])
    with pytest.raises(RunError, match="0 resamples"):
        permutation_p(arm, baseline, *EVERY[0], resamples=0)


# Wilcoxon


@pytest.mark.parametrize("patients", [2, 7, 30, 151])
def test_without_ties_wilcoxon_is_that_of_scipy(patients: int):
    for number in range(5):
        differences = np.random.default_rng(number).normal(0.2, 1, patients)
        expected = stats.wilcoxon(differences, method="exact").pvalue
        assert wilcoxon_p(differences) == pytest.approx(expected)


@given(values=st.lists(st.integers(-3, 3), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_with_ties_and_zeros_wilcoxon_is_every_sign_by_hand(values: list[int]):
    differences = np.array(values, float)
    ranks = stats.rankdata(abs(differences)) * (differences != 0)
    sums = [np.dot(signs, ranks) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    expected = np.mean(np.abs(sums) >= abs(np.dot(np.sign(differences), ranks)) - 1e-9)
    assert wilcoxon_p(differences) == pytest.approx(expected)


def test_demsar_s_example_of_wilcoxon():
    # its section 3.1.3: R- is 12, R+ 93 of 14 data sets, significant at 5%
    differences = np.subtract(DEMSAR["C4.5+m"], DEMSAR["C4.5"])
    assert 0.005 < wilcoxon_p(differences) < 0.05


@pytest.mark.parametrize("differences", [[0.1], [0.1, np.nan], [[0.1, 0.2]], []])
def test_wilcoxon_of_no_sample_is_refused(differences: list[float]):
    with pytest.raises(RunError, match="at least 2 patients"):
        wilcoxon_p(np.array(differences))


# Many comparisons


@pytest.mark.parametrize("number", [1, 2, 5, 20])
def test_adjusted_p_values_are_those_of_statsmodels(number: int):
    # few calls, as each of statsmodels collects garbage; rounded, so that some are equal
    p = np.random.default_rng(number).beta(0.3, 1, number).round(2)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_adjusting_keeps_the_order_and_makes_nothing_surer(p: list[float]):
    order = np.argsort(p, kind="stable")
    for adjust in (holm, benjamini_hochberg):
        made = adjust(p)
        assert (made >= np.array(p)).all()
        assert (made <= 1).all()
        assert (np.diff(made[order]) >= 0).all()
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()


def test_a_comparison_without_p_is_not_counted():
    for adjust in (holm, benjamini_hochberg):
        made = adjust([0.01, np.nan, 0.04, 0.03])
        assert np.isnan(made[1])
        assert made[[0, 2, 3]] == pytest.approx(adjust([0.01, 0.04, 0.03]))
        assert len(adjust([])) == 0
        for p in ([1.2], [-0.1], [[0.1]]):
            with pytest.raises(RunError, match="from 0 to 1"):
                adjust(p)


# Ranks


def test_demsar_s_example_of_ranks():
    found = critical_difference({name: np.array(values) for name, values in DEMSAR.items()})
    assert dict(zip(found.arms, found.ranks, strict=True)) == pytest.approx(
        {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=0.0005
    )
    assert 12 * 14 / 20 * (np.square(found.ranks).sum() - 4 * 25 / 4) == pytest.approx(9.28, abs=0.005)  # ties apart
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    wide = critical_difference({name: np.array(values) for name, values in DEMSAR.items()}, alpha=0.10)
    assert wide.critical_difference == pytest.approx(1.12, abs=0.005)
    # at 10% untuned C4.5 is worse than both that tune m, and nothing can be told of C4.5+cf
    assert wide.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))


@pytest.mark.parametrize("arms", [3, 6])
def test_the_statistic_is_that_of_scipy_and_p_is_near_that_of_an_f_for_many_patients(arms: int):
    rng = np.random.default_rng(arms)
    scores = {f"arm {a}": rng.integers(0, 9, 60) / 9 + a / 40 for a in range(arms)}
    found = critical_difference(scores)
    expected = stats.friedmanchisquare(*scores.values()).statistic
    assert found.chi_square == pytest.approx(expected)
    f = 59 * expected / (60 * (arms - 1) - expected)  # Iman and Davenport 1980
    assert 0.002 < found.p < 0.9, "a p that tells something"
    assert found.p == pytest.approx(stats.f.sf(f, arms - 1, 59 * (arms - 1)), abs=0.02)


def test_three_patients_who_agree_are_one_order_in_thirty_six():
    """Of the 6^3 orders of three arms in three patients 6 are unanimous: p = 1/36, where F would have none at all."""
    scores = {f"arm {a}": np.array([0.1, 0.2, 0.3]) + a / 10 for a in range(3)}
    assert critical_difference(scores, resamples=40_000).p == pytest.approx(1 / 36, abs=0.004)


@pytest.mark.parametrize("seed", range(4))
def test_arms_go_together_where_nemenyi_s_test_tells_them_apart_not(seed: int):
    rng = np.random.default_rng(seed)
    scores = {f"arm {a}": rng.normal(a * 0.4, 1, 20) for a in rng.permutation(7)}
    found = critical_difference(scores)
    p = scikit_posthocs.posthoc_nemenyi_friedman(pd.DataFrame(scores))
    for one, other in itertools.combinations(scores, 2):
        together = any(one in group and other in group for group in found.groups)
        assert together == (p.loc[one, other] > 0.05)
    for one, other in itertools.permutations(found.groups, 2):
        assert not set(one) <= set(other)


def test_ranks_go_from_best_to_worst_and_drop_patients_without_a_score():
    scores = {"low": np.array([0.1, 0.2, 0.3, np.nan]), "high": np.array([0.5, 0.6, 0.1, 0.9])}
    found = critical_difference(scores)
    assert (found.arms, found.patients) == (("high", "low"), 3)
    assert found.ranks == pytest.approx((4 / 3, 5 / 3))
    same = critical_difference({name: np.ones(5) for name in "abc"})
    assert (same.ranks, same.chi_square, same.p, same.groups) == ((2, 2, 2), 0, 1, (("a", "b", "c"),))
    ever = critical_difference({name: np.arange(30) + i for i, name in enumerate("abc")})
    assert ever.p == 1 / 10_001, "the least that so many orders can show"
    assert ever.groups == ()


def test_ranks_of_no_table_are_refused():
    for scores in ({"a": np.ones(5)}, {"a": np.ones(5), "b": np.ones(4)}):
        with pytest.raises(RunError, match="at least 2 arms over the same patients"):
            critical_difference(scores)
    with pytest.raises(RunError, match="not 1"):
        critical_difference({"a": np.ones(2), "b": np.array([np.nan, 1])})


# Equivalence


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
def test_equivalence_of_one_seed_is_the_paired_test_of_statsmodels(margin: float):
    for number in range(4):
        arm, baseline = pair(number, 9)
        found = equivalence(paired_difference(arm, baseline, "macro_dice", "per_patient"), margin)
        p, low, high = ttost_paired(macro_dice(arm)[0], macro_dice(baseline)[0], -margin, margin)
        assert found.p == pytest.approx(p)
        assert (found.p_low, found.p_high) == pytest.approx((low[1], high[1]))


def test_equivalence_at_5_percent_is_a_90_percent_interval_within_the_margin():
    arm, baseline = pair(1, 12, seeds=3)
    found = paired_difference(arm, baseline, "macro_dice", "pooled", confidence=0.9)
    reach = max(-found.low, found.high)
    assert equivalence(found, reach * 1.001).p < 0.05 < equivalence(found, reach * 0.999).p
    assert equivalence(paired_difference(arm, arm, "accuracy", "pooled"), 1e-6).p == 0
    with pytest.raises(RunError, match="margin 0"):
        equivalence(found, 0)


# Bayesian signed ranks


def test_one_patient_can_be_worked_out_by_hand():
    # w ~ Beta(.5, 1) for the pseudo-patient at 0; better has 1 - w^2, equivalent w^2: P(w < sqrt(.5)) = .5^(1/4)
    found = bayesian_signed_rank(np.array([1.0]), 0.1, samples=200_000)
    assert found.better == pytest.approx(0.5**0.25, abs=0.004)
    assert found.equivalent == pytest.approx(1 - 0.5**0.25, abs=0.004)
    assert found.worse == 0


def test_without_prior_or_rope_it_is_the_bayesian_bootstrap_of_a_sign():
    # differences 1 and -3: their mean is below 0, so worse unless w > sqrt(.5) for w ~ Beta(1, 1)
    found = bayesian_signed_rank(np.array([1.0, -3.0]), 0.0, prior=1e-6, samples=100_000)
    assert found.better == pytest.approx(1 - np.sqrt(0.5), abs=0.005)


def test_exchanging_arms_exchanges_better_and_worse():
    differences = np.random.default_rng(0).normal(0.01, 0.03, 20)
    one, other = (bayesian_signed_rank(sign * differences, 0.01, samples=100_000) for sign in (1, -1))
    assert (one.better, one.equivalent, one.worse) == pytest.approx(
        (other.worse, other.equivalent, other.better), abs=0.01
    )
    assert sum(vars(one).values()) == pytest.approx(1)


def test_practical_superiority_is_as_plain_as_the_differences():
    rng = np.random.default_rng(1)
    for shift, word in ((0.05, "better"), (-0.05, "worse"), (0.0, "equivalent")):
        found = bayesian_signed_rank(rng.normal(shift, 0.01, 151), 0.02, samples=5000)
        assert getattr(found, word) > 0.99
    edge = bayesian_signed_rank(np.full(10, 0.02), 0.02, samples=5000)
    assert edge.worse == 0
    assert bayesian_signed_rank(np.zeros(10), 0.0, samples=5000).better == pytest.approx(0.5)


def test_bayesian_draws_follow_the_seed():
    differences = np.random.default_rng(2).normal(0.01, 0.03, 9)
    first, again, other = (bayesian_signed_rank(differences, 0.01, samples=4000, seed=s) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("differences", "more"),
    [([], {}), ([np.nan], {}), ([0.1], {"rope": -0.1}), ([0.1], {"prior": 0}), ([0.1], {"samples": 0})],
)
def test_bayes_of_nothing_is_refused(differences: list[float], more: dict[str, float]):
    with pytest.raises(RunError, match=r"finite differences|none may be negative"):
        bayesian_signed_rank(np.array(differences), **({"rope": 0.01} | more))


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "p", "margin", "word"),
    [
        (0.01, 0.05, 0.004, 0.02, "better"),
        (-0.05, -0.01, 0.004, 0.02, "worse"),
        (0.01, 0.05, 0.06, 0.02, "unresolved"),  # adjusted over the arms, it could be chance
        (-0.01, 0.05, 0.3, 0.02, "unresolved"),
        (-0.01, 0.05, 0.01, 0.02, "unresolved"),  # a p of another test does not overrule the interval
        (-0.01, 0.01, 0.9, 0.02, "equivalent"),
        (0.001, 0.01, 0.001, 0.02, "equivalent"),  # surely there, and too small to matter
        (0.001, 0.01, 0.001, None, "better"),
        (-0.02, 0.01, 0.4, 0.02, "unresolved"),  # up to the margin is not within it
        (0.0, 0.0, 1.0, 0.02, "equivalent"),
        (0.0, 0.0, 1.0, None, "unresolved"),
        (None, 0.01, 0.4, 0.02, "unresolved"),
        (-0.01, 0.01, float("nan"), 0.02, "unresolved"),
    ],
)
def test_verdicts(low: float | None, high: float, p: float, margin: float | None, word: str):
    difference = None if low is None else (low + high) / 2
    assert verdict(difference, low, high, p, margin) == word


def test_the_level_is_that_asked_for():
    assert verdict(0.03, 0.01, 0.05, 0.004, alpha=0.001) == "unresolved"
    for wrong in ({"margin": 0}, {"alpha": 5}):
        with pytest.raises(RunError, match="a margin is above 0"):
            verdict(0.03, 0.01, 0.05, 0.004, **wrong)
    with pytest.raises(RunError, match="exchanged"):
        verdict(0.03, 0.05, 0.01, 0.004)
    with pytest.raises(RunError, match="p is none"):
        verdict(0.03, 0.01, 0.05, 4.0)


def test_verdicts_follow_from_the_differences_themselves():
    arm, baseline = pair(5, 20, seeds=2)
    far = paired_difference(arm + 2000 * np.eye(3, dtype=np.int64), baseline, "accuracy", "pooled")
    assert verdict(far.difference, far.low, far.high, holm([far.p, 0.5])[0], 0.01) == "better"
    same = paired_difference(arm, arm, "accuracy", "pooled")
    assert verdict(same.difference, same.low, same.high, same.p, 0.01) == "equivalent"
    assert accuracy(arm.sum((0, 1))) < 1
