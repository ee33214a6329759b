"""What a study's numbers allow to say: rows worked out from made-up confusion matrices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ushape.data.rois import Roi
from ushape.data.splits import Fold
from ushape.nets.spec import parse
from ushape.study import inference
from ushape.study.design import Arm, Study
from ushape.study.inference import Evidence, Inference
from ushape.study.statistics import (
    AGGREGATIONS,
    METRICS,
    bayesian_signed_rank,
    benjamini_hochberg,
    critical_difference,
    holm,
    patient_differences,
    patient_scores,
    permutation_p,
    variance_components,
    wilcoxon_p,
)
from ushape.train.recipe import Recipe

PATIENTS = [f"P{i}" for i in range(8)]
ROIS = {f"{p}_a": Roi(f"{p}_a", Path("a"), Path("a"), 1.0) for p in PATIENTS}
SPECS = ("unet[width=4]", "unet[width=4]+residual", "unet[width=4]+se", "unet[width=4]+aspp")
GAINS = (0.0, 0.06, 0.0, -0.0005)
"""What each arm adds to the share of right pixels of every patient."""


def study(seeds: int = 2, margin: float = 0.01, arms: int = 4) -> Study:
    folds = tuple(Fold(test=tuple(PATIENTS[k::2]), validation=(), train=()) for k in range(2))
    given = tuple(Arm(parse(text)) for text in SPECS[:arms])
    return Study(given, Recipe(), Path(), None, folds, seeds, "", margin=margin)


def evidence(of: Study) -> Evidence:
    """Two classes of 10,000 pixels; patients differ, arms by GAINS, and a little by chance that arm 3 does not have."""
    made: Evidence = {}
    for a, arm in enumerate(of.arms):
        for seed in range(of.seeds):
            rng = np.random.default_rng(a if a < 3 else 0)
            for p in PATIENTS:
                share = 0.6 + 0.03 * int(p[1]) + GAINS[a] + 0.004 * rng.standard_normal() + 0.0002 * seed
                right = round(10_000 * share)
                made.setdefault((arm, seed), {})[f"{p}_a"] = np.array(
                    [[right, 10_000 - right], [10_000 - right, right]]
                )
    return made


@pytest.fixture(scope="module")
def made() -> Inference:
    return Inference(study(), evidence(study()), ROIS)


def rows_of(rows: list[dict[str, Any]], metric: str, aggregation: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["metric"], row["aggregation"]) == (metric, aggregation)]


def test_a_gain_is_better_nothing_is_equivalent_and_noise_stays_open(made: Inference):
    better, noise, nothing = rows_of(made.comparisons(), "accuracy", "pooled")
    assert (better["verdict"], nothing["verdict"]) == ("better", "equivalent")
    assert better["difference"] == pytest.approx(0.06, abs=0.004)
    assert nothing["p_equivalence"] < 0.025 < better["p_equivalence"]
    assert noise["low"] < 0 < noise["high"]
    strict = Inference(study(margin=0.0001), evidence(study()), ROIS)
    assert rows_of(strict.comparisons(), "accuracy", "pooled")[1]["verdict"] == "unresolved"


def test_verdicts_are_those_of_p_corrected_for_all_arms(made: Inference, monkeypatch: pytest.MonkeyPatch):
    for metric in METRICS:
        for aggregation in AGGREGATIONS:
            rows = rows_of(made.comparisons(), metric, aggregation)
            assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]), rel=1e-5)
    assert any(row["p_holm"] > row["p"] for row in made.comparisons())
    monkeypatch.setattr(inference, "holm", lambda found: np.ones(len(found)))
    better, _, nothing = rows_of(made.comparisons(), "accuracy", "pooled")
    assert (better["verdict"], nothing["verdict"]) == ("unresolved", "equivalent")


def test_tests_are_those_of_the_patients_own_differences(made: Inference):
    rows = rows_of(made.comparisons(), "macro_dice", "per_patient")
    for row, arm in zip(rows, made.matrices[1:], strict=True):
        own = patient_differences(arm, made.matrices[0], "macro_dice")
        chances = bayesian_signed_rank(own, 0.01)
        expected = {
            "wilcoxon_p": wilcoxon_p(own),
            "permutation_p": permutation_p(arm, made.matrices[0], "macro_dice", "per_patient"),
            "better": chances.better,
            "same": chances.equivalent,
            "worse": chances.worse,
        }
        told = dict(row["tests"])
        assert told.pop("benjamini_hochberg_p") is not None
        assert told == pytest.approx(expected, abs=1e-6)
        parts = variance_components(arm, "macro_dice", "per_patient", baseline=made.matrices[0], folds=made.folds)
        assert row["variance"] == pytest.approx(vars(parts), rel=1e-5)
    adjusted = benjamini_hochberg([row["p"] for row in rows])
    assert [row["tests"]["benjamini_hochberg_p"] for row in rows] == pytest.approx(list(adjusted), abs=1e-6)
    assert all(row["tests"] is None for row in rows_of(made.comparisons(), "macro_dice", "pooled"))


def test_one_seed_has_no_variance_components():
    one = Inference(study(seeds=1), evidence(study(seeds=1)), ROIS)
    assert all(row["variance"] is None for row in one.comparisons())


def test_ranks_are_those_of_all_arms_within_patients(made: Inference):
    found = made.ranks()
    assert found is not None
    names = [spec.name for spec in study().specs]
    expected = critical_difference(
        {n: patient_scores(m, "macro_dice") for n, m in zip(names, made.matrices, strict=True)}
    )
    assert list(found["mean_ranks"]) == list(expected.arms)
    assert found["mean_ranks"][names[1]] == 1  # ahead in every patient
    assert found["groups"] == [list(g) for g in expected.groups]
    assert Inference(study(arms=2), evidence(study(arms=2)), ROIS).ranks() is None


def test_rois_of_a_patient_count_as_one():
    of = study(arms=2)
    halves: Evidence = {}
    for key, found in evidence(of).items():
        for roi, matrix in found.items():
            half = halves.setdefault(key, {})
            half[f"{roi[:2]}_a"], half[f"{roi[:2]}_b"] = matrix // 2, matrix - matrix // 2
    rois = {f"{p}_{x}": replace(ROIS[f"{p}_a"], name=f"{p}_{x}") for p in PATIENTS for x in "ab"}
    assert Inference(of, halves, rois).comparisons() == Inference(of, evidence(of), ROIS).comparisons()
