"""From matrices to falls: whose they are, by how much, how sure."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ushape.data.rois import Roi
from ushape.predict.degrade import Degradation
from ushape.predict.score import Matrix, macro_dice
from ushape.study.falls import falls, table
from ushape.study.held_out import Arm
from ushape.study.statistics import paired_difference

PATIENTS = [f"TCGA-A1-000{i}" for i in range(5)]
ROIS = [Roi(f"{p}-DX{k}", Path("i"), Path("m"), 1.2) for p in PATIENTS for k in (1, 2)]
BLUR = Degradation("blur", 2)


def arm(seeds: int = 2) -> Arm:
    """Two folds: the first two patients, and the others."""
    fold = {p: Path(f"fold{1 if i < 2 else 2}") for i, p in enumerate(PATIENTS)}
    return Arm("unet", Path("study"), tuple({p: Path(f"{f}-seed{s}") for p, f in fold.items()} for s in range(seeds)))


def counts(right: int, seeds: int, rng: np.random.Generator) -> list[dict[str, Matrix]]:
    made = []
    for _ in range(seeds):
        hits = {roi.name: np.diag(rng.integers(right - 9, right, 3)) for roi in ROIS}
        made.append({n: (100 * np.eye(3, dtype=int) - m).sum(1) [:, None] // 2 * (1 - np.eye(3, dtype=int)) + m
                     for n, m in hits.items()})  # fmt: skip
    return made


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_fall_is_paired_by_patient_and_has_the_interval_of_the_studies(seeds: int) -> None:
    rng = np.random.default_rng(0)
    before, after = counts(90, seeds, rng), counts(70, seeds, rng)
    whole, hurt = falls(arm(seeds), {None: before, BLUR: after}, ROIS)
    assert (whole.degradation, whole.strength, hurt.degradation, hurt.strength) == ("none", None, "blur", 2)
    assert (hurt.arm, hurt.patients, hurt.seeds) == ("unet", 5, seeds)
    for row, made in ((whole, before), (hurt, after)):
        pooled = [macro_dice(np.sum(list(seed.values()), axis=0)) for seed in made]
        assert row.macro_dice.value == pytest.approx(np.mean(pooled), abs=1e-6)
        right = [np.trace(total := np.sum(list(seed.values()), axis=0)) / total.sum() for seed in made]
        assert row.accuracy.value == pytest.approx(np.mean(right), abs=1e-6)
    assert (whole.macro_dice.fall, whole.accuracy.low) == (None, None)

    stacks = [
        np.stack([[sum(seed[r.name] for r in ROIS if r.patient == p) for p in PATIENTS] for seed in made])
        for made in (before, after)
    ]
    for metric in ("macro_dice", "accuracy"):
        told = paired_difference(*stacks, metric, "pooled", folds=[0, 0, 1, 1, 1])
        score = getattr(hurt, metric)
        assert (score.fall, score.low, score.high) == pytest.approx((told.difference, told.low, told.high), abs=1e-6)
        assert score.fall > 0.1
        assert score.low < score.fall < score.high


def test_one_patient_has_a_fall_without_bounds() -> None:
    rng = np.random.default_rng(0)
    both = {None: counts(90, 1, rng), BLUR: counts(70, 1, rng)}
    _, row = falls(arm(1), both, ROIS[:2])
    assert row.patients == 1
    assert row.macro_dice.fall is not None
    assert (row.macro_dice.low, row.macro_dice.high) == (None, None)


def test_what_counts_nowhere_has_no_score() -> None:
    nothing: list[dict[str, Matrix]] = [{roi.name: np.zeros((3, 3), np.int64) for roi in ROIS}]
    for row in falls(arm(1), {None: nothing, BLUR: nothing}, ROIS):
        assert vars(row.macro_dice) == dict.fromkeys(("value", "fall", "low", "high"))


def test_the_table_holds_every_number_once() -> None:
    rng = np.random.default_rng(0)
    rows = falls(arm(1), {None: counts(90, 1, rng), BLUR: counts(70, 1, rng)}, ROIS)
    whole, hurt = csv.DictReader(table(rows).splitlines())
    assert (whole["degradation"], whole["strength"], whole["macro_dice_fall"]) == ("none", "", "")
    assert (hurt["arm"], hurt["degradation"], hurt["strength"], hurt["patients"]) == ("unet", "blur", "2", "5")
    assert float(hurt["accuracy_high"]) == rows[1].accuracy.high
    assert float(hurt["macro_dice_fall"]) == rows[1].macro_dice.fall
