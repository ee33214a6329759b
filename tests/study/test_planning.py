"""How large a study must be: from the runs of a finished one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ushape.errors import RunError
from ushape.files import read_json, read_yaml, write_json, write_yaml
from ushape.study.planning import outlook
from ushape.study.statistics import detectable_difference, patients_needed, power, variance_components
from ushape.study.statistics.components import components
from ushape.study.statistics.evidence import gather

ARMS = ("unet", "unet+residual", "unet+dense", "unet+residual+se")


@pytest.fixture
def write_study(tmp_path: Path) -> Any:
    """A folder of runs as studies leave it: matrices [arms, seeds, patients, classes, classes], folds in turn."""

    def write(matrices: Any, folds: int = 4, name: str = "study") -> Path:
        folder = tmp_path / name
        arms = list(ARMS[: len(matrices)])
        told = {"arms": arms, "called": [None for _ in arms], "folds": folds, "seeds": len(matrices[0]), "tuning": None}
        write_yaml(folder / "study.yaml", told | {"recipe": {"steps": 10}})
        for arm, by_seed in zip(ARMS, matrices, strict=False):
            for seed, by_patient in enumerate(by_seed):
                for fold in range(folds):
                    rois = {}
                    for patient, matrix in enumerate(by_patient):
                        if patient % folds == fold:
                            half = np.asarray(matrix) // 2  # two ROIs of each patient
                            for roi, part in enumerate((half, np.asarray(matrix) - half)):
                                entry = {"patient": f"P{patient:02}", "confusion": part.tolist()}
                                rois[f"P{patient:02}-{roi}"] = entry
                    write_json(folder / arm / f"fold{fold + 1}-seed{seed}" / "rois.json", rois)
        return folder

    return write


def matrices(arms: int, seeds: int, patients: int, rng: Any) -> Any:
    """Random matrices in which patients, runs and the rest each have their say."""
    base = rng.uniform(0.5, 0.9, (1, 1, patients, 1))
    own = rng.normal(0, 0.04, (arms, 1, patients, 1)) + rng.normal(0, 0.03, (arms, seeds, patients, 1))
    runs = rng.normal(0, 0.03, (arms, seeds, 4, 1))[:, :, np.arange(patients) % 4]
    hits = (np.clip(base + own + runs + rng.normal(0, 0.01, (arms, seeds, patients, 3)), 0.05, 0.99) * 1000).astype(int)
    made = np.zeros((arms, seeds, patients, 3, 3), np.int64)
    for c in range(3):
        made[..., c, c], made[..., c, (c + 1) % 3] = hits[..., c], 1000 - hits[..., c]
    return made


def test_the_outlook_is_that_of_the_variance_components(write_study: Any):
    made = matrices(3, 2, 12, np.random.default_rng(3))
    found = outlook(write_study(made), 0.02, 0.8)
    folds = np.arange(12) % 4
    parts = [variance_components(arm, "macro_dice", "pooled", baseline=made[0], folds=folds) for arm in made[1:]]
    assert found.parts is not None
    for name in ("patient", "seed", "rest"):
        assert getattr(found.parts, name) == pytest.approx(np.mean([getattr(p, name) for p in parts]))
    assert (found.patients, found.folds, found.seeds, found.contrasts) == (12, 4, 2, 2)
    size = {"seeds": 2, "folds": 4, "alpha": 0.025}
    assert found.visible == detectable_difference(found.parts, patients=12, wanted=0.8, **size)
    assert found.chance == power(found.parts, 0.02, patients=12, **size)
    assert [row.seeds for row in found.rows] == [2, 3, 5]
    assert found.rows[0].visible[12] == found.visible
    assert found.rows[0].needed == patients_needed(found.parts, 0.02, wanted=0.8, **size)


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_an_ablation_the_outlook_is_that_of_its_effects(write_study: Any, seeds: int):
    """Arms none, a, b, a b: the effect of a is the mean of two differences, b's too, and half of their difference."""
    made = matrices(4, seeds, 12, np.random.default_rng(10))
    folder = write_study(made)
    asked = read_yaml(folder / "study.yaml")
    alone = outlook(folder, 0.02, 0.8)
    write_yaml(folder / "study.yaml", asked | {"design": {"kind": "full", "factors": ["a", "b"], "halvings": 0}})
    found = outlook(folder, 0.02, 0.8)
    assert (alone.contrasts, alone.of_effects, found.contrasts, found.of_effects) == (3, False, 3, True)
    values = gather(made, "macro_dice", "pooled", np.arange(12) % 4).pseudovalues()
    none, a, b, both = values
    effects = [(both + a - b - none) / 2, (both + b - a - none) / 2, (both - a - b + none) / 2]
    if seeds == 1:
        spread = np.sqrt(np.mean([effect[0].var(ddof=1) for effect in effects]))
        told = np.sqrt(np.mean([(arm[0] - none[0]).var(ddof=1) for arm in (a, b, both)]))
        assert found.visible / alone.visible == pytest.approx(spread / told)
    else:
        parts = [components(effect, np.arange(12) % 4) for effect in effects]
        assert found.parts is not None
        for name in ("patient", "seed", "rest"):
            assert getattr(found.parts, name) == pytest.approx(np.mean([getattr(p, name) for p in parts]))


