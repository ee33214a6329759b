"""Variance components and the error of a mean, against a published example and statsmodels; the power they give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import TTestPower

from ushape.errors import RunError
from ushape.predict.score import accuracy
from ushape.study.statistics import (
    Components,
    Uncertainty,
    detectable_difference,
    patients_needed,
    power,
    variance_components,
)
from ushape.study.statistics.components import components, uncertainty

Float = NDArray[np.float64]

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float).T
"""Ratings [4 judges, 6 targets] of Shrout and Fleiss 1979 (10.1037/0033-2909.86.2.420), table 2."""


def draw(rng: np.random.Generator, seeds: int, folds: int, each: int, sds: tuple[float, float, float]) -> Float:
    """Values [seeds, folds * each] of the model of components.py with standard deviations (patient, run, rest)."""
    patients = folds * each
    run = np.repeat(rng.normal(0, sds[1], (seeds, folds)), each, 1)
    return rng.normal(0, sds[0], patients) + run + rng.normal(0, sds[2], (seeds, patients))


def test_a_published_example():
    # its table 3: mean squares 11.24 between targets, 32.49 between judges, 1.02 of the rest; ICC(2,1) is .29
    found = components(SHROUT_FLEISS)
    assert found.patient == pytest.approx((11.24 - 1.02) / 4, abs=0.01)
    assert found.seed == pytest.approx((32.49 - 1.02) / 6, abs=0.01)
    assert found.rest == pytest.approx(1.02, abs=0.005)
    assert found.patient / (found.patient + found.seed + found.rest) == pytest.approx(0.29, abs=0.005)
    error = uncertainty(SHROUT_FLEISS)
    assert error.standard**2 == pytest.approx((11.24 + 32.49 - 1.02) / 24, abs=0.005)
    assert (error.patient_freedom, error.seed_freedom) == pytest.approx((5, 3))


def test_mean_squares_are_those_of_statsmodels():
    values = draw(np.random.default_rng(0), 4, 1, 9, (1.0, 0.7, 0.5))
    seed, patient = np.indices(values.shape).reshape(2, -1)
    table = pd.DataFrame({"value": values.ravel(), "seed": seed, "patient": patient})
    squares = anova_lm(ols("value ~ C(patient) + C(seed)", table).fit())["mean_sq"]
    found = components(values)
    assert found.rest == pytest.approx(squares["Residual"])
    assert found.patient == pytest.approx((squares["C(patient)"] - squares["Residual"]) / 4)
    assert found.seed == pytest.approx((squares["C(seed)"] - squares["Residual"]) / 9)


def test_mean_squares_in_folds_are_those_of_statsmodels():
    # runs are seeds within a fold, patients cross the runs of their fold: a fold of 3 and one of 6 patients
    rng = np.random.default_rng(1)
    folds = np.array([0] * 3 + [1] * 6)
    values = rng.normal(0, 1, 9) + rng.normal(0, 0.7, (4, 2))[:, folds] + rng.normal(0, 0.5, (4, 9))
    seed, patient = np.indices(values.shape).reshape(2, -1)
    table = pd.DataFrame({"value": values.ravel(), "seed": seed, "patient": patient})
    table["run"] = np.where(seed > 0, 2 * seed + folds[patient], 0)  # the first run of each fold is its reference
    squares = anova_lm(ols("value ~ C(patient) + C(run)", table).fit())["mean_sq"]
    assert components(values, folds).rest == pytest.approx(squares["Residual"])


def test_folds_of_unequal_size_weigh_by_their_patients():
    values = np.random.default_rng(0).normal(size=(3, 10)) + np.array([[0.0, 9], [4, 0], [9, 5]])[:, [0] * 2 + [1] * 8]
    folds = np.array([0] * 2 + [1] * 8)
    first, second = (values[:, folds == f].mean(1).var(ddof=1) for f in (0, 1))
    runs = 0.2**2 * first / 3 + 0.8**2 * second / 3  # of the mean of 3 seeds
    centred = values - values.mean(0)
    for f in (0, 1):
        centred[:, folds == f] -= centred[:, folds == f].mean(1, keepdims=True)
    rest = (centred**2).sum() / (2 * 8) / 10 / 3
    found = uncertainty(values, folds)
    assert found.seed == pytest.approx(runs - rest)
    assert found.seed_freedom == pytest.approx(2 * (4 + 64) ** 2 / (4**2 + 64**2))


@pytest.mark.parametrize(("folds", "each"), [(1, 12), (4, 3)])
def test_components_are_right_on_average(folds: int, each: int):
    rng, sds = np.random.default_rng(2), (1.0, 0.8, 0.6)
    labels = np.repeat(np.arange(folds), each)
    made = [components(draw(rng, 5, folds, each, sds), labels) for _ in range(1500)]
    found = np.array([[c.patient, c.seed, c.rest] for c in made])
    # two are let no lower than 0, which here is seldom the case
    assert found.mean(0) == pytest.approx(np.square(sds), rel=0.08)


@pytest.mark.parametrize(("folds", "each"), [(1, 12), (4, 3)])
def test_the_error_is_the_spread_of_the_mean(folds: int, each: int):
    rng, sds = np.random.default_rng(3), (1.0, 0.8, 0.6)
    labels = np.repeat(np.arange(folds), each)
    values = [draw(rng, 3, folds, each, sds) for _ in range(2000)]
    told = np.mean([uncertainty(v, labels).standard ** 2 for v in values])
    assert told == pytest.approx(np.var([v.mean() for v in values]), rel=0.12)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("run", [0.0, 0.2, 0.6])
def test_the_reach_holds_the_mean_as_often_as_it_claims(seeds: int, run: float):
    rng = np.random.default_rng(4)
    held = []
    for _ in range(1200):
        values = draw(rng, seeds, 1, 10, (1.0, run, 0.6))
        held.append(abs(values.mean()) <= uncertainty(values).reach(0.95))
    assert 0.93 <= np.mean(held) <= 0.98


def test_one_part_alone_is_student_s_t():
    for distance in (0.0, 0.3, -2.0, 9.0):
        expected = 2 * stats.t.sf(abs(distance) / 0.5, 7)
        assert Uncertainty(0.25, 7, 0, 0).p(distance) == pytest.approx(expected)
        assert Uncertainty(0, 3, 0.25, 7).p(distance) == pytest.approx(expected)
    assert Uncertainty(0.25, 7, 0, 0).reach(0.9) == pytest.approx(0.5 * stats.t.ppf(0.95, 7))


def test_two_parts_reach_further_than_either_and_less_than_both():
    both = Uncertainty(0.25, 9, 0.16, 2)
    patients, runs = 0.5 * stats.t.ppf(0.975, 9), 0.4 * stats.t.ppf(0.975, 2)
    assert max(patients, runs) < both.reach(0.95) < patients + runs
    assert both.reach(0.95) == pytest.approx(np.hypot(patients, runs))
    assert both.p(both.reach(0.95)) == pytest.approx(0.05)
    assert both.p(-both.reach(0.999)) == pytest.approx(0.001)
    assert both.one_sided(both.reach(0.9)) == pytest.approx(0.05)
    assert both.one_sided(-both.reach(0.9)) == pytest.approx(0.95)


def test_without_error_anything_but_zero_is_sure():
    nothing = Uncertainty(0, 9, 0, 0)
    assert (nothing.p(0), nothing.p(1e-9), nothing.reach(0.99)) == (1, 0, 0)


def test_components_of_arms_are_those_of_their_scores():
    rng = np.random.default_rng(5)
    arms = rng.integers(1, 900, (2, 3, 8, 2, 2))
    one = variance_components(arms[0], "accuracy", "per_patient")
    assert vars(one) == pytest.approx(vars(components(accuracy(arms[0]))))
    pair = variance_components(arms[0], "accuracy", "per_patient", baseline=arms[1])
    assert vars(pair) == pytest.approx(vars(components(accuracy(arms[0]) - accuracy(arms[1]))))


def test_what_cannot_be_told_apart_is_refused():
    arm = np.ones((1, 4, 2, 2), np.int64)
    with pytest.raises(RunError, match="at least 2 seeds"):
        variance_components(arm, "accuracy", "pooled")
    with pytest.raises(RunError, match="alone in its fold"):
        variance_components(np.repeat(arm, 2, 0), "accuracy", "pooled", folds=range(4))
    with pytest.raises(RunError, match="2 folds for 4 patients"):
        components(np.ones((2, 4)), [0, 1])
    for values in (np.ones(4), np.ones((2, 1)), np.full((2, 4), np.nan)):
        with pytest.raises(RunError, match="at least 2 patients"):
            uncertainty(values)


PARTS = Components(patient=0.05**2, seed=0.01**2, rest=0.04**2)


def test_without_luck_of_runs_power_is_that_of_a_t_test():
    parts = Components(patient=0.04, seed=0.0, rest=0.0)
    for difference, patients in ((0.05, 45), (0.1, 20), (0.2, 10)):
        expected = TTestPower().power(difference / 0.2, patients, 0.05, alternative="two-sided")
        assert power(parts, difference, patients=patients, seeds=3) == pytest.approx(expected, abs=0.012)
    assert patients_needed(parts, 0.1, seeds=3) == pytest.approx(TTestPower().solve_power(0.5, None, 0.05, 0.8), abs=2)


@pytest.mark.parametrize(("folds", "each", "seeds"), [(1, 20, 3), (5, 4, 2)])
def test_power_is_how_often_simulated_studies_find_the_difference(folds: int, each: int, seeds: int):
    rng, sds = np.random.default_rng(6), (0.05, 0.01, 0.04)
    labels, found = np.repeat(np.arange(folds), each), []
    for _ in range(1000):
        values = draw(rng, seeds, folds, each, sds) + 0.03
        found.append(values.mean() > 0 and uncertainty(values, labels).p(values.mean()) < 0.05)
    told = power(PARTS, 0.03, patients=folds * each, seeds=seeds, folds=folds)
    assert told == pytest.approx(np.mean(found), abs=0.05)


def test_more_of_anything_is_more_power():
    base = power(PARTS, 0.02, patients=30, seeds=3)
    assert base < power(PARTS, 0.03, patients=30, seeds=3)
    assert base < power(PARTS, 0.02, patients=60, seeds=3)
    assert base < power(PARTS, 0.02, patients=30, seeds=6)
    assert base < power(PARTS, 0.02, patients=30, seeds=3, folds=5)
    assert base > power(PARTS, 0.02, patients=30, seeds=3, alpha=0.01)
    assert base == power(PARTS, -0.02, patients=30, seeds=3)
    assert power(PARTS, 0.0, patients=30, seeds=3) < 0.03  # one side of a test at 5%


def test_patients_needed_are_enough_and_one_fewer_is_not():
    needed = patients_needed(PARTS, 0.03, seeds=4)
    assert needed is not None
    assert power(PARTS, 0.03, patients=needed, seeds=4) >= 0.8 > power(PARTS, 0.03, patients=needed - 1, seeds=4)


def test_patients_do_not_make_up_for_the_luck_of_runs():
    assert patients_needed(PARTS, 0.005, seeds=2) is None
    assert patients_needed(PARTS, 0.005, seeds=50) is not None


def test_what_can_be_detected_is_found_as_often_as_wanted():
    smallest = detectable_difference(PARTS, patients=45, seeds=3, wanted=0.9)
    assert power(PARTS, smallest, patients=45, seeds=3) == pytest.approx(0.9, abs=0.005)
    assert detectable_difference(Components(0, 0, 0), patients=45, seeds=3) == 0


def test_plans_that_cannot_be_judged_are_refused():
    for plan in ({"patients": 1, "seeds": 3}, {"patients": 10, "seeds": 1}):
        with pytest.raises(RunError, match="at least 2 of both"):
            power(PARTS, 0.1, **plan)
    with pytest.raises(RunError, match="fewer than patients"):
        power(PARTS, 0.1, patients=5, seeds=2, folds=5)
    with pytest.raises(RunError, match="alpha 5"):
        power(PARTS, 0.1, patients=5, seeds=2, alpha=5)
    with pytest.raises(RunError, match="not 0"):
        patients_needed(PARTS, 0.0, seeds=2)
    with pytest.raises(RunError, match=r"power 0\.01"):
        detectable_difference(PARTS, patients=5, seeds=2, wanted=0.01)
