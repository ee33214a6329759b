"""What a study is, written down before anything is trained."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ushape.data.crops import Crops
from ushape.data.phantom import write_phantom
from ushape.errors import DataError, RecipeError, RunError, SpecError, UshapeError
from ushape.files import read_yaml
from ushape.nets.spec import Spec, parse
from ushape.study import design
from ushape.study.design import Arm, Study, parse_arm, plan_study, told
from ushape.study.folder import open_study
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.recipe import Recipe
from ushape.train.run import open_run
from ushape.train.search import Search
from ushape.train.start import check_trainable


def test_the_same_study_has_the_same_folds(make_study: Any):
    assert make_study().folds == make_study().folds


def test_all_arms_of_a_fold_come_together_and_seeds_one_after_another(make_study: Any):
    runs = list(make_study(seeds=2).runs())
    arms = list(make_study().arms)
    assert runs == [(arm, fold, seed) for seed, fold, arm in product((0, 1), (1, 2), arms)]


def test_a_plan_holds_the_rois_of_its_folds_patients(make_study: Any):
    study: Study = make_study()
    for fold in (1, 2):
        plan = study.plan(next(iter(study.arms)), fold, 3)
        for part in ("train", "validation", "test"):
            patients = getattr(study.folds[fold - 1], part)
            assert {roi.patient for roi in getattr(plan, part)} == set(patients)
        assert len({*plan.train, *plan.validation, *plan.test}) == 6


def test_arms_share_the_seeds_of_their_runs_and_no_two_runs_of_an_arm_do(make_study: Any):
    """Luck in one fold's run that were another's too would make every interval too narrow."""
    study: Study = make_study(seeds=3)
    seeds = {run: study.plan(*run).seed for run in study.runs()}
    first, *others = [[s for (arm, *_), s in seeds.items() if arm == each] for each in study.arms]
    assert sorted(first) == list(range(6)), "2 folds x 3 seeds"
    assert all(other == first for other in others)


def test_patients_are_held_back_where_something_is_chosen_by_them(make_study: Any):
    def held(study: Study) -> set[int]:
        return {len(fold.validation) for fold in study.folds}

    study = make_study()
    nobody = replace(study.recipe, validations=0)
    assert held(study) == {1}
    assert held(make_study(recipe=nobody)) == {0}
    assert held(make_study("unet[width=4,levels=2]", "unet[width=4,levels=2] validations=2", recipe=nobody)) == {1}
    assert held(plan_study(study.given, nobody, study.data, None, 2, 1, search=Search(2, 2))) == {1}


def test_arms_see_the_same_crops_in_the_same_order(tmp_path: Path, make_study: Any, monkeypatch: pytest.MonkeyPatch):
    study, seen, draw = make_study(), {}, Crops.draw_all

    def watched(crops: Crops, step: int, place: int) -> Any:
        light, labels, taught = draw(crops, step, place)
        seen[arm].append((step, place, light.tobytes(), labels.tobytes()))
        return light, labels, taught

    monkeypatch.setattr(Crops, "draw_all", watched)
    for arm in study.arms:
        seen[arm] = []
        open_run(tmp_path / arm, study.plan(arm, 1, 0))
        with Lanes(1) as lanes:
            train(study.plan(arm, 1, 0), tmp_path / arm, lanes, torch.device("cpu"))
    one, other = seen.values()
    assert len(one) == 3 * 4
    assert one == other
    assert len({crop[2] for crop in one}) > 6


def test_a_changed_image_changes_the_fingerprint(tmp_path: Path, make_study: Any):
    write_phantom(tmp_path / "a", patients=4, size=64)
    before = make_study(data=tmp_path / "a", recipe=Recipe(crop=32)).fingerprint
    write_phantom(tmp_path / "b", patients=4, size=64)
    assert make_study(data=tmp_path / "b", recipe=Recipe(crop=32)).fingerprint == before
    mask = next((tmp_path / "b" / "masks").iterdir())
    image = design_image(mask)
    image[0, 0] = 2
    save(image, mask)
    assert make_study(data=tmp_path / "b", recipe=Recipe(crop=32)).fingerprint != before


def design_image(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def save(array: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(array).save(path)


def test_one_spec_twice_is_refused_whatever_its_spelling(make_study: Any):
    with pytest.raises(RunError, match=r"unet\[width=4\]\+residual\+se is given twice"):
        make_study("unet[width=4]", "unet[width=4]+residual+se", "unet[width=4]+se+residual")


def test_no_seeds_are_refused(make_study: Any):
    with pytest.raises(RunError, match="--seeds 0: give at least 1"):
        make_study(seeds=0)


def test_more_folds_than_patients_are_refused(make_study: Any):
    with pytest.raises(DataError, match="6 folds over 5 patients: give 2 to 5 folds"):
        make_study(folds=6)


@pytest.mark.parametrize("part", ["se[reduction=0]", "aspp[rates=0-1]", "dilated-parallel-3[dilations=0-1-2]"])
def test_a_spec_that_cannot_be_built_is_refused(make_study: Any, part: str):
    with pytest.raises(SpecError):
        make_study("unet[width=4]", f"unet[width=4]+{part}")


def test_a_value_is_told_to_the_last_bit():
    assert [told(v) for v in (0.002, 0.00123456789, 1.0, 3, "auto")] == ["0.002", "0.00123456789", "1", "3", "auto"]


def test_one_network_in_two_arms_is_solved_to_one(phantom: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = Recipe(crop=48, validations=0)
    texts = ["unet[width=8,levels=3]", "unet[width=8,levels=3] stain=0", "unet[width=6,levels=3]+se"]
    given = [parse_arm(text, recipe) for text in (*texts, f"{texts[2]} stain=0")]
    solved: list[Spec] = []
    whole = design.match
    monkeypatch.setattr(design, "match", lambda spec, *a, **k: (solved.append(spec), whole(spec, *a, **k))[1])
    made = plan_study(given, recipe, phantom, None, 2, 1, matched="flops")
    assert made.specs[0] == made.specs[1] == parse(texts[0])
    assert made.specs[2] == made.specs[3] != parse(texts[2])
    assert len(solved) == len(set(solved)) == 2


def test_arms_that_would_share_a_folder_are_refused(make_study: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(design, "folder_of", lambda name: "one")
    with pytest.raises(RunError, match="would share the folder one: give them to two studies"):
        make_study()


def some_specs() -> list[Spec]:
    brackets = ["", "width=8", "width=16", "widths=8-16-33", "width=8,levels=3", "depth=1", "dropout=0.25"]
    brackets += ["norm=none", "stem=dilated-parallel-3", "stem=dilated-parallel-3[dilations=1-2-3],depth=3"]
    behind = ["", "+residual", "+dense", "+dilated-parallel-3", "+aspp", "+aspp[rates=2-4-6]", "+aspp[rates=2-46]"]
    behind += ["+residual+se", "+se[reduction=8]", "+attention-gate+aspp", "+deep-supervision"]
    return [parse(f"unet[{b}]{a}" if b else f"unet{a}") for b, a in product(brackets, behind)]


CHANGES: tuple[tuple[tuple[str, Any], ...], ...] = ((), (("stain", 0.0),), (("rate", 0.0025), ("tta", "none")))


def test_arms_have_folders_of_their_own_with_names_that_any_file_system_takes():
    folders = [Arm(spec, changes).folder for spec, changes in product(some_specs(), CHANGES)]
    assert len({f.lower() for f in folders}) == len(some_specs()) * len(CHANGES)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]*", f) and ".." not in f and not f.endswith(".") for f in folders)
    signs = [Arm(parse(f"unet+leaky[slope={slope}]")).folder for slope in ("0.1", "-0.1")]
    assert len(set(signs)) == 2
    spec = parse("unet+dilated-parallel-3[dilations=1-2-3]+attention-gate+se+aspp[rates=2-4-6]+deep-supervision")
    long = [Arm(replace(spec, widths=(*range(1000, 1009), last))).folder for last in (1010, 1011)]
    assert len(set(long)) == 2
    assert all(len(f) <= design.LONGEST for f in long)


def test_the_folder_of_an_arm_can_be_read():
    assert Arm(parse("unet[width=16]+residual")).folder == "unet-width-16+residual"
    assert Arm(parse("unet"), (("stain", 0.0), ("tta", "none"))).folder == "unet-stain-0-tta-none"


def test_an_arm_changes_the_recipe_for_itself_alone(make_study: Any):
    study = make_study("unet[width=4]", " unet[width=4]  tta=flips   rate=1e-3 ")
    plain, changed = study.given
    assert (plain.name, changed.name) == ("unet[width=4]", "unet[width=4] rate=0.001 tta=flips")
    plans = [study.plan(arm.folder, 1, 0) for arm in study.given]
    assert plans[0].recipe == study.recipe
    assert plans[1].recipe == replace(study.recipe, rate=0.001, tta="flips")
    assert plans[0].spec == plans[1].spec


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        ("unet[width=4] stian=0", "unknown key 'stian'; did you mean 'stain'"),
        ("unet[width=4] stain", "'stain': write key=value"),
        ("unet[width=4] stain=0 stain=1", "stain is given twice"),
        ("unet[width=4] stain=7", "stain=7.0 is out of range"),
        ("unet[width=4] stain=0.3", "what the study has anyway"),
        ("unet[width=4] mpp=2", "scored on the same pixels: give mpp to the whole study"),
        ("unet[width=4] steps=9", "same number of steps"),
        ("unet[width=4] grouping=bcss-5-ignore", "scored in the same classes"),
        ("unet[width=4] teacher=runs/other", "no path for itself"),
        ("unet[width=4] pretrained=imagenet", "pretrained=imagenet has no effect on unet[width=4]: leave it out"),
        ("unet[width=4] pretrained=none", "pretrained=none has no effect on unet[width=4]"),
        ("unet[width=4] pretrained_rate=0.1", "pretrained_rate=0.1 has no effect on unet[width=4]"),
        ("unet[width=4,encoder=efficientnet-lite] pretrained=imagenet", "pretrained=imagenet has no effect on"),
        ("unet[width=4] precision=auto", "is the same on all machines: give float32 or bf16"),
        ("stain=0", "stain"),
    ],
)
def test_a_change_that_cannot_be_is_refused(make_study: Any, arm: str, says: str):
    with pytest.raises(UshapeError, match=re.escape(says)):
        make_study("unet[width=4]", arm)


def test_a_key_is_idle_for_a_network_only_where_it_trains_it_alike():
    encoder, recipe = "unet[width=4,encoder=efficientnet-lite]", Recipe(balanced=0.0)
    for text in (f"{encoder} pretrained=none", f"{encoder} pretrained_rate=0.1", "unet balanced=0.5 prior=1"):
        parse_arm(text, recipe)
    with pytest.raises(RecipeError, match="prior=0 has no effect on unet"):
        parse_arm("unet prior=0", recipe)
    with pytest.raises(RecipeError, match="has no effect on unet, of which nothing begins trained"):
        check_trainable([(parse("unet"), Recipe(pretrained_rate=0.1))], 5)


def test_a_rate_of_its_own_does_not_go_with_a_search(phantom: Path):
    recipe = Recipe(crop=48, batch=4, shards=2, steps=3)
    arms = [parse_arm(text, recipe) for text in ("unet[width=4]", "unet[width=4] rate=1e-3")]
    with pytest.raises(RunError, match="has a rate of its own"):
        plan_study(arms, recipe, phantom, None, 2, 1, search=Search(2, 2))


def test_files_that_a_recipe_names_are_part_of_the_study_and_leak_in_none_of_its_folds(
    tmp_path: Path, make_study: Any, phantom: Path
):
    study = make_study()
    for fold in (1, 2):  # an arm of another study of the same folds
        plan = study.plan(next(iter(study.arms)), fold, 0)
        open_run(tmp_path / "arm" / str(fold), plan)
        with Lanes(1) as lanes:
            train(plan, tmp_path / "arm" / str(fold), lanes, torch.device("cpu"))
    taught = make_study(recipe=replace(study.recipe, teacher=str(tmp_path / "arm")))
    open_study(tmp_path / "study", taught)
    told = read_yaml(tmp_path / "study" / "study.yaml")["sources"]
    assert [[Path(file).parent.name for file in fold["teacher"]] for fold in told] == [["1"], ["2"]]
    (tmp_path / "arm" / "2" / "weights.safetensors").write_bytes(
        (tmp_path / "arm" / "1" / "weights.safetensors").read_bytes()
    )
    with pytest.raises(RunError, match="knows a patient whom this run is tested or validated on"):
        make_study(recipe=taught.recipe)
    with pytest.raises(RunError, match="a leak"):
        make_study(recipe=replace(study.recipe, pretrained=str(tmp_path / "arm" / "1")))
