"""Teachers: their probabilities, whom they may not know, and images without masks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ushape.data.classes import IGNORE
from ushape.data.images import find_images
from ushape.data.rois import open_pixels
from ushape.errors import DataError, RecipeError, RunError
from ushape.files import read_yaml
from ushape.nets.device import pick_precision
from ushape.nets.weights import load_tensors, load_weights, save_weights
from ushape.predict.engine import Predictor
from ushape.threads import Lanes
from ushape.train import teaching
from ushape.train.loop import have_taught, train
from ushape.train.losses import distillation_loss
from ushape.train.places import TAKEN
from ushape.train.recipe import Recipe, with_full_paths
from ushape.train.run import RunPlan, open_run
from ushape.train.sources import check_apart, check_unlabelled, find_teachers
from ushape.train.steps import read_log
from ushape.train.teaching import Teachers

CPU = torch.device("cpu")
SHORT = {"steps": 2, "validations": 1, "tta": "none"}


def fit(folder: Path, plan: RunPlan, lanes: int = 1, **more: Any) -> Path:
    open_run(folder, plan)
    with Lanes(lanes) as pool:
        train(plan, folder, pool, CPU, **more)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def short(plan: RunPlan) -> RunPlan:
    return replace(plan, recipe=replace(plan.recipe, **SHORT))


@pytest.fixture(scope="module")
def arm(short: RunPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the plan's own fold, and one that was trained on its test patient."""
    folder = tmp_path_factory.mktemp("teaching") / "arm"
    for seed in (1, 2):
        fit(folder / f"fold1-seed{seed}", replace(short, seed=seed))
    fit(folder / "fold2-seed1", replace(short, train=(*short.train[1:], *short.test), test=short.train[:1]))
    return folder


