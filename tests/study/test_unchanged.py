"""A study is not mixed with anything that has changed since it began."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ushape import versions
from ushape.errors import DataError, RunError
from ushape.files import read_json, read_yaml, write_json, write_yaml
from ushape.study.design import Study
from ushape.study.folder import open_study, read_study
from ushape.study.results import write_results
from ushape.study.unchanged import check_unchanged, load_copies


@pytest.fixture
def data(phantom: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantom, tmp_path / "data"))


@pytest.fixture
def study(make_study: Any, data: Path, tmp_path: Path) -> Study:
    """A study that has begun in `tmp_path / "study"`."""
    made: Study = make_study(data=data)
    open_study(tmp_path / "study", made)
    return made


def spoil(path: Path) -> None:
    array = np.array(Image.open(path))
    array[0, 0] = 2
    Image.fromarray(array).save(path)


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_as_it_was_passes(study: Study, tmp_path: Path):
    pixels = check_unchanged(read_study(tmp_path / "study"), tmp_path / "study")
    assert len(pixels) == 6


@pytest.mark.parametrize("part", ["rgbs_colorNormalized", "masks"])
def test_changed_data_are_noticed(study: Study, data: Path, tmp_path: Path, part: str):
    spoil(sorted((data / part).iterdir())[0])
    with pytest.raises(RunError, match=r"its images or masks are not those with which .* began") as caught:
        check_unchanged(study, tmp_path / "study")
    assert one_line(caught).startswith(str(data))


def test_a_roi_more_or_less_is_noticed(study: Study, data: Path, tmp_path: Path):
    for path in sorted(data.rglob("*DX2*.png")):
        path.unlink()
    with pytest.raises(RunError, match="put those back, or begin another study"):
        check_unchanged(study, tmp_path / "study")
    shutil.rmtree(data)
    with pytest.raises(DataError, match="no such folder"):
        check_unchanged(study, tmp_path / "study")


def exchange(folder: Path, part: str) -> None:
    """Exchange the training patients that the folds have in `part`, so that every patient is tested once still."""
    folds = read_json(folder / "folds.json")
    if part == "test":
        one, other = folds
        a, b = one["test"][0], other["test"][0]
        swap = {a: b, b: a}
        folds = [{p: [swap.get(x, x) for x in f[p]] for p in ("test", "validation", "train")} for f in folds]
        folds = [f | {"shares": o["shares"]} for f, o in zip(folds, read_json(folder / "folds.json"), strict=True)]
    else:
        fold = folds[0]
        fold["validation"][0], fold["train"][0] = fold["train"][0], fold["validation"][0]
    write_json(folder / "folds.json", folds)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_folds_edited_by_hand_are_refused_by_compare_resume_and_report(study: Study, tmp_path: Path, part: str):
    exchange(tmp_path / "study", part)
    with pytest.raises(RunError, match=r"folds.json: was changed: put the file back, or begin another study"):
        open_study(tmp_path / "study", study)
    with pytest.raises(RunError, match=r"folds.json: was changed: fold 1 has .* not .* as the data give it") as caught:
        check_unchanged(read_study(tmp_path / "study"), tmp_path / "study")
    one_line(caught)


def test_a_patient_written_into_both_sides_is_refused(study: Study, tmp_path: Path):
    folds = read_json(tmp_path / "study" / "folds.json")
    folds[0]["train"].append(folds[0]["test"][0])
    write_json(tmp_path / "study" / "folds.json", folds)
    with pytest.raises(RunError, match="is in train and in test"):
        check_unchanged(read_study(tmp_path / "study"), tmp_path / "study")


@pytest.mark.parametrize("change", ["data", "folds"])
def test_a_report_notices(finished: Path, phantom: Path, tmp_path: Path, change: str):
    folder, data = (Path(shutil.copytree(f, tmp_path / name)) for f, name in ((finished, "study"), (phantom, "data")))
    write_yaml(folder / "study.yaml", read_yaml(folder / "study.yaml") | {"data": str(data)})
    write_results(folder)
    before = (folder / "results.json").read_bytes()
    if change == "data":
        spoil(sorted((data / "masks").iterdir())[0])
    else:
        exchange(folder, "test")
    with pytest.raises(RunError, match=r"put .* back, or begin another study"):
        write_results(folder)
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("versions", {"code": "0" * 16}),
        ("versions", {"torch": "1.0.0"}),
        ("versions", {"numpy": "1.0.0"}),
        ("fingerprint", "0" * 64),
        ("recipe", {"grouping": "bcss-22"}),
        ("folds", 3),
    ],
)
def test_what_a_study_remembers_is_not_mixed(study: Study, tmp_path: Path, key: str, value: Any):
    file = tmp_path / "study" / "study.yaml"
    there = read_yaml(file)
    there[key] = there[key] | value if isinstance(value, dict) else value
    write_yaml(file, there)
    before = file.read_bytes()
    with pytest.raises(RunError, match=rf"belongs to another study: its {key}.* is .*: choose another --out") as caught:
        open_study(tmp_path / "study", study)
    one_line(caught)
    assert file.read_bytes() == before


def test_a_change_of_code_in_a_room_that_decides_results_is_one_of_version(tmp_path: Path, monkeypatch: Any):
    package = Path(shutil.copytree(Path(versions.ushape.__file__).parent, tmp_path / "ushape"))
    monkeypatch.setattr(versions.ushape, "__file__", str(package / "__init__.py"))
    before = versions.versions()["code"]
    for room in ("data", "nets", "train", "predict"):
        file = sorted((package / room).glob("*.py"))[1]
        file.write_text(file.read_text() + "\n# another line\n")
        after = versions.versions()["code"]
        assert after != before
        before = after


PLUGIN = """
import ushape
from torch import nn

@ushape.modification(axis="attention", name="unchanged-halve", summary="features are halved", source="a test")
class Halve(nn.Module):
    def __init__(self, channels, style):
        super().__init__()

    def forward(self, x):
        return x / 2
"""


def test_copies_of_plugins_are_run_if_they_are_what_the_study_began_with(tmp_path: Path):
    import hashlib

    from ushape.nets.registry import forget, modifications

    file = tmp_path / "plugins" / "mine.py"
    file.parent.mkdir()
    file.write_text(PLUGIN)
    write_yaml(tmp_path / "study.yaml", {"plugins": {"mine.py": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}})
    (tmp_path / "plugins" / "stray.py").write_text("raise SystemExit('a file that the study does not name was run')")
    load_copies(tmp_path)
    made = [m for m in modifications() if m.name == "unchanged-halve"]
    assert len(made) == 1
    forget(made)
    file.write_text(PLUGIN.replace("/ 2", "/ 3"))
    with pytest.raises(RunError, match=r"mine.py: is not the plugin with which the study began: put that one back"):
        load_copies(tmp_path)
    file.unlink()
    with pytest.raises(RunError, match=r"mine.py: is gone: put the plugin back"):
        load_copies(tmp_path)


def test_a_folder_without_a_study_has_no_plugins(tmp_path: Path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text("raise AssertionError('was run')")
    load_copies(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plugins"]
