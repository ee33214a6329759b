"""Which network scores which patient: never one that saw them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ushape.data.rois import find_rois
from ushape.errors import RunError
from ushape.nets.unet import build
from ushape.nets.weights import load_weights, save_weights
from ushape.study.folder import read_study
from ushape.study.held_out import find_arms, shared_patients

SPEC = "unet[width=4,levels=3]"
GROUPING = {"id": "bcss-5@1"}


def save(folder: Path, trained_on: list[str], validated_on: list[str], **about: Any) -> Path:
    seen = {"trained_on": trained_on, "validated_on": validated_on, "grouping": GROUPING}
    seen |= {"mpp": 1.2, "normalise": "none", "tta": "none"}
    save_weights(folder / "weights.safetensors", build(SPEC, seed=0), seen | about)
    return folder


@pytest.fixture(scope="session")
def patients(phantom: Path) -> list[str]:
    return sorted({roi.patient for roi in find_rois(phantom)})


def test_a_study_scores_each_patient_by_the_run_that_held_them_out(finished: Path, patients: list[str]) -> None:
    arms, study = find_arms([finished], patients), read_study(finished)
    assert [arm.name for arm in arms] == [spec.name for spec in study.specs]
    for arm, folder in zip(arms, study.arms, strict=True):
        assert len(arm.seeds) == 2
        for number, seed in enumerate(arm.seeds):
            assert sorted(seed) == patients
            for k, fold in enumerate(study.folds, 1):
                file = finished / folder / f"fold{k}-seed{number}" / "weights.safetensors"
                assert {seed[p] for p in fold.test} == {file}
        for file in arm.files:
            about = load_weights(file).about
            own = {p for seed in arm.seeds for p, each in seed.items() if each == file}
            assert not own & {*about["trained_on"], *about["validated_on"]}
        folds = {p: k for k, fold in enumerate(study.folds) for p in fold.test}
        numbers = arm.folds(patients)
        assert all(
            (numbers[i] == numbers[j]) == (folds[p] == folds[q])
            for i, p in enumerate(patients)
            for j, q in enumerate(patients)
        )
    assert shared_patients(arms) == patients


def test_an_arm_of_a_study_is_scored_as_in_its_study(finished: Path, patients: list[str]) -> None:
    first, second = read_study(finished).arms
    both = find_arms([finished], patients)
    (alone,) = find_arms([finished / second], patients)
    assert (alone.name, alone.seeds) == (both[1].name, both[1].seeds)
    assert [arm.name for arm in find_arms([finished / second, finished / first], patients)] == [
        both[1].name,
        both[0].name,
    ]
    with pytest.raises(RunError, match=rf"{re.escape(second)}: is named twice"):
        find_arms([finished, finished / second], patients)
    with pytest.raises(RunError, match=rf"pictures: is no arm of .*: give one of {first}, {re.escape(second)}"):
        find_arms([finished / "pictures"], patients)


def test_a_run_of_a_study_that_saw_a_test_patient_is_refused(
    finished: Path, patients: list[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "study"))
    study = read_study(folder)
    run = folder / study.run_folder(next(iter(study.arms)), 2, 1)
    weights, leaked = load_weights(run), study.folds[1].test[0]
    save_weights(run / "weights.safetensors", weights.net, weights.about | {"validated_on": [leaked]})
    with pytest.raises(RunError, match=f"fold2-seed1.*was trained on {leaked}, whom its fold tests"):
        find_arms([folder], patients)
    save_weights(run / "weights.safetensors", weights.net, weights.about | {"validated_on": [leaked.lower()]})
    with pytest.raises(RunError, match=f"fold2-seed1.*was trained on {leaked}, whom its fold tests"):
        find_arms([folder], patients)


def test_an_unfinished_study_is_refused(finished: Path, patients: list[str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "study"))
    next(folder.glob("*/fold1-seed0/rois.json")).unlink()
    with pytest.raises(RunError, match=r"1 runs are not finished.*study resume"):
        find_arms([folder], patients)


def test_a_run_alone_scores_patients_that_it_neither_trained_nor_was_chosen_on(tmp_path: Path) -> None:
    (arm,) = find_arms([save(tmp_path / "run", ["A"], ["B"])], ["A", "B", "C", "D"])
    assert arm.name == SPEC
    assert [sorted(seed) for seed in arm.seeds] == [["C", "D"]]
    assert arm.files == [tmp_path / "run" / "weights.safetensors"]
    assert arm.folds(["C", "D"]) == [0, 0]


def test_a_patient_is_one_however_spelt(tmp_path: Path) -> None:
    run = save(tmp_path / "run", ["TCGA-A1-AOSK", "case7"], ["tcga-a1-a0sm"])
    (arm,) = find_arms([run], ["TCGA-A1-A0SK", "Case7", "TCGA-A1-A0SM", "TCGA-A1-A0SN"])
    assert [sorted(seed) for seed in arm.seeds] == [["TCGA-A1-A0SN"]]


def test_a_run_that_may_know_the_patients_by_other_names_is_refused(tmp_path: Path) -> None:
    run = save(tmp_path / "run", ["SEED-01-R001-DX1"], [])
    with pytest.raises(RunError, match=r"1 patients of TCGA whose true names are not known, of whom TCGA-A1-A0SK"):
        find_arms([run], ["TCGA-A1-A0SK"])
    assert find_arms([run], ["HOSPITAL-1"])


def test_a_run_that_saw_every_patient_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run: every patient of the data was in its training or validation set"):
        find_arms([save(tmp_path / "run", ["A", "B"], ["C"])], ["A", "B", "C"])


def test_a_study_that_knows_no_patient_of_the_data_is_refused(finished: Path) -> None:
    with pytest.raises(RunError, match="is not of this study"):
        find_arms([finished], ["TCGA-A1-A0SK"])


def test_all_arms_are_scored_on_the_patients_that_none_saw(tmp_path: Path) -> None:
    runs = [save(tmp_path / "one", ["A"], []), save(tmp_path / "two", ["B"], [])]
    assert shared_patients(find_arms(runs, ["A", "B", "C"])) == ["C"]
    with pytest.raises(RunError, match="no patient of the data whom all of these networks never saw"):
        shared_patients(find_arms(runs, ["A", "B"]))


def test_arms_of_one_spec_are_told_apart_by_where_they_lie(finished: Path, patients: list[str], tmp_path: Path) -> None:
    runs = [save(tmp_path / "x" / "run", [], []), save(tmp_path / "y" / "run", [], []), save(tmp_path / "z", [], [])]
    names = [arm.name for arm in find_arms([finished, *runs], patients)]
    assert names[:2] == [f"{SPEC} (finished)", f"{SPEC}+residual"]
    assert names[2:] == [f"{SPEC} ({runs[0]})", f"{SPEC} ({runs[1]})", f"{SPEC} (z)"]


def test_what_is_named_twice_is_no_network_or_is_missing_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="named twice"):
        find_arms([finished, finished / "." / ".." / finished.name], ["A"])
    with pytest.raises(RunError, match="train it first"):
        find_arms([tmp_path / "gone"], ["A"])
    (tmp_path / "weights.safetensors").write_bytes(json.dumps({}).encode())
    with pytest.raises(RunError, match="damaged"):
        find_arms([tmp_path], ["A"])