def test_more_patients_and_more_seeds_see_more(write_study: Any):
    found = outlook(write_study(matrices(2, 3, 12, np.random.default_rng(4))), 0.03, 0.8)
    for row in found.rows:
        assert list(row.visible) == [12, 24, 48, 120]
        assert list(row.visible.values()) == sorted(row.visible.values(), reverse=True)
    for n in (12, 24, 48, 120):
        by_seed = [row.visible[n] for row in found.rows]
        assert by_seed == sorted(by_seed, reverse=True)


def test_one_seed_shows_patients_alone_and_nothing_is_made_of_the_rest(write_study: Any):
    made = matrices(2, 1, 12, np.random.default_rng(5))
    found = outlook(write_study(made), 0.02, 0.8)
    assert (found.parts, found.chance, found.rows) == (None, None, ())
    # of that difference, drawn anew for 12 patients again and again, a t test sees 80%
    rng = np.random.default_rng(0)
    spread = found.visible / _reach(12)
    values = rng.normal(found.visible, spread, (20_000, 12))
    assert (stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)
    both = outlook(write_study(np.concatenate([made, made], 1), name="twice"), 0.02, 0.8)
    assert both.parts is not None
    assert spread**2 == pytest.approx(both.parts.patient, rel=1e-4)  # two equal seeds: no luck of runs, no rest


def _reach(patients: int) -> float:
    """The difference seen with 80%, in standard deviations, by statsmodels."""
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(nobs=patients, alpha=0.05, power=0.8))


def test_where_nothing_varies_everything_is_seen(write_study: Any):
    same = np.repeat(matrices(1, 1, 8, np.random.default_rng(6)), 2, 0)
    assert outlook(write_study(same), 0.02, 0.8).visible == 0
    assert outlook(write_study(np.repeat(same, 2, 1), name="twice"), 0.02, 0.8).rows[0].visible[8] == 0


@pytest.mark.parametrize(("difference", "wanted", "told"), [(0.0, 0.8, "--difference 0"), (1.5, 0.8, "--difference")])
def test_a_difference_out_of_range_is_refused(tmp_path: Path, difference: float, wanted: float, told: str):
    with pytest.raises(RunError, match=f"{told}.*give points above 0 and below 100"):
        outlook(tmp_path, difference, wanted)


@pytest.mark.parametrize("wanted", [0.0, 0.05, 1.0, 80.0])
def test_a_power_out_of_range_is_refused(write_study: Any, wanted: float):
    with pytest.raises(RunError, match=r"--power .*give a share between 0.05 and 1, say 0.8"):
        outlook(write_study(matrices(2, 2, 8, np.random.default_rng(7))), 0.02, wanted)


def test_patients_alone_in_their_folds_cannot_be_told_from_runs(write_study: Any):
    with pytest.raises(RunError, match="each patient is alone in its fold"):
        outlook(write_study(matrices(2, 2, 8, np.random.default_rng(8)), folds=8), 0.02, 0.8)


def test_runs_that_are_missing_or_damaged_are_named(write_study: Any, finished: Path, tmp_path: Path):
    folder = write_study(matrices(2, 2, 8, np.random.default_rng(9)))
    run = folder / "unet+residual" / "fold2-seed1"
    write_json(run / "rois.json", {"A": {"patient": "P"}})
    with pytest.raises(RunError, match=r"fold2-seed1/rois.json: is damaged .*: remove"):
        outlook(folder, 0.02, 0.8)
    (run / "rois.json").unlink()
    with pytest.raises(RunError, match=r"1 runs are not finished \(unet\+residual/fold2-seed1\): `ushape study resume"):
        outlook(folder, 0.02, 0.8)


def test_a_study_that_was_trained_has_an_outlook(finished: Path, tmp_path: Path):
    copy = Path(shutil.copytree(finished, tmp_path / "study"))
    found = outlook(copy, 0.02, 0.8)
    assert (found.patients, found.folds, found.seeds) == (5, 2, 2)
    assert len(read_json(copy / "folds.json")) == 2
    assert found.visible > 0
