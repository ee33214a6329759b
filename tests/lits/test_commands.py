"""`ushape lits` from end to end, in this process."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ushape.cli import main
from ushape.lits.recipe import Recipe


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    kept = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, kept)


def _ushape(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["lits", *map(str, words)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_from_a_phantom_to_scores(tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    data, prepared, run, labels = (tmp_path / name for name in ("data", "prepared", "run", "labels"))
    settings = [f"{k}={v}" for k, v in tiny.to_dict().items() if k != "slices"]
    assert _ushape("phantom", data, "--volumes", 2, "--seed", 1, "--size", 48, "--pixel", 3.6) == 0
    assert _ushape("prepare", data, "--out", prepared) == 0
    for slices in (5, 1):
        out = f"{run}-{slices}"
        assert _ushape("train", prepared, "--out", out, "--slices", slices, "--threads", 1, "--set", *settings) == 0
        assert _ushape("predict", out, data, "--out", f"{labels}-{slices}", "--threads", 1) == 0
    capsys.readouterr()
    assert _ushape("predict", f"{run}-1", data, "--out", f"{labels}-5") == 2
    assert "belongs to another prediction" in capsys.readouterr().err
    (data / "volume-0.nii").rename(data / "kept")
    (data / "volume-1.nii").rename(data / "volume-0.nii")
    (data / "kept").rename(data / "volume-1.nii")
    assert _ushape("predict", f"{run}-5", data, "--out", f"{labels}-5") == 2
    assert "segmentation-0.nii: holds the labels of another volume than" in capsys.readouterr().err
    (data / "volume-0.nii").rename(data / "kept")
    (data / "volume-1.nii").rename(data / "volume-0.nii")
    (data / "kept").rename(data / "volume-1.nii")
    words = (f"{labels}-5", "--data", data, "--against", f"{labels}-1", "--json", tmp_path / "scores.json")
    assert _ushape("score", *words) == 0
    printed = capsys.readouterr().out
    assert "Dice per case" in printed
    assert "liver Dice per case" in printed
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["volumes"]) == {"0", "1"}
    assert 0 <= scores["summary"]["liver"]["dice_global"] <= 1
    ours = scores["summary"]["liver"]["dice_per_case"]
    assert scores["ahead"]["liver"]["low"] <= scores["ahead"]["liver"]["difference"] <= ours


def test_volumes_that_their_headers_do_not_place_are_named(
    run: Path, tmp_path: Path, write_nifti, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((16, 16, 8), np.uint8)
    labels[3:12, 3:12, 1:7] = 1
    for i, affine in enumerate((np.diag([-1.0, -1.0, 2.5, 1.0]), np.eye(4))):
        for name, voxels in (("volume", labels.astype(np.int16) * 90), ("segmentation", labels)):
            write_nifti(tmp_path / "data" / f"{name}-{i}.nii.gz", voxels, affine)
    for words in (
        ("prepare", tmp_path / "data", "--out", tmp_path / "prepared"),
        ("predict", run, tmp_path / "data", "--out", tmp_path / "labels", "--threads", 1),
        ("score", tmp_path / "labels", "--data", tmp_path / "data"),
    ):
        assert _ushape(*words) == 0
        assert "the headers of 1 volumes do not place them in space (volume-1.nii.gz)" in capsys.readouterr().out


def test_two_volumes_of_one_name_are_refused(phantom: Path, run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "volume-0.nii").write_bytes((phantom / "volume-0.nii").read_bytes())
    words = (run, phantom / "volume-0.nii", tmp_path / "a" / "volume-0.nii", "--out", tmp_path / "out")
    assert _ushape("predict", *words) == 2
    assert "have one name and would overwrite each other's labels" in capsys.readouterr().err


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ushape("prepare", tmp_path, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"ushape: {tmp_path}: holds no volume-N.nii or volume-N.nii.gz\n"
