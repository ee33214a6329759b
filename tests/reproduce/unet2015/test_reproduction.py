from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ushape.cli import main
from ushape.errors import RunError
from ushape.locks import holding
from ushape.nets.device import pick_precision
from ushape.reproduce.unet2015 import reproduction
from ushape.reproduce.unet2015.reproduction import Question, reproduce
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def question(small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Question:
    return Question(tmp_path_factory.mktemp("data"), replace(small, steps=2), ablate=True)


@pytest.fixture(scope="module")
def folder(question: Question, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "reproduction"
    reproduce(question, stack, folder, CPU)
    return folder


def test_an_ablation_leaves_out_each_ingredient(folder: Path) -> None:
    made = json.loads((folder / "results.json").read_text())
    without = ["without-rotations", "without-weight-map", "without-deformation"]
    assert list(made["arms"]) == ["paper", *without]
    assert list(made["differences"]) == without
    assert made["slices"] == {"train": [f"{i:02}" for i in range(6)], "test": ["06", "07"]}
    for name, changed in (("weight-map", "weighted"), ("deformation", "deviation")):
        about = json.loads(_metadata(folder / f"without-{name}-seed0")["ushape"])["settings"]
        assert not about[changed]
        assert about["steps"] == 2
    assert not (folder / "without-rotations-seed0").exists()


def _metadata(run: Path) -> dict[str, str]:
    from ushape.nets.weights import load_tensors

    return load_tensors(run / "weights.safetensors")[1]


def test_predictions_are_those_of_the_test_slices(folder: Path, stack: Stack) -> None:
    files = sorted((folder / "paper-seed0" / "predictions").iterdir())
    assert [f.name for f in files] == ["06.png", "07.png"]
    with Image.open(files[0]) as image:
        assert np.asarray(image).shape == stack.light.shape[1:]


def test_what_is_there_is_not_computed_again(folder: Path, question: Question, stack: Stack) -> None:
    before = {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file() and f.name != "results.json"}
    results = (folder / "results.json").read_text()
    reproduce(question, stack, folder, CPU)
    assert before == {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file() and f.name != "results.json"}
    assert (folder / "results.json").read_text() == results


def test_another_question_is_refused(folder: Path, question: Question, stack: Stack) -> None:
    with pytest.raises(RunError, match=r"another reproduction: its settings.steps is 2, not 3"):
        reproduce(replace(question, settings=replace(question.settings, steps=3)), stack, folder, CPU)
    with pytest.raises(RunError, match="another reproduction: its slices"):
        reproduce(question, replace(stack, fingerprint="sha256:0"), folder, CPU)


def test_another_precision_is_refused(
    folder: Path, question: Question, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = pick_precision("auto", CPU)
    other = {"bf16": {}, "float32": {"avx512_bf16": True}}[fast]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: other)
    with pytest.raises(RunError, match=rf"its precision is {fast}, not .*go on on a machine that computes {fast}"):
        reproduce(question, stack, folder, CPU)


def test_one_process_at_a_time(folder: Path, question: Question, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduction, "holding", partial(holding, patience=0.1))
    with holding(folder / "reproduction.yaml"), pytest.raises(RunError, match="another process is at work"):
        reproduce(question, stack, folder, CPU)


def test_choosing_leaves_the_test_slices_alone(question: Question, stack: Stack, tmp_path: Path) -> None:
    blind = replace(stack, light=stack.light.copy(), interior=stack.interior.copy())
    blind.light[6:] = np.nan
    made = reproduce(replace(question, ablate=False, validate=True), blind, tmp_path / "out", CPU)
    assert made["slices"] == {"train": ["00", "01", "02", "03"], "test": ["04", "05"]}
    assert list(made["arms"]) == ["paper"]


def test_the_command(tmp_path: Path, write_stack: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_stack(tmp_path / "stack")
    arguments = ["reproduce", "unet2015", "--data", str(folder), "--out", str(tmp_path / "out"), "--steps", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--device", "cpu"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "V rand" in shown
    assert "best threshold of the scored slices" in shown
    made = json.loads((tmp_path / "out" / "results.json").read_text())
    assert made["settings"]["width"] == 16
    assert f"{made['arms']['paper']['challenge']['v_rand']['mean']:.4f}" in shown


def test_the_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "unet2015", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"ushape: {tmp_path}/none/images: no such folder: give the folder that holds images/ and labels/\n"
    )
    assert not (tmp_path / "out").exists()
