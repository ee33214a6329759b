from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ushape.reproduce.unet2015.results import summary
from ushape.reproduce.unet2015.scores import METRICS, THRESHOLDS, Curve


def _curve(best: float, values: list[float]) -> Curve:
    """Slices' scores `values` at threshold best / 10, worse by the distance from it elsewhere."""
    away = abs(np.array(THRESHOLDS) - best / 10)[:, None]
    good = np.array(values) - away
    return Curve({metric: 1 - good if metric == "pixel_error" else good for metric in METRICS})


FULL = [{"train": _curve(5, [0.9, 0.9]), "test": _curve(6, [0.9, 0.8, 0.94])}]
WITHOUT = [{"train": _curve(3, [0.9, 0.9]), "test": _curve(3, [0.85, 0.78, 0.86])}]


def test_thresholds_are_chosen_on_the_scored_or_on_the_training_slices() -> None:
    made = summary({}, [["a"], ["b"]], {"paper": FULL, "without": WITHOUT})
    scores = made["arms"]["paper"]
    assert scores["challenge"]["v_rand"]["thresholds"] == [0.6]
    assert scores["training"]["v_rand"]["thresholds"] == [0.5]
    assert scores["challenge"]["v_rand"]["mean"] == pytest.approx(0.88)
    assert scores["training"]["v_rand"]["mean"] == pytest.approx(0.78)
    assert scores["training"]["pixel_error"]["mean"] == pytest.approx(0.22)
    np.testing.assert_allclose(scores["challenge"]["v_rand"]["slices"], [[0.9, 0.8, 0.94]])


def test_only_training_slices_choose_between_the_challenges_thresholds() -> None:
    between = [{"train": _curve(5.5, [0.9, 0.9]), "test": _curve(0.5, [0.9, 0.8, 0.94])}]
    made = summary({}, [["a"], ["b"]], {"paper": between})["arms"]["paper"]
    assert made["training"]["v_rand"]["thresholds"] == [0.55]
    assert made["challenge"]["v_rand"]["thresholds"][0] in (0.0, 0.1)


def test_differences_are_paired_by_slice_with_a_t_interval() -> None:
    made = summary({}, [["a"], ["b"]], {"paper": FULL, "without": WITHOUT})["differences"]["without"]["challenge"]
    paired = np.array([0.05, 0.02, 0.08])
    reach = stats.t.ppf(0.975, 2) * paired.std(ddof=1) / np.sqrt(3)
    for metric, sign in (("v_rand", 1), ("pixel_error", -1)):
        assert made[metric]["mean"] == pytest.approx(sign * 0.05)
        assert made[metric]["high"] - made[metric]["low"] == pytest.approx(2 * reach)
        assert made[metric]["p"] == pytest.approx(stats.ttest_1samp(paired, 0).pvalue)


def test_intervals_of_scores_do_not_leave_0_to_1() -> None:
    wild = [{"train": _curve(5, [0.9, 0.9]), "test": _curve(5, [0.1, 0.99])}]
    made = summary({}, [["a"], ["b"]], {"paper": wild})["arms"]["paper"]["challenge"]
    for metric in METRICS:
        assert 0 == made[metric]["low"] < made[metric]["mean"] < made[metric]["high"] == 1


def test_seeds_are_averaged_each_at_its_own_threshold() -> None:
    two = [FULL[0], {"train": _curve(2, [0.9, 0.9]), "test": _curve(2, [0.7, 0.6, 0.74])}]
    made = summary({}, [["a"], ["b"]], {"paper": two})["arms"]["paper"]["challenge"]["v_rand"]
    assert made["thresholds"] == [0.6, 0.2]
    assert made["mean"] == pytest.approx(0.78)
