"""The command line from end to end, on a phantom of six small patients."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from ushape.cli import main
from ushape.data.classes import grouping
from ushape.data.phantom import write_phantom
from ushape.files import read_yaml
from ushape.nets import plugin, registry
from ushape.nets.registry import modifications
from ushape.nets.unet import build
from ushape.nets.weights import load_weights, save_weights, weights_file
from ushape.predict import engine, engines
from ushape.predict.score import scores
from ushape.predict.turns import TTA, View, turn
from ushape.train import loop

SPEC, OTHER = "unet[width=4,levels=3]", "unet[width=4,levels=3]+residual"
SETTINGS = ["--set", "crop=48", "batch=4", "shards=2", "tta=none"]
LOOKS = ["--set", "validations=2"]
TORCH = ["--engine", "torch", "--precision", "float32"]
CLASSES = ["tumor", "stroma", "inflammatory", "necrosis", "other"]
COMMANDS = ["data phantom", "data check", "train", "evaluate", "robustness", "compare", "study status"]
COMMANDS += ["study resume", "study power", "report", "predict", "export", "measure", "mods", "nets"]

Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "phantom"
    write_phantom(folder, patients=6, size=96)
    return folder


@pytest.fixture
def data(phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom, to be spoilt."""
    return Path(shutil.copytree(phantom, tmp_path / "data"))


@pytest.fixture(scope="module")
def trained(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of fold 1/3."""
    folder = tmp_path_factory.mktemp("cli") / "trained"
    with pytest.raises(SystemExit) as caught:
        main([*train_words(phantom, folder), *LOOKS, "--fold", "1/3"])
    assert caught.value.code == 0
    return folder


@pytest.fixture(scope="module")
def study(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A whole comparison: `folder`, and what it wrote to `out` and `err`."""
    folder = tmp_path_factory.mktemp("cli") / "study"
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        train_here(patch)
        with pytest.raises(SystemExit) as caught:
            main(compare_words(phantom, folder))
    assert caught.value.code == 0, err.getvalue()
    return SimpleNamespace(folder=folder, out=out.getvalue(), err=err.getvalue())


def train_words(data: Path, out: Path, spec: str = SPEC) -> list[str]:
    return ["train", spec, "--data", str(data), "--out", str(out), "--steps", "4", "--threads", "1", *SETTINGS]


def compare_words(data: Path, out: Path) -> list[str]:
    words = ["compare", SPEC, OTHER, "--data", str(data), "--out", str(out), "--folds", "2", "--steps", "4"]
    return [*words, "--jobs", "1", *SETTINGS, *LOOKS]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_refused(made: SimpleNamespace, *remedy: str) -> None:
    """Exit code 2 and one line that has all of these words."""
    assert made.code == 2
    assert "Traceback" not in made.err + made.out
    assert len(made.err.splitlines()) == 1, made.err
    assert made.err.startswith("ushape: ")
    for word in remedy:
        assert word in made.err, made.err


def test_a_folder_that_may_not_be_entered_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refused)
    assert_refused(run("data", "check", tmp_path / "theirs"), f"{tmp_path / 'theirs'}", "Permission denied: have it")


# -- help and arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_in_which_every_option_stands(run: Run, command: str):
    made = run(*command.split(), "--help")
    assert made.code == 0
    assert f"usage: ushape {command}" in made.out
    assert "--help" in made.out


def test_help_lists_every_command(run: Run):
    out = run("--help").out
    assert all(re.search(rf"^\s+{command.split()[0]}\s", out, re.M) for command in COMMANDS)


def test_the_version_is_told(run: Run):
    assert re.fullmatch(r"ushape \d+\.\d+\.\d+\n", run("--version").out)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["trian"],
        ["train", SPEC],
        ["data"],
        ["train", SPEC, "--data", "x", "--out", "y", "--epochs", "3"],
        ["train", SPEC, "--data", "x", "--out", "y", "--step", "3"],
        ["train", SPEC, "--data", "x", "--out", "y", "--fold", "6/5"],
        ["train", SPEC, "--data", "x", "--out", "y", "--fold", "0/5"],
        ["train", SPEC, "--data", "x", "--out", "y", "--fold", "2"],
        ["train", SPEC, "--data", "x", "--out", "y", "--fold", "1/5", "--val", "z"],
        ["train", SPEC, "extra", "--data", "x", "--out", "y"],
        ["train", SPEC, "--data", "x", "--out", "y", "--save-every", "nan"],
        ["pretrain", SPEC, "--data", "x", "--out", "y", "--save-every", "-1"],
        ["lits", "train", "x", "--out", "y", "--save-every", "nan"],
        ["compare", SPEC, OTHER, "--data", "x", "--out", "y", "--jobs", "0"],
        ["compare", SPEC, OTHER, "--data", "x", "--out", "y", "--folds", "many"],
        ["evaluate", "x", "--data", "y", "--tta", "all"],
        ["report", "x", "--steps", "3"],
    ],
)
def test_arguments_that_are_unknown_missing_or_wrong_are_refused(run: Run, words: list[str], tmp_path: Path):
    made = run(*words)
    assert made.code == 2
    assert made.err.startswith("usage: ushape")
    assert "error: " in made.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--guided", "6"), "--guided: 6: give a multiple of 4 from 0 to 256"),
        (("--guided", "some"), "--guided: some: give a multiple of 4 from 0 to 256"),
        (("--guided", "260"), "--guided: 260: give a multiple of 4 from 0 to 256"),
        (("--tile", "0"), "--tile: 0: give a side in px, up to 65536"),
        (("--tile", "1000000000"), "--tile: 1000000000: give a side in px, up to 65536"),
        (("--jobs", "1.5"), "--jobs: 1.5: give a whole number of at least 1"),
    ],
)
def test_a_wrong_number_is_refused_with_what_may_be_given(run: Run, words: tuple[str, str], remedy: str):
    made = run("predict", "--weights", "bcss-demo", "x.png", *words)
    assert made.code == 2
    assert made.err.splitlines()[-1].endswith(remedy)


# -- data ------------------------------------------------------------------------------------------------------------


def test_the_phantom_is_written_and_has_nothing_wrong(run: Run, tmp_path: Path):
    made = run("data", "phantom", tmp_path / "p", "--patients", 2, "--seed", 3, "--size", 64)
    assert made.code == 0
    assert "2 patients" in made.out
    checked = run("data", "check", tmp_path / "p")
    assert checked.code == 0
    assert "2 ROIs of 2 patients; bcss-5@1: tumor" in checked.out
    assert "no problem found" in checked.out


def test_data_check_lists_every_problem_by_file(run: Run, data: Path):
    masks = sorted((data / "masks").iterdir())
    masks[0].unlink()
    change(masks[1], lambda codes: codes * 0 + 97)
    made = run("data", "check", data)
    assert made.code == 2
    assert made.out.count("\n") == 4
    assert f"{masks[1]}: code 97" in made.out
    assert "has no mask" in made.out
    assert "2 problems" in made.out


def test_a_phantom_out_of_range_is_refused(run: Run, tmp_path: Path):
    assert_refused(run("data", "phantom", tmp_path / "p", "--size", 8), "at least 64")
    assert_refused(run("data", "phantom", tmp_path / "p", "--seed", -1), "0 or more")
    assert not (tmp_path / "p").exists()


# -- train -----------------------------------------------------------------------------------------------------------


