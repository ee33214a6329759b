"""The folder of a study: written, claimed, read back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.files import read_json, read_yaml
from ushape.nets.spec import parse
from ushape.study.design import Arm, Study, parse_arm, plan_study
from ushape.study.folder import open_study, read_study, solved_before
from ushape.study.unchanged import load_copies
from ushape.train.recipe import Recipe


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def other_study(study: Study, key: str) -> Study:
    changes = {
        "arms": {"given": (study.given[0], Arm(parse("unet[width=4,levels=3]+dense")))},
        "recipe": {"recipe": replace(study.recipe, steps=4)},
        "data": {"data": study.data / "elsewhere"},
        "mpp": {"mpp": 0.5},
        "fingerprint": {"fingerprint": "0" * 64},
        "folds": {"folds": study.folds[:1]},
        "seeds": {"seeds": 3},
    }
    return replace(study, **changes[key])


def test_a_study_is_read_back_as_it_was_written(tmp_path: Path, make_study: Any):
    study = make_study(seeds=2)
    open_study(tmp_path / "study", study)
    assert read_study(tmp_path / "study") == study


def test_folds_are_written_with_the_patients_of_each(tmp_path: Path, make_study: Any):
    study = make_study()
    open_study(tmp_path / "study", study)
    written = read_json(tmp_path / "study" / "folds.json")
    parts = ("test", "validation", "train")
    assert [{p: fold[p] for p in parts} for fold in written] == [fold.to_dict() for fold in study.folds]
    tested = [p for fold in written for p in fold["test"]]
    assert len(tested) == len(set(tested)) == 5
    for fold in written:
        assert sorted(p for part in parts for p in fold[part]) == sorted(tested)


def test_folds_are_written_with_the_share_of_class_pixels_that_each_holds(tmp_path: Path, make_study: Any):
    open_study(tmp_path / "study", make_study())
    shares = [fold["shares"] for fold in read_json(tmp_path / "study" / "folds.json")]
    assert list(shares[0]) == ["tumor", "stroma", "inflammatory", "necrosis", "other"]
    for name in shares[0]:
        assert sum(each[name] for each in shares) == pytest.approx(1, abs=1e-3)
        assert all(0 < each[name] < 1 for each in shares)


def test_a_published_network_keeps_the_name_it_was_given_by(tmp_path: Path, make_study: Any):
    study: Study = make_study("unet-32-bn", "unet-32-bn stain=0", "unet[width=4]")
    assert [arm.name for arm in study.given] == ["unet-32-bn", "unet-32-bn stain=0", "unet[width=4]"]
    assert study.given[0] == parse_arm("unet", study.recipe)  # the same arm by another name
    open_study(tmp_path / "study", study)
    assert read_yaml(tmp_path / "study" / "study.yaml")["arms"][0] == "unet"  # what it is, not what it is called
    assert [arm.name for arm in read_study(tmp_path / "study").given] == [arm.name for arm in study.given]
    twice = ("unet", "unet-32-bn")
    with pytest.raises(RunError, match="is given twice"):
        make_study(*twice)


@pytest.mark.parametrize("key", ["arms", "recipe", "data", "mpp", "fingerprint", "folds", "seeds"])
def test_another_study_is_refused_by_the_key_that_differs_and_the_folder_stays(
    tmp_path: Path, make_study: Any, key: str
):
    study = make_study()
    open_study(tmp_path / "study", study)
    before = contents(tmp_path / "study")
    with pytest.raises(RunError, match=rf"belongs to another study: its {key}\b.* is .*--out") as caught:
        open_study(tmp_path / "study", other_study(study, key))
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "study") == before


def test_a_study_of_another_version_of_the_code_is_refused(
    tmp_path: Path, make_study: Any, monkeypatch: pytest.MonkeyPatch
):
    open_study(tmp_path / "study", make_study())
    monkeypatch.setattr("ushape.study.folder.versions", lambda: {"ushape": "0.0.1"})
    with pytest.raises(RunError, match=r"its versions.* is"):
        open_study(tmp_path / "study", make_study())


def test_every_setting_of_the_recipe_is_written(tmp_path: Path, make_study: Any):
    open_study(tmp_path / "study", make_study())
    assert read_yaml(tmp_path / "study" / "study.yaml")["recipe"] == make_study().recipe.to_dict()


def test_the_order_of_arms_matters_since_the_first_is_the_baseline(tmp_path: Path, make_study: Any):
    study = make_study()
    open_study(tmp_path / "study", study)
    with pytest.raises(RunError, match="its arms is"):
        open_study(tmp_path / "study", replace(study, given=study.given[::-1]))


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, make_study: Any):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is no study of ushape: choose another --out"):
        open_study(tmp_path, make_study())
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("text", ["", "[]", "x", "arms: [unet]"])
def test_a_damaged_study_is_told(tmp_path: Path, text: str):
    (tmp_path / "study.yaml").write_text(text)
    (tmp_path / "folds.json").write_text("[]")
    with pytest.raises(RunError, match=r"study\.yaml: is no study of"):
        read_study(tmp_path)
    if not text.startswith("arms"):
        with pytest.raises(RunError, match=r"study\.yaml: is no study of"):
            load_copies(tmp_path)


def test_widths_that_were_solved_stand(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a network takes in time differs from one measurement to the next, and solved widths solve to others."""
    given = [parse("unet[width=8,levels=3]"), parse("unet[width=8,levels=3]+attention-gate")]
    question = (given, Recipe(crop=48, validations=0), phantom, None, 2, 1)
    study = plan_study(*question, matched="flops")
    open_study(tmp_path / "study", study)
    assert study.given[1].spec != given[1]
    assert study.asked == tuple(spec.name for spec in given)
    assert read_study(tmp_path / "study") == study
    before = solved_before(tmp_path / "study", given, "flops")
    assert before == study.given
    monkeypatch.setattr("ushape.study.design.match", lambda *_, **__: pytest.fail("solved again"))
    open_study(tmp_path / "study", plan_study(*question, matched="flops", solved=before))
    assert solved_before(tmp_path / "study", given, "params") == ()
    assert solved_before(tmp_path / "study", given[:1], "flops") == ()
    assert solved_before(tmp_path / "none", given, "flops") == ()
    (tmp_path / "study" / "folds.json").unlink()  # as where the first command was killed before it wrote them
    with pytest.raises(RunError, match=r"folds\.json: is missing: repeat the command"):
        read_study(tmp_path / "study")
    again = solved_before(tmp_path / "study", given, "flops")
    open_study(tmp_path / "study", plan_study(*question, matched="flops", solved=again))
    assert read_study(tmp_path / "study") == study


def test_a_folder_without_a_study_is_told_with_the_remedy(tmp_path: Path):
    with pytest.raises(RunError, match="give a folder that `ushape compare` made"):
        read_study(tmp_path)


def test_a_study_with_changed_recipes_is_read_as_it_was_written(tmp_path: Path, make_study: Any):
    study = make_study("unet[width=4]", "unet[width=4] dice=0.25 schedule=cosine")
    open_study(tmp_path, study)
    assert read_study(tmp_path) == study
