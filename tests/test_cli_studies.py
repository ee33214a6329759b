"""`ushape study` and `--tune` from the command line. The processes that train are this one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ushape.data.classes import grouping
from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois, open_pixels
from ushape.data.splits import class_counts, split
from ushape.files import read_yaml
from ushape.study import pool
from ushape.study.design import FOLD_SEED
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.run import read_run
from ushape.train.search import find_rate

SPEC, OTHER = "unet[width=4,levels=3]", "unet[width=4,levels=3]+residual"
SETTINGS = ["--set", "crop=48", "batch=4", "shards=2", "validations=1", "tta=none"]
TUNE = ["--tune", "lr", "--tune-trials", "2", "--tune-steps", "2"]

Run = Callable[..., SimpleNamespace]


class InProcess:
    """Stands for `subprocess.Popen`; `left`: jobs until the study is interrupted."""

    left = 10**9

    def __init__(self, command: list[str], **_: object) -> None:
        self.pid, self.returncode, self.interrupts = os.getpid(), 0, InProcess.left <= 0
        InProcess.left -= 1
        if self.interrupts:
            return
        module, folder = command[2], Path(command[3])
        with Lanes(1) as lanes:
            if module == "ushape.train.search":
                find_rate(folder, lanes, torch.device("cpu"))
            else:
                train(read_run(folder), folder, lanes, torch.device("cpu"))

    def poll(self) -> int:
        if self.interrupts:
            self.interrupts, self.returncode = False, 130
            raise KeyboardInterrupt
        return self.returncode

    def wait(self, seconds: float) -> int:
        return self.returncode


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.subprocess, "Popen", InProcess)
    monkeypatch.setattr(InProcess, "left", 10**9)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "phantom"
    write_phantom(folder, patients=6, size=96)
    return folder


def compare(data: Path, out: Path, *more: str) -> list[str]:
    words = ["compare", SPEC, OTHER, "--data", str(data), "--out", str(out), "--folds", "2", "--steps", "3"]
    return [*words, "--jobs", "1", *SETTINGS, *more]


def refused(made: SimpleNamespace, *words: str) -> None:
    assert made.code == 2
    assert len(made.err.splitlines()) == 1, made.err
    for word in words:
        assert word in made.err


def test_a_tuned_study_that_was_stopped_is_told_resumed_without_a_flag_and_weighed(
    run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study = tmp_path / "study"
    monkeypatch.setattr(InProcess, "left", 6)  # four searches and two runs
    assert run(*compare(phantom, study, *TUNE, "--seeds", "2")).code == 130

    told = run("study", "status", study)
    assert told.code == 0
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    assert lines[0] == "finished at work stopped failed waiting steps"
    assert lines[1] == f"{SPEC} searches 2 0 0 0 0 8 of 8"
    assert lines[3] == f"{SPEC} runs 1 0 0 0 3 3 of 12"
    assert f"nothing is at work: `ushape study resume {study}` goes on" in told.out
    refused(run("study", "power", study), "6 runs are not finished")

    monkeypatch.setattr(InProcess, "left", 10**9)
    resumed = run("study", "resume", study, "--jobs", "1")
    assert resumed.code == 0, resumed.err
    assert f"report: {study / 'report.html'}" in resumed.out
    made = json.loads((study / "results.json").read_text())
    assert made["tuning"]["trials"] == 2
    for arm, folder in ((SPEC, "unet-width-4-levels-3"), (OTHER, "unet-width-4-levels-3+residual")):
        for each in made["tuning"]["arms"][arm]:
            rates = {
                read_yaml(study / folder / f"fold{each['fold']}-seed{s}" / "run.yaml")["recipe"]["rate"] for s in (0, 1)
            }
            assert rates == {each["chosen"]}
    assert "all runs finished" in run("study", "status", study).out

    weighed = run("study", "power", study, "--difference", "5")
    assert weighed.code == 0
    assert "this study (6 patients, 2 folds, 2 seeds) sees a difference of" in weighed.out
    heads = next(line for line in weighed.out.splitlines() if "patients for 5 points" in line)
    assert all(f"{n} patients" in heads for n in (6, 12, 24, 60))
    assert [line.split()[0] for line in weighed.out.splitlines()[-3:]] == ["2", "3", "5"]

    monkeypatch.setattr(InProcess, "left", 0)  # nothing is run again
    assert run("study", "resume", study).code == 0
    refused(run(*compare(phantom, study, "--seeds", "2")), "its tuning is", "not None")


def test_one_seed_is_weighed_with_what_it_cannot_tell(run: Run, phantom: Path, tmp_path: Path):
    study = tmp_path / "study"
    assert run(*compare(phantom, study)).code == 0
    told = run("study", "power", study)
    assert told.code == 0
    assert "at best" in told.out
    assert "run at least two seeds" in told.out
    assert "patients for" not in told.out
    data = Path(shutil.copytree(phantom, tmp_path / "data"))
    mask = sorted((data / "masks").iterdir())[0]
    Image.fromarray(np.full((96, 96), 2, np.uint8)).save(mask)
    text = (study / "study.yaml").read_text().replace(str(phantom), str(data))
    (study / "study.yaml").write_text(text)
    for command in (["study", "resume", study], ["report", study]):
        refused(run(*command), "are not those with which", "put those back")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--tune-trials", "3"], "--tune-trials has no effect without --tune: add --tune lr, or leave it out"),
        (["--tune-steps", "3"], "--tune-steps has no effect without --tune"),
        (["--tune", "lr", "--tune-trials", "1"], "give at least 2"),
        (["--tune", "lr", "--tune-steps", "4"], "--tune-steps 4: give 1 to 3"),
    ],
)
def test_what_has_no_effect_is_refused(run: Run, phantom: Path, tmp_path: Path, more: list[str], told: str):
    refused(run(*compare(phantom, tmp_path / "study", *more)), told)
    assert not (tmp_path / "study").exists()


def test_an_ablation_can_tune(run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(InProcess, "left", 0)
    words = ["ablate", SPEC, "--mods", "residual", "se", "--data", phantom, "--out", tmp_path / "study", "--folds", "2"]
    assert run(*words, "--jobs", "1", *SETTINGS, "--tune", "lr").code == 130
    tuning = read_yaml(tmp_path / "study" / "study.yaml")["tuning"]
    assert (tuning["trials"], tuning["steps"], tuning["key"]) == (6, 200, "rate")
    assert len(list((tmp_path / "study").glob("*/tune/fold*/search.yaml"))) == 6


@pytest.mark.parametrize("command", ["status", "resume", "power"])
def test_a_folder_that_is_no_study_is_refused(run: Run, tmp_path: Path, command: str):
    refused(run("study", command, tmp_path), "holds no study.yaml: give a folder that `ushape compare` made")


def test_a_failed_run_is_told_with_its_reason(run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(InProcess, "left", 0)
    run(*compare(phantom, tmp_path / "study"))
    (tmp_path / "study" / "unet-width-4-levels-3" / "fold2-seed0" / "error.txt").write_text("the loss is nan\n")
    told = run("study", "status", tmp_path / "study").out
    assert "failed: unet-width-4-levels-3/fold2-seed0: the loss is nan" in told
    assert "nothing has been trained yet: the time left is unknown" in told


def test_the_same_tissue_under_two_names_stops_a_study_and_is_listed_by_the_check(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = tmp_path / "data"
    write_phantom(data, patients=4, size=256)
    for part in ("rgbs_colorNormalized", "masks"):
        one = sorted((data / part).iterdir())[0]
        Image.fromarray(np.ascontiguousarray(np.array(Image.open(one))[6:, ::-1])).save(
            one.with_name("PHAN-P9-0009-DX1_xmin0_ymin0_MPP-1.2000.png")
        )
    monkeypatch.setattr(InProcess, "left", 0)
    words = compare(data, tmp_path / "study")
    words[words.index("--folds") + 1] = "5"
    refused(run(*words), "PHAN-P1-0000", "PHAN-P9-0009", "look like the same tissue", "remove one of them")
    assert not (tmp_path / "study").exists()
    counts = class_counts([open_pixels(roi, 1.2, "stain") for roi in find_rois(data)], grouping("bcss-5"))
    folds = split(counts, grouping("bcss-5"), 5, FOLD_SEED, False)
    (apart,) = (k for k, each in enumerate(folds, 1) if "PHAN-P9-0009" in each.test)
    fold = ["train", "unet[width=4,levels=2]", "--data", data, "--fold", f"{apart}/5", "--out", tmp_path / "run"]
    refused(run(*fold, "--set", "steps=1"), "PHAN-P1-0000", "PHAN-P9-0009", "look like the same tissue")
    assert not (tmp_path / "run").exists()
    listed = run("data", "check", data)
    assert listed.code == 2
    assert "PHAN-P9-0009-DX1_xmin0_ymin0_MPP-1.2000.png: looks like the same tissue as PHAN-P1-0000" in listed.out
    assert "1 problems" in listed.out
    other = tmp_path / "other"
    for part in ("rgbs_colorNormalized", "masks"):
        (other / part).mkdir(parents=True)
        (image,) = (data / part).glob("PHAN-P9*")
        image.rename(other / part / image.name)
    alone = ["train", "unet[width=4,levels=2]", "--data", data, "--val", other, "--out", tmp_path / "run"]
    refused(run(*alone, "--set", "steps=1"), "PHAN-P1-0000", "PHAN-P9-0009", "look like the same tissue")
    assert not (tmp_path / "run").exists()