def test_training_on_a_fold_scores_its_test_patients(trained: Path):
    about = load_weights(trained).about
    tested = {entry["patient"] for entry in json.loads((trained / "rois.json").read_text()).values()}
    assert len(tested) == 2
    assert len(about["validated_on"]) == 1
    assert not tested & {*about["trained_on"], *about["validated_on"]}
    assert not {*about["trained_on"]} & {*about["validated_on"]}
    assert len({*tested, *about["trained_on"], *about["validated_on"]}) == 6


def test_training_with_validation_patients_of_another_folder(run: Run, data: Path, tmp_path: Path):
    other = write_other(tmp_path / "other")
    made = run(*train_words(data, tmp_path / "run"), *LOOKS, "--val", other)
    assert made.code == 0
    assert f"weights: {tmp_path / 'run' / 'weights.safetensors'}" in made.out
    about = load_weights(tmp_path / "run").about
    assert about["validated_on"] == ["OTHE-XX-0000"]
    assert len(about["trained_on"]) == 6
    assert (tmp_path / "run" / "validation.csv").read_text().count("\n") == 3


def write_other(folder: Path) -> Path:
    """One ROI of a patient that the phantom does not have."""
    write_phantom(folder, patients=1, seed=5, size=96)
    for path in folder.rglob("*.png"):
        path.rename(path.with_name("OTHE-XX-0000-DX1_MPP-1.2000.png"))
    return folder


def test_training_on_everything_keeps_the_last_weights(run: Run, phantom: Path, tmp_path: Path):
    assert run(*train_words(phantom, tmp_path / "run")).code == 0
    about = load_weights(tmp_path / "run").about
    assert (about["validated_on"], len(about["trained_on"]), about["chosen_step"]) == ([], 6, 4)