@pytest.fixture(scope="module")
def loose(short: RunPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of other patients, without masks."""
    folder = tmp_path_factory.mktemp("teaching") / "loose"
    folder.mkdir()
    for i in range(3):
        image = np.asarray(open_pixels(short.train[i], 1.2).image)[:64, :72]
        Image.fromarray(image).save(folder / f"PHAN-Z{i}-0001-DX1_tile{i}_MPP-1.2000.png")
    return folder


def taught(plan: RunPlan, arm: Path, **more: Any) -> RunPlan:
    return replace(plan, recipe=replace(plan.recipe, teacher=str(arm), **more))


# -- the loss --------------------------------------------------------------------------------------------------------


def test_the_term_is_cross_entropy_to_probabilities_at_every_pixel():
    random = torch.Generator().manual_seed(0)
    scores, aim = (torch.randn(2, 4, 8, 8, generator=random) for _ in range(2))
    torch.testing.assert_close(distillation_loss(scores, aim.softmax(1)), F.cross_entropy(scores, aim.softmax(1)))


def test_coarser_levels_weigh_half_and_count_nothing_beyond_the_image():
    random = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(2, 4, 6, 6, generator=random), torch.randn(2, 4, 4, 4, generator=random)
    aim = torch.randn(2, 4, 6, 6, generator=random).softmax(1)
    inside = F.cross_entropy(coarse[:, :, :3, :3], aim[:, :, 1::2, 1::2])
    expected = (F.cross_entropy(fine, aim) + inside / 2) / 1.5
    coarse[:, :, 3:] = torch.inf
    torch.testing.assert_close(distillation_loss([fine, coarse], aim), expected)


# -- what they say ---------------------------------------------------------------------------------------------------


def test_maps_are_the_mean_of_the_networks_and_are_computed_once(
    short: RunPlan, arm: Path, monkeypatch: pytest.MonkeyPatch
):
    files = [arm / f"fold1-seed{seed}" / "weights.safetensors" for seed in (1, 2)]
    images = [np.asarray(open_pixels(roi, 1.2, "stain").image)[:64, : 50 + 8 * i] for i, roi in enumerate(short.train)]
    with Lanes(1) as lanes:
        made = Teachers(files, short.recipe, 5, lanes, CPU).maps(images)
        nets = [
            Predictor(load_weights(f).net, CPU, pick_precision("auto", CPU), lanes, "none", short.recipe.guided)
            for f in files
        ]
        for image, map_ in zip(images, made, strict=True):
            mean = np.mean([net.probabilities(image) for net in nets], axis=0)
            np.testing.assert_allclose(map_ / 255, np.moveaxis(mean, 0, -1), atol=0.5 / 255 + 1e-6)
        monkeypatch.setattr(teaching, "load_weights", lambda _: pytest.fail("computed again"))
        again = Teachers(files, short.recipe, 5, lanes, CPU).maps(images)
        assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
        with pytest.raises(pytest.fail.Exception, match="computed again"):
            Teachers(files[:1], short.recipe, 5, lanes, CPU).maps(images)


# -- whom they know --------------------------------------------------------------------------------------------------


def test_networks_that_know_a_patient_of_the_run_are_left_out(tmp_path: Path, short: RunPlan, arm: Path):
    made = taught(short, arm)
    found = find_teachers(made.recipe, made.patients("test"), made.patients("validation"))
    assert [file.parent.name for file in found] == ["fold1-seed1", "fold1-seed2"]
    open_run(tmp_path / "run", made)
    assert list(read_yaml(tmp_path / "run" / "run.yaml")["sources"]["teacher"]) == [str(file) for file in found]
    assert find_teachers(replace(made.recipe, teacher=str(found[0].parent)), [], []) == [found[0]]
    otherwise = [patient.lower() for patient in made.patients("test")]
    assert find_teachers(made.recipe, otherwise, made.patients("validation")) == found


def test_a_network_that_serves_two_arms_of_a_study_teaches_once(tmp_path: Path, short: RunPlan, arm: Path):
    shutil.copytree(arm, tmp_path / "study" / "arm")
    served = tmp_path / "study" / "served" / "fold1-seed1"
    shutil.copytree(arm / "fold1-seed1", served)
    (served / TAKEN).write_text("arm/fold1-seed1\n")
    files = find_teachers(taught(short, tmp_path / "study").recipe, short.patients("test"), ())
    assert [file.relative_to(tmp_path / "study").parts[:2] for file in files] == [
        ("arm", "fold1-seed1"),
        ("arm", "fold1-seed2"),
    ]
    assert len(find_teachers(taught(short, served.parent).recipe, short.patients("test"), ())) == 1


def test_none_left_is_an_error(tmp_path: Path, short: RunPlan, arm: Path):
    other = replace(taught(short, arm), train=short.test, test=short.train[1:3])
    with pytest.raises(RunError, match=r"each of its 3 networks knows a patient"):
        open_run(tmp_path / "run", other)
    validated = replace(taught(short, arm), train=short.test, validation=short.train[1:2], test=())
    with pytest.raises(RunError, match=r"each of its 3 networks knows a patient"):
        open_run(tmp_path / "run", validated)
    chosen = replace(taught(short, arm), train=short.train[:1], validation=(), test=short.validation)
    with pytest.raises(RunError, match=r"each of its 3 networks knows a patient"):
        open_run(tmp_path / "run", chosen)


def test_what_sees_other_images_or_is_none_cannot_teach(tmp_path: Path, short: RunPlan, arm: Path):
    with pytest.raises(RunError, match=r"cannot teach with mpp=2\.4, as it was trained with mpp=1\.2"):
        find_teachers(replace(taught(short, arm).recipe, mpp=2.4), [], [])
    with pytest.raises(RunError, match="cannot teach with grouping=bcss-5-seed@1"):
        find_teachers(replace(taught(short, arm).recipe, grouping="bcss-5-seed"), [], [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no finished run"):
        find_teachers(replace(short.recipe, teacher=str(tmp_path / "empty")), [], [])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"unlabelled": "somewhere"}, "no effect without a teacher"),
        ({"distil": 2.0}, "distil has no effect without teacher: add teacher=PATH"),
        ({"teacher": "a", "unlabelled_share": 0.5}, "unlabelled_share has no effect without unlabelled"),
        ({"teacher": "somewhere", "distil": 0.0}, "no effect with distil=0"),
        (
            {"teacher": "a", "unlabelled": "b", "unlabelled_share": 0.05},
            "crops .* is no number of crops .*: give one of 0.25, 0.5, 0.75",
        ),
        ({"teacher": "a", "unlabelled": "b", "unlabelled_share": 0.95}, "is no number of crops .*: give one of"),
        ({"teacher": "a", "unlabelled": "b", "unlabelled_share": 0.3}, "is no number of crops .*: give one of"),
        ({"teacher": "a", "unlabelled": "b", "batch": 4}, "is no number of crops .*: give fewer shards"),
    ],
)
def test_keys_without_effect_are_refused(values: dict[str, Any], told: str):
    with pytest.raises(RecipeError, match=told):
        Recipe(**values)


def test_paths_are_made_absolute_and_words_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm").mkdir()
    made = with_full_paths(Recipe(pretrained="imagenet", teacher="arm"))
    assert made == Recipe(pretrained="imagenet", teacher=str(tmp_path / "arm"))


# -- learning from them ----------------------------------------------------------------------------------------------


def test_a_student_trains_alike_on_two_lanes_and_after_an_interruption(
    tmp_path: Path, short: RunPlan, arm: Path, loose: Path
):
    made = taught(short, arm, unlabelled=str(loose), unlabelled_share=0.5, elastic=4.0)
    one = fit(tmp_path / "one", made)
    assert weights(fit(tmp_path / "two", made, lanes=2)) == weights(one)

    def stop(step: int, loss: float) -> None:
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "three", made, progress=stop)
    assert weights(fit(tmp_path / "three", made)) == weights(one)
    known = load_weights(one).about["trained_on"]
    assert known == sorted({*short.patients("train"), *(p.patient for p in find_images(loose))})
    without = fit(tmp_path / "four", taught(short, arm, elastic=4.0))
    assert not torch.equal(*(next(iter(load_tensors(f / "weights.safetensors")[0].values())) for f in (one, without)))


def test_a_student_of_one_teacher_comes_near_to_it(tmp_path: Path, short: RunPlan, arm: Path):
    teacher = arm / "fold1-seed1"
    plan = replace(taught(short, teacher, distil=20.0, steps=25, rate=5e-3), validation=(), test=())
    losses = read_log(fit(tmp_path / "run", plan) / "log.csv")["loss"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_crop_without_a_mask_has_no_labels_but_a_lesson(
    tmp_path: Path, short: RunPlan, arm: Path, loose: Path, monkeypatch: pytest.MonkeyPatch
):
    from ushape.train import loop

    seen = []
    whole = loop.segmentation_loss
    monkeypatch.setattr(loop, "segmentation_loss", lambda s, y, *m: seen.append(y) or whole(s, y, *m))
    lessons = []
    distil = loop.distillation_loss
    monkeypatch.setattr(loop, "distillation_loss", lambda s, t: lessons.append(t) or distil(s, t))
    fit(tmp_path / "run", taught(short, arm, unlabelled=str(loose), unlabelled_share=0.5))
    for labels, lesson in zip(seen, lessons, strict=True):
        assert (labels[-1] == IGNORE).all()
        assert (labels[0] != IGNORE).any()
        assert lesson.shape == (2, 5, 48, 48)
        torch.testing.assert_close(lesson.sum(1), torch.ones(2, 48, 48))


@pytest.mark.parametrize("part", ["test", "validation"])
def test_images_of_a_patient_of_the_run_are_a_leak(tmp_path: Path, short: RunPlan, arm: Path, part: str):
    (tmp_path / "loose").mkdir()
    (roi,) = getattr(short, part)
    shutil.copy(roi.image, tmp_path / "loose")
    with pytest.raises(DataError, match=rf"has images of patient {roi.patient}, .* a leak; move their images away"):
        open_run(tmp_path / "run", taught(short, arm, unlabelled=str(tmp_path / "loose"), unlabelled_share=0.5))


def test_a_network_remembers_whom_its_teachers_know(tmp_path: Path, short: RunPlan, arm: Path):
    given = load_weights(arm / "fold1-seed1")
    knows = given.about | {"trained_on": ["PHAN-X1-0001"], "validated_on": ["PHAN-Y1-0001"]}
    (tmp_path / "teacher").mkdir()
    save_weights(tmp_path / "teacher" / "weights.safetensors", given.net, knows)
    about = load_weights(fit(tmp_path / "run", taught(short, tmp_path / "teacher"))).about
    assert about["trained_on"] == sorted([*short.patients("train"), "PHAN-X1-0001"])
    assert about["validated_on"] == sorted([*short.patients("validation"), "PHAN-Y1-0001"])


def test_a_network_whose_teacher_does_not_say_whom_it_knows_does_not_either(tmp_path: Path, short: RunPlan, arm: Path):
    given = load_weights(arm / "fold1-seed1")
    told = {key: value for key, value in given.about.items() if key not in ("trained_on", "validated_on")}
    (tmp_path / "teacher").mkdir()
    save_weights(tmp_path / "teacher" / "weights.safetensors", given.net, told)
    plan = replace(taught(short, tmp_path / "teacher"), validation=(), test=())
    plan = replace(plan, recipe=replace(plan.recipe, validations=0))
    about = load_weights(fit(tmp_path / "run", plan)).about
    assert not {"trained_on", "validated_on"} & set(about)


def test_images_that_no_crop_can_be_made_of_are_told_of_before_anything_is_computed(
    tmp_path: Path, short: RunPlan, arm: Path, loose: Path
):
    folder = Path(shutil.copytree(loose, tmp_path / "loose"))
    recipe = taught(short, arm, unlabelled=str(folder), unlabelled_share=0.5).recipe
    check_unlabelled(recipe, None)
    small = folder / "PHAN-Z3-0001-DX1_tile3_MPP-1.2000.png"
    Image.new("RGB", (20, 90)).save(small)
    with pytest.raises(DataError, match=rf"{small.name}: is 20 x 90 px .* smaller than the smallest window"):
        check_unlabelled(recipe, None)
    small.write_bytes(small.read_bytes()[:60])
    with pytest.raises(DataError, match=f"{small.name}: is truncated or damaged"):
        check_unlabelled(recipe, None)


def test_a_run_inside_the_folder_of_its_teachers_is_refused(tmp_path: Path, short: RunPlan, arm: Path):
    recipe = taught(short, arm).recipe
    with pytest.raises(RunError, match="student: lies in the folder of teachers"):
        check_apart(recipe, arm / "student")
    check_apart(recipe, tmp_path / "student")
    check_apart(short.recipe, arm / "student")
    check_apart(
        taught(short, arm / "fold1-seed1").recipe, arm / "fold1-seed1" / "student"
    )  # one network, no folder of runs


def test_what_is_taught_beforehand_is_not_computed_in_training(
    tmp_path: Path, short: RunPlan, arm: Path, loose: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = taught(short, arm, unlabelled=str(loose), unlabelled_share=0.5, tta="flips")
    seen: list[tuple[int, int]] = []
    with Lanes(1) as lanes:
        have_taught(plan, lanes, CPU, lambda done, total: seen.append((done, total)))
        total = len(plan.train) + 3
        assert seen[-1] == (total, total)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    monkeypatch.setattr(teaching, "load_weights", lambda _: pytest.fail("computed again"))
    fit(tmp_path / "run", plan)
