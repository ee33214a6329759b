"""Resamples of patients, folds and seeds: what is drawn, for whom, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ushape.errors import RunError
from ushape.predict.score import accuracy, macro_dice
from ushape.study.statistics import AGGREGATIONS, METRICS, bootstrap

Counts = NDArray[np.int64]

EVERY = [(metric, aggregation) for metric in METRICS for aggregation in AGGREGATIONS]


def arms(number: int, seeds: int = 1, patients: int = 10) -> list[Counts]:
    rng = np.random.default_rng(number)
    return list(rng.integers(1, 900, (3, seeds, patients, 3, 3)) + 900 * np.eye(3, dtype=np.int64))


def accuracies(right: NDArray[np.float64]) -> Counts:
    """Matrices [seeds, patients, 2, 2] of equal size with these accuracies."""
    made = np.zeros((*right.shape, 2, 2), np.int64)
    made[..., 0, 0] = np.rint(1e6 * right)
    made[..., 0, 1] = 1_000_000 - made[..., 0, 0]
    return made


@pytest.mark.parametrize("kind", EVERY)
def test_observed_scores_are_those_of_all_patients(kind: tuple[str, str]):
    baseline, *others = arms(0, seeds=2)
    score = METRICS[kind[0]]
    expected = [
        np.mean([score(seed.sum(0)) if kind[1] == "pooled" else score(seed).mean() for seed in arm])
        for arm in (baseline, *others)
    ]
    assert bootstrap(others, baseline, *kind, resamples=3).observed == pytest.approx(expected)


def test_draws_have_the_distribution_of_resampled_means():
    baseline, *others = arms(1, patients=12)
    found = bootstrap(others, baseline, "accuracy", "per_patient", resamples=20_000)
    for arm, draws in zip(others, found.differences(), strict=True):
        own = (accuracy(arm) - accuracy(baseline))[0]
        expected = stats.bootstrap((own,), np.mean, method="percentile", n_resamples=20_000, rng=0)
        assert np.quantile(draws, [0.025, 0.975]) == pytest.approx(expected.confidence_interval, abs=0.003)
        assert draws.std() == pytest.approx(own.std() / np.sqrt(12), rel=0.03)


def test_pooled_draws_are_scores_of_pooled_matrices():
    # two patients, one seed: a resample has both, or one of them twice
    baseline, arm, _ = arms(2, patients=2)
    found = bootstrap([arm], baseline, "macro_dice", "pooled", resamples=2000)
    possible = [
        float(macro_dice(arm[0, list(drawn)].sum(0)) - macro_dice(baseline[0, list(drawn)].sum(0)))
        for drawn in ((0, 1), (0, 0), (1, 1))
    ]
    draws = found.differences()[0]
    near = np.isclose(draws[:, None], possible, atol=1e-12)
    assert near.any(1).all()
    assert near.mean(0) == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def test_arms_get_the_same_draws_in_whatever_company():
    baseline, *others = arms(3, seeds=2)
    together = bootstrap(others, baseline, "macro_dice", "pooled", resamples=700)
    alone = bootstrap(others[1:], baseline, "macro_dice", "pooled", resamples=700)
    assert together.differences()[1] == pytest.approx(alone.differences()[0], abs=1e-12)
    same = bootstrap([baseline.copy()], baseline, "macro_dice", "pooled", resamples=700)
    assert (same.differences() == 0).all()


def test_draws_follow_the_seed():
    baseline, *others = arms(4)
    first, again, other = (bootstrap(others, baseline, *EVERY[0], resamples=600, seed=s).scores for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_runs_are_drawn_whole_within_their_fold():
    # accuracy says which run it was, the same for all patients of the fold
    right = np.array([[0.1] * 4 + [0.2] * 4, [0.3] * 4 + [0.4] * 4])
    arm, baseline = accuracies(right), accuracies(np.zeros((2, 8)))
    blind = bootstrap([arm], baseline, "accuracy", "pooled", resamples=4000).differences()[0]
    told = bootstrap([arm], baseline, "accuracy", "pooled", resamples=4000, folds=[0] * 4 + [1] * 4).differences()[0]
    # the mean of a seed's two runs varies by .1; drawn together for both folds, or apart
    assert blind.var() == pytest.approx(0.1**2 / 2 + 0.05**2 / 8, rel=0.1)
    assert told.var() == pytest.approx(0.1**2 / 4 + 0.05**2 / 8 + 0.1**2 / 8 / 2, rel=0.15)


def test_the_interval_is_wider_than_percentiles_for_few_patients_only():
    for patients, wider in ((5, 1.4), (200, 1.0)):
        baseline, *others = arms(5, patients=patients)
        found = bootstrap(others, baseline, "accuracy", "per_patient", resamples=20_000)
        plain = np.quantile(found.differences(), [0.025, 0.975], axis=1).T
        ratio = np.diff(found.interval()) / np.diff(plain)
        assert ratio == pytest.approx(wider, abs=0.1)
        assert (np.diff(found.interval(0.5)) < np.diff(found.interval(0.99))).all()


def test_best_is_the_share_of_resamples_won():
    baseline, *others = arms(6)
    found = bootstrap(others, baseline, *EVERY[0], resamples=600)
    winners = found.scores.argmax(0)
    assert found.best() == pytest.approx([(winners == a).mean() for a in range(3)])
    twins = bootstrap([baseline.copy()], baseline, *EVERY[0], resamples=600)
    assert twins.best() == pytest.approx([0.5, 0.5])


def test_a_class_that_one_patient_alone_holds_gives_finite_draws():
    baseline, *others = arms(7)
    for each in (baseline, *others):
        each[:, 1:, 2], each[:, 1:, :, 2] = 0, 0
    for kind in EVERY:
        assert np.isfinite(bootstrap(others, baseline, *kind, resamples=600).scores).all()


def test_what_cannot_be_drawn_is_refused():
    baseline, arm, _ = arms(8)
    with pytest.raises(RunError, match="0 resamples"):
        bootstrap([arm], baseline, *EVERY[0], resamples=0)
    with pytest.raises(RunError, match="cannot be paired"):
        bootstrap([arm[:, 1:]], baseline, *EVERY[0])
    with pytest.raises(RunError, match="confidence 2"):
        bootstrap([arm], baseline, *EVERY[0], resamples=9).interval(2)