def test_a_recipe_file_is_read_and_settings_come_on_top(run: Run, phantom: Path, tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("ema: 0.5\nstain: 0.1\n")
    words = [*train_words(phantom, tmp_path / "run"), "--recipe", str(tmp_path / "recipe.yaml"), "--set", "stain=0"]
    assert run(*words).code == 0
    recipe = load_weights(tmp_path / "run").about["recipe"]
    assert (recipe["ema"], recipe["stain"], recipe["steps"], recipe["crop"]) == (0.5, 0.0, 4, 48)


def test_the_same_training_again_goes_on_and_another_is_refused(run: Run, phantom: Path, trained: Path):
    before = contents(trained)
    assert run(*train_words(phantom, trained), *LOOKS, "--fold", "1/3").code == 0
    assert contents(trained) == before
    assert_refused(
        run(*train_words(phantom, trained), *LOOKS, "--fold", "2/3"), "belongs to another run", "rois", "--out"
    )
    assert_refused(
        run(*train_words(phantom, trained, OTHER), *LOOKS, "--fold", "1/3"), "belongs to another run", "name"
    )
    assert contents(trained) == before


def test_looks_at_validation_patients_where_there_are_none_are_refused(run: Run, phantom: Path, tmp_path: Path):
    assert_refused(run(*train_words(phantom, tmp_path / "run"), *LOOKS), "validations=2 has no effect", "add --fold or")
    assert not (tmp_path / "run").exists()


def test_a_patient_in_training_and_validation_is_a_leak(run: Run, data: Path, tmp_path: Path):
    other = write_other(tmp_path / "other")
    for part in ("rgbs_colorNormalized", "masks"):
        source = next((data / part).glob("PHAN-P1-0000*"))
        shutil.copy(source, other / part / source.name.replace("DX1", "DX2"))
    made = run(*train_words(data, tmp_path / "run"), *LOOKS, "--val", other)
    assert_refused(made, "PHAN-P1-0000", "leak", "one side")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spelt", [str.lower, lambda name: name.replace("PHAN-P1-0000", "PHAN-PI-OOOO")])
def test_a_patient_spelt_otherwise_in_the_other_folder_is_a_leak(
    run: Run, phantom: Path, tmp_path: Path, spelt: Callable[[str], str]
):
    other = tmp_path / "other"
    for part in ("rgbs_colorNormalized", "masks"):
        (other / part).mkdir(parents=True)
        source = next((phantom / part).glob("PHAN-P1-0000*"))
        shutil.copy(source, other / part / spelt(source.name).replace("_mpp", "_MPP"))
    made = run(*train_words(phantom, tmp_path / "run"), *LOOKS, "--val", other)
    assert_refused(made, "leak", "perhaps spelt otherwise", "one side")
    assert not (tmp_path / "run").exists()


def test_corrected_masks_are_another_run(run: Run, data: Path, tmp_path: Path):
    assert run(*train_words(data, tmp_path / "run")).code == 0
    before = contents(tmp_path / "run")
    change(mask_of(data), lambda codes: np.where(codes == 0, 2, codes))
    made = run(*train_words(data, tmp_path / "run"))
    assert_refused(made, f"{tmp_path / 'run'} belongs to another run: its fingerprint.train is", "put back the images")
    assert contents(tmp_path / "run") == before
    shutil.rmtree(data)
    other = write_other(tmp_path / "other")
    assert run("evaluate", tmp_path / "run", "--data", other, "--tta", "none", "--threads", 1).code == 0


def without_bf16(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("torch.cpu.get_capabilities", dict)


def test_a_training_does_not_go_on_in_another_precision(
    run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    assert run(*train_words(phantom, tmp_path / "run")).code == 0
    assert read_yaml(tmp_path / "run" / "run.yaml")["recipe"]["precision"] == "bf16"
    assert load_weights(tmp_path / "run").about["precision"] == "bf16"
    before = contents(tmp_path / "run")
    without_bf16(monkeypatch)
    made = run(*train_words(phantom, tmp_path / "run"))
    assert_refused(made, "its recipe.precision is bf16, not float32", "--out", "with --set precision=bf16")
    made = run(*train_words(phantom, tmp_path / "run"), "precision=bf16")
    assert_refused(made, "precision=bf16: this cpu does not compute bfloat16 itself", "--set precision=float32")
    assert contents(tmp_path / "run") == before


def test_a_study_does_not_go_on_in_another_precision(
    run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "study"
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr("ushape.study.runner.run_jobs", lambda *_: pytest.fail("started a run"))
    with pytest.raises(pytest.fail.Exception, match="started a run"):
        run(*compare_words(phantom, folder))
    assert read_yaml(folder / "study.yaml")["recipe"]["precision"] == "bf16"
    assert {read_yaml(f)["recipe"]["precision"] for f in folder.glob("*/*/run.yaml")} == {"bf16"}
    without_bf16(monkeypatch)
    assert_refused(run(*compare_words(phantom, folder)), "its recipe.precision is bf16, not float32")
    assert_refused(run("study", "resume", folder), "this cpu does not compute bfloat16 itself", "precision=float32")


@pytest.mark.parametrize(
    "words",
    [
        ["train", SPEC, "--data", "DATA", "--out", "OUT"],
        ["pretrain", SPEC, "--data", "DATA", "--out", "OUT"],
        ["lits", "phantom", "OUT"],
        ["lits", "train", "DATA", "--out", "OUT"],
        ["data", "phantom", "OUT"],
    ],
)
def test_a_seed_too_large_is_refused_by_every_command(run: Run, phantom: Path, tmp_path: Path, words: list[str]):
    at = {"DATA": phantom, "OUT": tmp_path / "out"}
    made = run(*(at.get(word, word) for word in words), "--seed", 300_000_000_000)
    assert made.code == 2
    assert "seed 300000000000" in made.err
    assert "2147483648" in made.err
    assert not (tmp_path / "out").exists()


def test_a_negative_seed_is_refused_before_anything_is_written(run: Run, phantom: Path, tmp_path: Path):
    made = run(*train_words(phantom, tmp_path / "run"), "--seed", "-1")
    assert made.code == 2
    assert "seed" in made.err
    assert not (tmp_path / "run").exists()


# -- compare and report ----------------------------------------------------------------------------------------------


def test_a_comparison_prints_a_table_and_the_difference_and_names_the_report(study: SimpleNamespace):
    lines = study.out.splitlines()
    assert [line for line in lines if line.startswith(f"{SPEC} ")]
    assert [line for line in lines if line.startswith(f"{OTHER} ")]
    assert all(name in study.out for name in CLASSES)
    told = rf"{re.escape(OTHER)}(: no difference to| beats| loses to| against) {re.escape(SPEC)}.* of pooled macro Dice"
    assert re.search(told, " ".join(lines))
    assert lines[-1] == f"report: {study.folder / 'report.html'}"
    assert "Traceback" not in study.err


def test_the_report_is_one_file_that_needs_no_other(study: SimpleNamespace):
    page = (study.folder / "report.html").read_text()
    assert page[:15].lower() == "<!doctype html>"
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert links
    assert [link[:60] for link in links if not link.startswith(("data:", "#"))] == []
    assert not re.findall(r"url\((?!['\"]?(?:data:|#))", page)
    assert "@import" not in page
    for name in ("PHAN-P1-0000", "residual", "bcss-5@1", "patient"):
        assert name in page.replace("<wbr>", "")


def test_all_of_a_comparison_is_on_disk(study: SimpleNamespace):
    results = json.loads((study.folder / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == [SPEC, OTHER]
    assert len(results["rois"]) == 6
    assert len(list(study.folder.glob("*/fold*-seed0/weights.safetensors"))) == 4
    assert not list(study.folder.rglob("state.safetensors"))
    assert not list(study.folder.rglob(".*"))


def test_the_report_can_be_written_again_from_the_runs(run: Run, study: SimpleNamespace, tmp_path: Path):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    before = json.loads((folder / "results.json").read_text())
    for name in ("report.html", "results.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "pictures")
    made = run("report", folder)
    assert made.code == 0
    after = json.loads((folder / "results.json").read_text())
    assert {k: v for k, v in after.items() if k not in ("created", "command")} == {
        k: v for k, v in before.items() if k not in ("created", "command")
    }
    assert f"report: {folder / 'report.html'}" in made.out
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_finished_comparison_is_not_run_again(
    run: Run, study: SimpleNamespace, phantom: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started a run again"))
    before = {p: b for p, b in contents(study.folder).items() if "fold" in p}
    assert run(*compare_words(phantom, study.folder)).code == 0
    assert {p: b for p, b in contents(study.folder).items() if "fold" in p} == before


def test_a_reports_tolerance_stays_until_another_is_given(run: Run, study: SimpleNamespace, tmp_path: Path):
    copy = Path(shutil.copytree(study.folder, tmp_path / "study"))

    def tolerance() -> float:
        arm = json.loads((copy / "results.json").read_text())["arms"][0]
        return float(arm["measures"]["surface_dice"]["tolerance_um"])

    assert tolerance() == 10
    assert run("report", copy, "--tolerance", 5).code == 0
    assert tolerance() == 5
    assert run("report", copy, "--format", "csv").code == 0
    assert tolerance() == 5


def test_a_study_is_no_network(run: Run, study: SimpleNamespace, phantom: Path):
    arm = next(each for each in study.folder.iterdir() if each.name.startswith("unet"))
    for folder in (study.folder, arm):
        assert_refused(run("evaluate", folder, "--data", phantom), f"{folder}: is a study", "one of its runs")
    assert run("evaluate", arm / "fold1-seed0", "--data", phantom, "--threads", 1).code == 0


def test_more_threads_than_shards_are_refused(run: Run, phantom: Path, tmp_path: Path):
    for words in (
        train_words(phantom, tmp_path / "run"),
        ["pretrain", SPEC, "--data", phantom, "--out", tmp_path / "p"],
    ):
        words = [*(w for w in words if w not in ("--threads", "1")), "--threads", 5]
        assert_refused(run(*words), "--threads 5", "takes 2 at most" if words[0] == "train" else "takes 4 at most")
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_study_is_refused_and_nothing_lost(run: Run, study: SimpleNamespace, phantom: Path):
    before = contents(study.folder)
    words = compare_words(phantom, study.folder)
    assert_refused(run(*words, "--seeds", 2), "belongs to another study", "seeds", "--out")
    assert_refused(run(*words, "--set", "rate=0.1"), "belongs to another study", "recipe", "--out")
    words[2] = "unet[width=4,levels=3]+dense"
    assert_refused(run(*words), "belongs to another study", "arms", "--out")
    assert contents(study.folder) == before


@pytest.mark.parametrize("specs", [[SPEC], [SPEC, SPEC], [SPEC, OTHER, "unet[levels=3,width=4]"]])
def test_a_comparison_needs_two_different_specs(run: Run, phantom: Path, tmp_path: Path, specs: list[str]):
    made = run("compare", *specs, "--data", phantom, "--out", tmp_path / "study")
    assert_refused(made, "at least two" if len(specs) == 1 else "given twice")
    assert not (tmp_path / "study").exists()


def test_a_report_of_no_study_is_refused(run: Run, tmp_path: Path):
    assert_refused(run("report", tmp_path), "ushape compare")
    assert_refused(run("report", tmp_path / "nowhere"), "ushape compare")
    for wrong in ("inf", "nan", 0):
        assert_refused(run("report", tmp_path, "--tolerance", wrong), f"--tolerance {wrong}: give µm above 0")


def test_a_dry_run_refuses_what_the_study_would(run: Run, phantom: Path, tmp_path: Path):
    words = ["ablate", SPEC, "--mods", "residual", "se", "--dry-run", "--folds", "2", "--set", "crop=48"]
    words += ["--out", tmp_path / "study", "--data"]
    assert_refused(run(*words, phantom, "--folds", "100"), "100 folds")
    assert_refused(run("ablate", SPEC, "--mods", "se+aspp", "residual", *words[5:], phantom), "'se+aspp' is 2 changes")
    assert run(*words, phantom).code == 0
    matched = run(*words, phantom, "--match", "params").out.splitlines()
    assert matched[0].startswith(f"{SPEC}  (nothing on)")
    assert "widths=" in matched[1]  # as it would be trained
    assert "residual" in matched[1]
    assert_refused(run(*words, phantom, "--margin", "nan"), "--margin nan: give points above 0 and below 100")
    assert_refused(run(*words, tmp_path / "gone"), "gone: no such folder")


@pytest.mark.parametrize(
    ("function", "words", "kept"),
    [
        ("predict.evaluate", ["evaluate", "x", "--data", "y"], False),
        ("predict.export", ["export", "x", "--format", "onnx", "--out", "y"], False),
        ("measure.measure", ["measure", "x"], False),
        ("lits.score", ["lits", "score", "x", "--data", "y"], False),
        ("predict.predict", ["predict", "x", "y"], True),
        ("train.train", ["train", SPEC, "--data", "x", "--out", "y"], True),
        ("lits.predict", ["lits", "predict", "x", "y", "--out", "z"], True),
        ("reproduce.degradation", ["reproduce", "degradation", "--out", "x"], True),
    ],
)
def test_what_an_interrupt_leaves_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, function: str, words: list[str], kept: bool
):
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"ushape.commands.{function}", interrupted)
    made = run(*words)
    assert made.code == 130
    told = "; what was done is kept: the same command goes on from there" if kept else ""
    assert made.err == f"ushape: interrupted{told}\n"


def test_a_report_of_an_unfinished_study_is_refused(run: Run, study: SimpleNamespace, tmp_path: Path):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    next(folder.glob("*/fold1-seed0/rois.json")).unlink()
    page = (folder / "report.html").read_bytes()
    assert_refused(run("report", folder), "not finished", "run `ushape study resume`")
    assert (folder / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [("log.csv", b"ste", "damaged"), ("log.csv", b"step,loss\n\xff,1\n", "damaged"), ("rois.json", b"{}", "damaged")],
)
def test_what_is_damaged_in_a_study_is_named_with_the_remedy(
    run: Run, study: SimpleNamespace, tmp_path: Path, file: str, content: bytes, told: str
):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    path = next(folder.glob(f"*/fold1-seed0/{file}"))
    path.write_bytes(content)
    assert_refused(run("report", folder), f"{path}", told, "remove")
    assert run("study", "status", folder).code == 0


@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_predictions_that_pictures_need_are_named_with_the_remedy(
    run: Run, study: SimpleNamespace, tmp_path: Path, how: str
):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    for path in folder.glob("*/fold*/predictions/*.png"):
        path.unlink() if how == "missing" else os.truncate(path, 100)
    for path in folder.glob("*/fold*/maps.json"):
        path.unlink()
    assert_refused(run("report", folder), ".png", "remove", "resume")


def test_a_study_of_words_for_numbers_is_told(run: Run, study: SimpleNamespace, tmp_path: Path):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text().replace("seeds: 1", "seeds: abc"))
    for command in ("status", "resume"):
        assert_refused(run("study", command, folder), "study.yaml")


# -- what a result may not replace, and networks that cannot be right ------------------------------------------------


def test_no_result_replaces_what_it_is_made_from(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    weights = copy / "weights.safetensors"
    before = contents(copy)
    assert_refused(run("export", copy, "--format", "safetensors", "--out", weights), "are the weights themselves")
    for target in (weights, mask_of(phantom), copy, tmp_path / "run" / "predictions"):
        assert_refused(run("evaluate", copy, "--data", phantom, "--json", target), f"{target}: is", "name")
    assert contents(copy) == before


@pytest.mark.parametrize("command", ["data check", "train", "evaluate", "compare"])
def test_a_pixel_size_that_all_names_give_is_not_given_again(
    run: Run, trained: Path, phantom: Path, tmp_path: Path, command: str
):
    words = {
        "data check": ["data", "check", phantom],
        "train": train_words(phantom, tmp_path / "run"),
        "evaluate": ["evaluate", trained, "--data", phantom],
        "compare": compare_words(phantom, tmp_path / "study"),
    }[command]
    assert_refused(run(*words, "--mpp", 5), "--mpp 5 has no effect", "leave it out")
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_svg_and_goes_to_a_file(run: Run, tmp_path: Path):
    assert_refused(run("draw", SPEC, "--out", tmp_path), "is a folder: name a file in it")
    assert_refused(run("draw", SPEC, "--out", tmp_path / "net.png"), "end the name in .svg")
    assert run("draw", SPEC, "--out", tmp_path / "net.svg").code == 0


@pytest.mark.parametrize("words", [["train", SPEC, "--data", ".", "--out", ""], ["evaluate", "", "--data", "."]])
def test_an_empty_path_is_no_folder(run: Run, words: list[str]):
    made = run(*words)
    assert made.code == 2
    assert "is empty: name a file or a folder" in made.err


def test_a_path_that_no_disk_takes_is_told(run: Run, phantom: Path, tmp_path: Path):
    assert_refused(run(*train_words(phantom, tmp_path / ("a" * 300))), "File name too long: choose a shorter name")


def test_more_memory_than_there_is_is_told(run: Run, tmp_path: Path):
    assert_refused(run("data", "phantom", tmp_path / "huge", "--size", 10_000_000), "more memory than there is")


def spoil_weights(run: Path, **about: Any) -> Path:
    """The run with another description, and a value that is no number where none is given."""
    network = load_weights(run)
    if not about:
        with torch.no_grad():
            next(iter(network.net.parameters())).view(-1)[0] = torch.nan
    save_weights(run / "weights.safetensors", network.net, network.about | about)
    return run


def test_a_network_that_is_not_finite_is_refused_by_all_that_would_use_it(
    run: Run, trained: Path, phantom: Path, tmp_path: Path
):
    spoilt, image = spoil_weights(Path(shutil.copytree(trained, tmp_path / "run"))), image_of(phantom)
    for words in (
        ["evaluate", spoilt, "--data", phantom],
        ["predict", spoilt, image, "--out", tmp_path / "labels", *TORCH],
        ["export", spoilt, "--format", "torch", "--out", tmp_path / "net.pt2"],
    ):
        assert_refused(run(*words), "weights.safetensors", "not finite: train it again")


@pytest.mark.parametrize(
    "about",
    [{"mpp": None}, {"mpp": -1.0}, {"mpp": float("nan")}, {"grouping": {}}, {"guided": None}, {"trained_on": 1}],
)
def test_a_description_that_cannot_be_is_refused(
    run: Run, trained: Path, phantom: Path, tmp_path: Path, about: dict[str, Any]
):
    spoilt = spoil_weights(Path(shutil.copytree(trained, tmp_path / "run")), **about)
    (key,) = about
    assert_refused(run("evaluate", spoilt, "--data", phantom), f"its {key} is", "save it again")
    made = run("predict", spoilt, image_of(phantom), "--out", tmp_path / "labels", *TORCH)
    assert_refused(made, f"its {key} is", "save it again")


# -- evaluate and predict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [".", "weights.safetensors"])
def test_evaluation_writes_the_scores_of_the_issue(run: Run, trained: Path, phantom: Path, tmp_path: Path, given: str):
    made = run("evaluate", trained / given, "--data", phantom, "--tta", "none", "--json", tmp_path / "s.json",
               "--threads", 1)  # fmt: skip
    assert made.code == 0
    assert "note: 4 of these patients were in the network's training or validation set" in made.out
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["grouping"] == "bcss-5@1"
    assert isinstance(written["pooled"]["macro_dice"], float)
    assert 0 <= written["pooled"]["accuracy"] <= 1
    assert list(written["pooled"]["dice"]) == CLASSES
    each = written["rois"]
    assert sorted(each) == sorted(p.stem for p in (phantom / "masks").iterdir())
    for roi in each.values():
        assert list(roi["dice"]) == CLASSES
        assert {"macro_dice", "accuracy"} < set(roi)
    for key in ("macro_dice", "accuracy"):
        assert written["per_roi"][key] == pytest.approx(np.mean([roi[key] for roi in each.values()]), abs=1e-5)


def test_evaluation_of_a_run_agrees_with_its_own_scores(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    run("evaluate", trained, "--data", phantom, "--json", tmp_path / "s.json", "--threads", 1)
    each = json.loads((tmp_path / "s.json").read_text())["rois"]
    for name, entry in json.loads((trained / "rois.json").read_text()).items():
        own = scores(np.array(entry["confusion"]), CLASSES)
        assert each[name]["accuracy"] == own["accuracy"]
        assert each[name]["dice"] == own["dice"]


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_the_augmentation_asked_for_is_the_one_that_is_used(
    run: Run, trained: Path, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    seen: list[View] = []
    for module in (engine, engines.base):
        monkeypatch.setattr(module, "turn", lambda x, view, *more: seen.append(view) or turn(x, view, *more))
    words = {
        "evaluate": ["evaluate", trained, "--data", phantom, "--threads", 1],
        "predict": ["predict", trained, image_of(phantom), "--out", tmp_path / "out", "--tissue", "all", *TORCH],
    }[command]
    assert run(*words, "--tta", "d4").code == 0
    assert set(seen) == set(TTA["d4"])


def test_weights_saved_by_hand_are_evaluated(run: Run, phantom: Path, tmp_path: Path):
    """With what docs/export.md has `about` say, which is less than a run does."""
    about = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": "stain", "tta": "none"}
    save_weights(tmp_path / "weights.safetensors", build("unet[width=4,levels=3]", seed=0), about)
    made = run("evaluate", tmp_path, "--data", phantom, "--json", tmp_path / "s.json", "--threads", 1)
    assert made.code == 0, made.err
    assert f"note: {tmp_path} does not say on which patients it was trained" in made.out
    assert json.loads((tmp_path / "s.json").read_text())["networks"][0]["seed"] is None
    made = run("robustness", tmp_path, "--data", phantom, "--out", tmp_path / "out")
    assert_refused(made, f"{tmp_path}: does not say on which patients it was trained")


def test_coarse_images_are_noted_and_far_too_coarse_ones_refused(run: Run, trained: Path, data: Path):
    for folder in data.iterdir():
        for path in folder.glob("*.png"):
            path.rename(path.with_name(re.sub(r"_MPP-[\d.]+", "_MPP-2.5000", path.stem) + ".png"))
    made = run("evaluate", trained, "--data", data, "--threads", 1)
    assert made.code == 0, made.err
    assert made.out.count("are enlarged 2.1 times to 1.2 µm") == 3
    assert "note: 3 more images are enlarged as far" in made.out
    first = image_of(data)
    for path in (first, data / "masks" / first.name):
        path.rename(path.with_name(path.name.replace("MPP-2.5000", "MPP-5.0000")))
    assert_refused(run("evaluate", trained, "--data", data), "its pixels of 5 µm hold nothing", "true pixel size")


def test_an_export_does_not_replace_another_run(run: Run, trained: Path, tmp_path: Path):
    other = Path(shutil.copytree(trained, tmp_path / "other")) / "weights.safetensors"
    before = other.read_bytes()
    made = run("export", trained, "--format", "safetensors", "--out", other)
    assert_refused(made, f"{other}: belongs to another run")
    assert other.read_bytes() == before


def test_a_student_says_who_teaches_it(run: Run, phantom: Path, tmp_path: Path):
    assert run(*train_words(phantom, tmp_path / "teacher")).code == 0
    words = [*train_words(phantom, tmp_path / "student"), "--set", f"teacher={tmp_path / 'teacher'}"]
    made = run(*words)
    assert made.code == 0, made.err
    assert f"learns from 1 network of {tmp_path / 'teacher'}" in made.out
    assert run(*words).out.count("learns from") == 0  # it is done
    made = run("compare", SPEC, OTHER, "--data", phantom, "--out", tmp_path / "study", "--set", f"teacher={tmp_path}")
    assert_refused(made, "study: lies in the folder of teachers")
    assert not (tmp_path / "study").exists()
    inside = run(*train_words(phantom, tmp_path / "runs" / "one"), "--set", f"teacher={tmp_path}")
    assert_refused(inside, "one: lies in the folder of teachers")
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_scored_is_told_before_anything_is_predicted(
    run: Run, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "evaluate", lambda *_: pytest.fail("predicted"))
    last = sorted((data / "masks").iterdir())[-1]
    mask = np.asarray(Image.open(last)).copy()
    mask[0, 0] = 22
    Image.fromarray(mask).save(last)
    words = ["evaluate", trained, "--data", data, "--json", tmp_path / "s.json", "--threads", 1]
    assert_refused(run(*words), last.name, "code 22")
    for path in (data / "masks").iterdir():
        Image.fromarray(np.zeros_like(mask)).save(path)
    assert_refused(run(*words), "masks belongs to a class of bcss-5", "ignored")
    assert not (tmp_path / "s.json").exists()


def test_evaluation_of_what_is_no_network_is_refused(run: Run, phantom: Path, tmp_path: Path):
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    assert_refused(run("evaluate", tmp_path, "--data", phantom), "weights.safetensors", "damaged")
    assert_refused(run("evaluate", tmp_path / "gone", "--data", phantom), "train it first")


def test_predictions_are_folders_of_results(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    source = next((phantom / "rgbs_colorNormalized").iterdir())
    image = tmp_path / "tissue.tif"
    with Image.open(source) as opened:
        opened.crop((0, 0, 90, 61)).save(image)
    words = ["predict", trained, image, "--out", tmp_path / "out", "--mpp", 0.8, "--jobs", 1, *TORCH]
    made = run(*words)
    assert made.code == 0
    assert "unet[width=4,levels=3] at 1.2 µm per pixel in torch, float32" in made.out
    assert "note: predicts" not in made.out
    turned = run("predict", trained, image, "--out", tmp_path / "turned", "--mpp", 0.8, "--tta", "flips", *TORCH)
    assert "note: predicts with --tta flips; what `evaluate` and reports say of it is with none" in turned.out
    assert run("predict", trained, source, "--out", tmp_path / "out", "--jobs", 1, *TORCH).code == 0
    for name, size in (("tissue", (41, 60)), (source.stem, (96, 96))):  # .8 um to 1.2
        folder = tmp_path / "out" / name
        with tifffile.TiffFile(folder / "labels.ome.tiff") as file:
            labels = file.asarray()
            assert labels.shape == size
            assert set(np.unique(labels)) <= {*range(5), 255}
            colours = file.pages[0].colormap[:, :5].T // 257
        assert [tuple(colour) for colour in colours] == list(grouping("bcss-5").colours)
        about = json.loads((folder / "provenance.json").read_text())
        assert (about["settings"]["mpp"], about["settings"]["grouping"], about["settings"]["tta"]) == (
            1.2, "bcss-5@1", "none",
        )  # fmt: skip
        assert sum(c["share"] for c in about["composition"]["classes"].values()) == pytest.approx(1, abs=1e-5)
    assert "finished before: 1 slide (tissue.tif)" in run(*words).out


def test_a_prediction_is_that_of_the_run(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    name = next((trained / "predictions").iterdir()).name
    image = phantom / "rgbs_colorNormalized" / name
    assert run("predict", trained, image, "--out", tmp_path, "--jobs", 1, "--tissue", "all", *TORCH).code == 0
    ours = tifffile.imread(tmp_path / Path(name).stem / "labels.ome.tiff")
    with Image.open(trained / "predictions" / name) as theirs:
        assert (ours == np.asarray(theirs)).mean() > 0.98  # the run computed in bf16 where the CPU can


def test_images_that_cannot_be_predicted_are_refused(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    image = next((phantom / "rgbs_colorNormalized").iterdir())
    (tmp_path / "a").mkdir()
    for copy in ("a/nameless.png", "nameless.png", "a/cut_MPP-1.2000.png"):
        shutil.copy(image, tmp_path / copy)
    os.truncate(tmp_path / "a/cut_MPP-1.2000.png", 2000)
    out = tmp_path / "out"
    assert_refused(run("predict", trained, tmp_path / "nameless.png", "--out", out, *TORCH), "--mpp")
    twice = run(
        "predict", trained, tmp_path / "nameless.png", tmp_path / "a/nameless.png", "--out", out, "--mpp", 1, *TORCH
    )
    assert_refused(twice, "overwrite", "rename")
    assert_refused(
        run("predict", trained, tmp_path / "a/cut_MPP-1.2000.png", "--out", out, *TORCH), "truncated or damaged"
    )
    assert_refused(run("predict", trained, tmp_path / "gone_MPP-1.0.png", "--out", out, *TORCH), "gone_MPP-1.0.png")
    assert_refused(run("predict", tmp_path, image, "--out", out), "train it first")
    both = run("predict", trained, image, "--out", out, "--tissue", "all", "--saturation", 0.1, *TORCH)
    assert_refused(both, "--saturation has no effect with --tissue all")
    assert_refused(run("predict", trained, image, "--out", out, "--saturation", 5, *TORCH), "from 0 to 1")
    assert not (out / image.stem).exists()  # nothing that the corrected command would stumble over
    for wrong in ("nan", "inf", "-5"):
        refused = run("predict", trained, image, "--out", out, "--tolerance", wrong, *TORCH)
        assert refused.code == 2
        assert f"--tolerance: {wrong}: give a number of 0 or more" in refused.err
    assert_refused(run("predict", trained, image, "--out", out, "--tile", 100, *TORCH), "--tile 100", "multiples of 16")
    assert_refused(run("predict", trained, image, "--out", out, "--classes", "tumour"), "did you mean 'tumor'")
    assert_refused(run("predict", trained, "--out", out), "no slide is named after the network")
    no_int8 = run("predict", trained, image, "--out", out, "--engine", "torch", "--calibrate", tmp_path / "gone")
    assert_refused(no_int8, "images to calibrate on have no effect with precision auto and engine torch")
    far = run("predict", trained, tmp_path / "nameless.png", "--out", out, "--mpp", 5, *TORCH)
    assert_refused(far, "nameless.png", "pixels of 5 µm hold nothing", "finer scan")
    other = tmp_path / "membranes.safetensors"
    save_weights(other, build("unet[width=2,levels=2]", classes=2), {"seconds": 1.0})
    for words in (["predict", other, image, "--out", out], ["evaluate", other, "--data", phantom], ["export", other]):
        words += ["--format", "torch", "--out", tmp_path / "a.pt2"] if words[0] == "export" else []
        assert_refused(run(*words), "membranes.safetensors: holds no network of tissue classes")
    assert_refused(run("predict", "bcss-dmo", image, "--out", out), "shipped: ", "did you mean 'bcss-demo'")
    assert not out.exists()


def test_names_of_files_are_printed_as_they_are(run: Run, trained: Path, phantom: Path, tmp_path: Path):
    folder = tmp_path / "bb[batch1]:warning:"
    folder.mkdir()
    source = next((phantom / "rgbs_colorNormalized").iterdir())
    with Image.open(source) as image:
        image.resize((64, 64)).save(folder / "img[b]_MPP-3.0.png")
    made = run("predict", trained, folder, "--out", tmp_path / "[out]", "--jobs", 1, *TORCH)
    assert made.code == 0, made.err
    assert f"note: {folder}/img[b]_MPP-3.0.png: its pixels of 3 µm are enlarged 2.5 times" in made.out
    assert f"({tmp_path}/[out])" in made.out
    assert "unet[width=4,levels=3]" in run("cost", SPEC, "--no-time").out


def test_a_shipped_network_predicts_by_name(run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    image = next((phantom / "rgbs_colorNormalized").iterdir())
    monkeypatch.chdir(tmp_path)
    made = run("predict", "--weights", "bcss-demo", image, *TORCH)
    assert made.code == 0, made.err
    assert (tmp_path / "predictions" / image.stem / "labels.ome.tiff").exists()
    there = json.loads((tmp_path / "predictions" / image.stem / "provenance.json").read_text())
    assert there["settings"]["network"] == hashlib.sha256(weights_file(Path("bcss-demo")).read_bytes()).hexdigest()


def test_a_network_is_exported_and_what_was_asked_wrongly_is_refused(run: Run, trained: Path, tmp_path: Path):
    made = run("export", trained, "--format", "safetensors", "--out", tmp_path / "half.safetensors")
    assert made.code == 0
    assert "float16, for 1.2 µm per pixel" in made.out
    assert "of pixels have the class that PyTorch gives them in float32" in made.out
    both = [(tmp_path / "half.safetensors").stat().st_size, (trained / "weights.safetensors").stat().st_size]
    assert both[0] < 0.7 * both[1]
    for words, said in (
        (["--format", "torch", "--out", tmp_path / "net.onnx"], "ends with .pt2"),
        (["--format", "torch", "--out", tmp_path / "a.pt2", "--int8"], "int8 has no effect with --format torch"),
        (["--format", "torch", "--out", tmp_path / "a.pt2", "--calibrate", tmp_path], "have no effect without --int8"),
        (["--format", "onnx", "--out", tmp_path / "a.onnx", "--int8", "--mpp", 1], "of the images of --calibrate"),
        (["--format", "safetensors", "--out", tmp_path / "a.safetensors", "--stain", "given"], "has no effect"),
    ):
        assert_refused(run("export", trained, *words), said)
    assert [p.name for p in tmp_path.iterdir()] == ["half.safetensors"]


def test_modifications_are_listed_with_axis_and_source(run: Run):
    rows = json.loads(run("mods", "--json").out)
    assert {"residual", "dense", "attention-gate", "aspp", "se", "deep-supervision"} <= {row["name"] for row in rows}
    assert all(row["paper"] and row["changes"] for row in rows)
    assert {row["axis"] for row in json.loads(run("mods", "--axis", "skip", "--json").out)} == {"skip"}
    assert_refused(run("mods", "--axis", "skips"), "axes: stem")
    table = run("mods")
    assert table.code == 0
    assert "attention-gate" in table.out


# -- bad input: the issue's list -------------------------------------------------------------------------------------


def change(path: Path, function: Callable[[np.ndarray], np.ndarray]) -> None:
    with Image.open(path) as image:
        array = np.array(image)
    Image.fromarray(function(array)).save(path)


def mask_of(data: Path, number: int = 0) -> Path:
    return sorted((data / "masks").iterdir())[number]


def image_of(data: Path, number: int = 0) -> Path:
    return sorted((data / "rgbs_colorNormalized").iterdir())[number]


def empty(data: Path) -> None:
    shutil.rmtree(data)
    data.mkdir()


def no_images(data: Path) -> None:
    for path in (data / "rgbs_colorNormalized").iterdir():
        path.unlink()


def small(data: Path) -> None:
    for path in (image_of(data), mask_of(data)):
        change(path, lambda a: a[:40, :70])


def link_to_nothing(data: Path) -> None:
    path = image_of(data)
    path.unlink()
    path.symlink_to(data / "gone.png")


def code_97(codes: np.ndarray) -> np.ndarray:
    codes[5, 7] = 97
    return codes


SPOILT: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no such folder": (shutil.rmtree, ["no such folder"]),
    "empty folder": (empty, ["holds no folder of images", "expected rgbs_colorNormalized/"]),
    "no images": (no_images, ["holds no image"]),
    "image without mask": (lambda d: mask_of(d).unlink(), ["has no mask", "add it, or move the image away"]),
    "code 97": (lambda d: change(mask_of(d), code_97), ["code 97 at x=7, y=5", "relabel it, or set it to 0"]),
    "truncated image": (lambda d: os.truncate(image_of(d), 3000), ["truncated or damaged", "write it again"]),
    "truncated mask": (lambda d: os.truncate(mask_of(d), 300), ["truncated or damaged", "write it again"]),
    "16-bit mask": (lambda d: change(mask_of(d), lambda a: a.astype(np.uint16)), ["16-bit", "convert it"]),
    "other sizes": (lambda d: change(mask_of(d), lambda a: a[:90]), ["96 x 90", "96 x 96"]),
    "smaller than a crop": (small, ["70 x 40 px", "crop of 48", "set crop=32 or less"]),
    "a link to nothing": (link_to_nothing, ["is a link to a file that is not there"]),
    "no patient": (
        lambda d: [p.rename(p.with_name(f"_{p.name}")) for p in (image_of(d), mask_of(d))],
        ["begins with no patient"],
    ),
    "all ignored": (
        lambda d: [change(p, lambda a: a * 0) for p in (d / "masks").iterdir()],
        ["ignored", "check the masks"],
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_training_on_spoilt_data_is_refused_and_the_repaired_data_go_on(
    run: Run, data: Path, phantom: Path, tmp_path: Path, how: str
):
    spoil, remedy = SPOILT[how]
    spoil(data)
    assert_refused(run(*train_words(data, tmp_path / "run")), *remedy)
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(phantom, data)
    assert run(*train_words(data, tmp_path / "run")).code == 0


class InProcess:
    """Stands for `subprocess.Popen`: does in this process what `python -m ushape.train.run FOLDER` would."""

    def __init__(self, command: list[str], stderr: Any = None, **_: object) -> None:
        from ushape.train import run as module

        told = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(told):
            patch.setattr(sys, "argv", command[2:])
            patch.setattr("ushape.interrupts.stop_with_parent", lambda: None)
            try:
                module.main()
                self.returncode = 0
            except SystemExit as stop:
                self.returncode = int(stop.code or 0)
        self.pid = os.getpid()
        if hasattr(stderr, "write"):
            stderr.write(told.getvalue().encode())
            stderr.flush()

    def poll(self) -> int:
        return self.returncode


def train_here(patch: pytest.MonkeyPatch) -> None:
    """Runs of studies are trained in this process."""
    import matplotlib.font_manager  # noqa: F401  once on a machine it starts a process that lists fonts

    patch.setattr("ushape.study.pool.subprocess.Popen", InProcess)
    patch.setattr("ushape.study.pool.time.sleep", lambda _: None)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    train_here(monkeypatch)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("how", SPOILT)
def test_comparing_on_spoilt_data_is_refused(run: Run, data: Path, tmp_path: Path, how: str):
    spoil, remedy = SPOILT[how]
    spoil(data)
    assert_refused(run(*compare_words(data, tmp_path / "study")), *remedy)
    assert not list(tmp_path.glob("study/*/*/weights.safetensors"))


@pytest.mark.parametrize("how", ["empty folder", "image without mask", "code 97", "truncated image", "16-bit mask"])
def test_evaluating_on_spoilt_data_is_refused(run: Run, trained: Path, data: Path, tmp_path: Path, how: str):
    spoil, remedy = SPOILT[how]
    spoil(data)
    made = run("evaluate", trained, "--data", data, "--json", tmp_path / "s.json", "--threads", 1)
    assert_refused(made, *remedy)
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("unet+residul", ["unknown modification 'residul'", "did you mean 'residual'"]),
        ("unet+residual+dense", ["'residual' and 'dense'", "axis block", "keep one"]),
        ("unnet", ["did you mean 'unet'"]),
        ("unet[widht=4]", ["unknown key 'widht'", "did you mean 'width'"]),
        ("unet[width=4", ["never closed"]),
        ("", ["write name"]),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused(
    run: Run, phantom: Path, tmp_path: Path, command: str, spec: str, remedy: list[str]
):
    out = tmp_path / "out"
    made = run(command, *([SPEC] if command == "compare" else []), spec, "--data", phantom, "--out", out)
    assert_refused(made, *remedy)
    assert not out.exists()


@pytest.mark.usefixtures("in_process")
def test_a_class_that_training_patients_lack_in_a_fold_is_refused(run: Run, data: Path, tmp_path: Path):
    for path in sorted((data / "masks").iterdir())[1:]:
        change(path, lambda codes: np.where(codes == 4, 2, codes).astype(np.uint8))
    remedy = ["no training patient has a pixel of necrosis", "use more folds", "grouping without it"]
    assert_refused(run(*compare_words(data, tmp_path / "study")), *remedy)
    assert_refused(run(*train_words(data, tmp_path / "run"), *LOOKS, "--fold", "1/2"), *remedy)
    assert not (tmp_path / "study").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_the_remedy_for_a_small_image_works_in_the_same_folder(run: Run, data: Path, tmp_path: Path, command: str):
    small(data)
    words = (train_words if command == "train" else compare_words)(data, tmp_path / "out")
    assert_refused(run(*words), "set crop=32 or less")
    changed = [word.replace("crop=48", "crop=32") for word in words]
    made = run(*changed)
    assert made.code == 0, made.err


@pytest.mark.usefixtures("in_process")
def test_a_loss_that_turns_nan_in_a_study_is_told_with_its_step(
    run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    compute, counted = loop.segmentation_loss, [0]

    def spoilt(*given: Any) -> Any:
        counted[0] += 1
        return compute(*given) * (float("nan") if counted[0] == 5 else 1)  # step 3 of the first run

    with monkeypatch.context() as patch:
        patch.setattr(loop, "segmentation_loss", spoilt)
        made = run(*compare_words(phantom, tmp_path / "study"))
    assert_refused(made, "1 of 4 runs failed", "at step 3", "lower rate")
    assert len(list(tmp_path.glob("study/*/*/rois.json"))) == 3
    assert len(list(tmp_path.glob("study/*/*/state.safetensors"))) == 1
    assert run(*compare_words(phantom, tmp_path / "study")).code == 0


@pytest.mark.parametrize("name", ["thesis", "file"])
def test_an_output_folder_that_is_not_ours_is_refused_and_untouched(run: Run, phantom: Path, tmp_path: Path, name: str):
    out = tmp_path / name
    if name == "file":
        out.write_text("years of work")
    else:
        out.mkdir()
        (out / "chapter.tex").write_text("years of work")
    for words in (train_words(phantom, out), compare_words(phantom, out)):
        assert_refused(run(*words), "choose another --out")
    kept = out if name == "file" else out / "chapter.tex"
    assert kept.read_text() == "years of work"
    assert list(tmp_path.iterdir()) == [out]


def test_scores_that_find_no_room_leave_what_was_there(run: Run, trained: Path, phantom: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    (tmp_path / "s.json").write_text("before")
    write = Path.write_text

    def full(self: Path, text: str, **more: Any) -> int:
        write(self, text[:10], **more)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    made = run("evaluate", trained, "--data", phantom, "--json", tmp_path / "s.json", "--threads", 1)
    assert_refused(made, "No space left on device", "free some space")
    assert (tmp_path / "s.json").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_cache_that_finds_no_room_is_told(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(np, "save", full)
    made = run(*train_words(data, tmp_path / "run"))
    assert_refused(made, "cannot write", str(tmp_path / "cache"), "free some space")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_report_that_finds_no_room_leaves_the_old_one(
    run: Run, study: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    page = (folder / "report.html").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ushape.files.os.replace", full)
    made = run("report", folder)
    assert made.code == 2
    assert len(made.err.splitlines()) == 1
    assert (folder / "report.html").read_bytes() == page


@pytest.mark.parametrize("words", [["--set", "stpes=3"], ["--set", "rate=-1"], ["--set", "rate"], ["--steps", "0"],
                                   ["--recipe", "gone.yaml"]])  # fmt: skip
def test_a_recipe_that_cannot_be_used_is_refused_before_anything_is_written(
    run: Run, phantom: Path, tmp_path: Path, words: list[str]
):
    out = tmp_path / "out"
    assert_refused(run("train", SPEC, "--data", phantom, "--out", out, *words))
    assert_refused(run("compare", SPEC, OTHER, "--data", phantom, "--out", out, *words))
    assert not out.exists()


@pytest.mark.parametrize(
    ("device", "told"), [("cuda:7", "cannot be used here"), ("xla:7", "is none of auto, cpu"), ("meta", "is none of")]
)
def test_a_device_that_is_not_there_is_refused(run: Run, phantom: Path, tmp_path: Path, device: str, told: str):
    made = run(*train_words(phantom, tmp_path / "run"), "--device", device)
    assert_refused(made, f"device '{device}' {told}")
    assert len(made.err) < 300
    assert not (tmp_path / "run").exists()


def test_a_reader_that_goes_away_is_no_error(phantom: Path):
    line = f"{sys.executable} -m ushape mods | true"
    made = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert "Traceback" not in made.stderr
    assert "BrokenPipe" not in made.stderr


# -- real tissue -----------------------------------------------------------------------------------------------------


def test_real_tissue_is_checked_trained_on_and_evaluated(run: Run, real_data: Path, tmp_path: Path):
    seed10 = real_data / "bcss-seed10"
    if not seed10.is_dir():
        pytest.skip(f"no real data: {seed10} does not exist")
    for part in ("rgbs_colorNormalized", "masks"):
        for number, path in enumerate(sorted((seed10 / part).iterdir())[:3]):
            folder = tmp_path / ("train" if number else "test") / part
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    checked = run("data", "check", tmp_path / "train")
    assert checked.code == 0, checked.out
    assert "2 ROIs of 2 patients" in checked.out
    made = run(*train_words(tmp_path / "train", tmp_path / "run"), "--set", "mpp=4")
    assert made.code == 0, made.err
    scored = run("evaluate", tmp_path / "run", "--data", tmp_path / "test", "--json", tmp_path / "s.json")
    assert scored.code == 0, scored.err
    assert "note:" not in scored.out
    assert 0 < json.loads((tmp_path / "s.json").read_text())["pooled"]["accuracy"] < 1


# -- modifications of a user's own -----------------------------------------------------------------------------------

SCALED = """
import ushape
from torch import nn

@ushape.modification(axis="attention", name="scaled", summary="features are scaled", source="a test", by=0.5)
class Scaled(nn.Module):
    def __init__(self, channels, style, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x * self.by
"""


@pytest.fixture
def forgotten() -> Iterator[Callable[[], None]]:
    """Calling it forgets the plugins that were loaded, as a new process would."""
    before, loaded = modifications(), dict(plugin._loaded)

    def forget() -> None:
        registry.forget(each for each in modifications() if each not in before)
        plugin._loaded.clear()
        plugin._loaded.update(loaded)

    yield forget
    forget()


def test_a_plugin_goes_through_a_study(
    run: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Callable[[], None]
):
    """The modification reaches the processes of the runs, and only with --plugin."""
    monkeypatch.chdir(tmp_path)
    Path("scaled.py").write_text(SCALED)
    with_plugin = ["--plugin", "scaled.py"]
    words = ["compare", SPEC, f"{SPEC}+scaled", "--data", phantom, "--out", "study", "--folds", "2"]
    words += ["--steps", "2", *SETTINGS]
    assert_refused(run(*words), "--plugin")
    scaled = Path("study/unet-width-4-levels-3+scaled/fold1-seed0")
    with monkeypatch.context() as patch:
        patch.setattr("ushape.study.pool.subprocess.Popen", Where(scaled.parent.name))
        made = run(*words, *with_plugin)
    assert made.code == 0, made.err
    assert Path("study/plugins/scaled.py").read_text() == SCALED
    assert "--plugin study/plugins/scaled.py" in json.loads(Path("study/results.json").read_text())["command"]

    forgotten()
    image = next((phantom / "rgbs_colorNormalized").iterdir())
    assert_refused(run("predict", scaled, image, "--out", "labels", *TORCH), "--plugin")
    assert run("predict", scaled, image, "--out", "labels", *TORCH, *with_plugin).code == 0

    forgotten()
    (scaled / "rois.json").unlink()
    with monkeypatch.context() as patch:
        train_here(patch)
        resumed = run("study", "resume", "study")  # by the copy in the study's folder
    assert resumed.code == 0, resumed.err
    assert (scaled / "rois.json").exists()

    forgotten()
    Path("scaled.py").write_text(SCALED.replace("x * self.by", "x + self.by"))
    assert_refused(run(*words, *with_plugin), "plugins.scaled.py")
    changed = run("evaluate", scaled, "--data", phantom, *with_plugin)
    assert_refused(changed, "was made with scaled.py as it was then", "plugins/")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("super().__init__()", "raise ValueError('no luck')", "line 8: ValueError: no luck"),
        ("super().__init__()", "raise SystemExit(3)", "line 8: SystemExit: 3"),
        ("channels, style, by", "channels", "TypeError: "),
        ("return x * self.by", "return None", "Error: "),
        ("return x * self.by", "return x[:, :1]", "Error: "),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line_before_anything_is_written(
    run: Run, phantom: Path, tmp_path: Path, forgotten: Callable[[], None], old: str, new: str, told: str
):
    file = tmp_path / "failing.py"
    file.write_text(SCALED.replace(old, new))
    assert SCALED.count(old) == 1
    made = run(*train_words(phantom, tmp_path / "run", f"{SPEC}+scaled"), "--plugin", file)
    assert_refused(made, f"plugin {file}", told)
    assert not (tmp_path / "run").exists()


def test_a_plugin_that_drops_by_torchs_own_generator_is_refused(
    run: Run, phantom: Path, tmp_path: Path, forgotten: Callable[[], None]
):
    file = tmp_path / "dropping.py"
    text = SCALED.replace("self.by = by", "self.by = by\n        self.drop = nn.Dropout2d(0.1)")
    file.write_text(text.replace("return x * self.by", "return self.drop(x) * self.by"))
    made = run(*train_words(phantom, tmp_path / "run", f"{SPEC}+scaled"), "--plugin", file)
    assert_refused(made, "draws by torch's own generator", "use ushape.nets.parts.plain.Dropout")
    assert not (tmp_path / "run").exists()


class Where:
    """Stands for `subprocess.Popen`: a process for runs of the arm, and this one for the others."""

    def __init__(self, arm: str) -> None:
        self.arm, self.popen = arm, subprocess.Popen

    def __call__(self, command: list[str], **more: Any) -> Any:
        return self.popen(command, **more) if self.arm in command[3] else InProcess(command, **more)


def test_nets(run: Run):
    rows = json.loads(run("nets", "--json").out)
    assert {"name", "spec", "params", "flops", "paper", "year"} <= set(rows[0])
    (oldest,) = [row for row in rows if row["name"] == "unet-2015"]
    assert (oldest["params"], oldest["year"]) == (31_030_658, 2015)
    assert "attention-unet" in run("nets").out
