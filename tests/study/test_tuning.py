"""A learning rate for each arm in each fold, in a study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ushape.cli import make_parser
from ushape.data.crops import Crops
from ushape.errors import RunError
from ushape.files import read_json, read_yaml, write_json
from ushape.study.design import Study, plan_study
from ushape.study.folder import open_study, read_study
from ushape.study.results import write_results
from ushape.study.tuning import search_folder, searches, told, tune_study
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.search import Search

TRIALS, STEPS = 3, 5

Tune = Callable[[Study, Path], Study]


@pytest.fixture(scope="module")
def study(make_study: Any) -> Study:
    return replace(make_study(seeds=2), search=Search(TRIALS, STEPS))


@pytest.fixture(scope="module")
def tuned(study: Study, train_here: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    folder = tmp_path_factory.mktemp("tuned") / "study"
    train_here(study, folder)
    write_results(folder)
    return folder


@pytest.fixture
def tune_here(in_process: Any) -> Tune:
    def tune(study: Study, folder: Path) -> Study:
        open_study(folder, study)
        with in_process():
            return tune_study(study, folder, 1, interval=0.0)

    return tune


def test_every_arm_has_as_many_trials_in_every_fold_as_any_other(study: Study, tuned: Path):
    for arm, fold in searches(study):
        assert len(read_json(tuned / search_folder(arm, fold) / "choice.json")["trials"]) == TRIALS
    assert len(searches(study)) == 4


def test_all_seeds_of_an_arm_and_fold_train_with_the_rate_chosen_there(study: Study, tuned: Path):
    for arm, fold, seed in study.runs():
        chosen = read_json(tuned / search_folder(arm, fold) / "choice.json")["rate"]
        run = tuned / study.run_folder(arm, fold, seed)
        assert read_yaml(run / "run.yaml")["recipe"] == study.recipe.to_dict() | {"rate": chosen}
        top = max(float(row.split(",")[3]) for row in (run / "log.csv").read_text().splitlines()[1:])
        assert 0.5 * chosen < top <= chosen


def test_a_search_holds_the_training_and_validation_rois_of_its_own_fold_alone(study: Study, tuned: Path):
    for arm, fold in searches(study):
        used = read_yaml(tuned / search_folder(arm, fold) / "run.yaml")["rois"]
        fold_rois = study.folds[fold - 1]
        assert used["test"] == []
        for part in ("train", "validation"):
            assert {name.split("_")[0][:12] for name in used[part]} == set(getattr(fold_rois, part))


def test_a_run_cannot_be_planned_before_its_rate_is_chosen(study: Study):
    arm = next(iter(study.arms))
    with pytest.raises(RunError, match=f"{arm}, fold 1: its learning rate is not chosen yet".replace("+", r"\+")):
        study.plan(arm, 1, 0)
    assert replace(study, rates={(arm, 1): 0.5}).plan(arm, 1, 1).recipe == replace(study.recipe, rate=0.5)


def test_what_test_patients_look_like_does_not_change_the_choice(
    tmp_path: Path, study: Study, tuned: Path, tune_here: Tune
):
    data = Path(shutil.copytree(study.data, tmp_path / "data"))
    for path in [*data.rglob("*.png")]:
        if path.name[:12] in study.folds[0].test:
            with Image.open(path) as image:
                spoilt = np.where(np.array(image) > 2, 2, 1).astype(np.uint8)
            Image.fromarray(spoilt).save(path)
    tune_here(replace(study, data=data), tmp_path / "study")
    for arm in study.arms:
        for fold, same in ((1, True), (2, False)):  # in the second they are trained and validated on
            one, other = (f / search_folder(arm, fold) / "choice.json" for f in (tmp_path / "study", tuned))
            assert (one.read_bytes() == other.read_bytes()) is same


def test_arms_see_the_same_batches_whatever_their_network_and_rate(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
):
    one, other = study.arms
    study = replace(study, rates={(one, 2): 1e-3, (other, 2): 0.05})
    seen: dict[tuple[str, int], list[Any]] = {}
    draw = Crops.draw_all

    def watched(crops: Crops, step: int, place: int) -> Any:
        light, labels, taught = draw(crops, step, place)
        seen[run].append((step, place, light.tobytes(), labels.tobytes()))
        return light, labels, taught

    monkeypatch.setattr(Crops, "draw_all", watched)
    for run in ((arm, seed) for arm in study.arms for seed in (0, 1)):
        seen[run] = []
        plan = replace(study.plan(run[0], 2, run[1]), test=())
        with Lanes(1) as lanes:
            train(plan, tmp_path / f"{run[0]}{run[1]}", lanes, torch.device("cpu"))
    for seed in (0, 1):
        assert [drawn[:2] for drawn in seen[one, seed]] == [(step, place) for step in range(3) for place in range(4)]
        assert seen[one, seed] == seen[other, seed]
    assert seen[one, 0] != seen[one, 1]
    weights = [(tmp_path / f"{arm}0" / "weights.safetensors").read_bytes() for arm in study.arms]
    assert weights[0] != weights[1]


def test_results_tell_what_each_arm_got(study: Study, tuned: Path):
    made = read_json(tuned / "results.json")["tuning"]
    assert (made["key"], made["trials"], made["steps"]) == ("rate", TRIALS, STEPS)
    assert list(made["arms"]) == [spec.name for spec in study.specs]
    for spec in study.specs:
        assert [each["fold"] for each in made["arms"][spec.name]] == [1, 2]
        for each in made["arms"][spec.name]:
            assert [sorted(trial) for trial in each["trials"]] == [["macro_dice", "pruned", "rate", "step"]] * TRIALS
            assert each["chosen"] in [trial["rate"] for trial in each["trials"]]


def test_a_study_that_does_not_tune_has_nothing_to_tell(tmp_path: Path, make_study: Any):
    assert told(make_study(), tmp_path) is None
    assert searches(make_study()) == []
    assert tune_study(make_study(), tmp_path) == make_study()


def test_the_command_of_the_report_asks_for_the_same_search(study: Study, tuned: Path):
    words = read_json(tuned / "results.json")["command"].split()[1:]
    options = make_parser().parse_args(words)
    assert (options.tune, options.tune_trials, options.tune_steps) == ("lr", TRIALS, STEPS)


def test_a_tuned_study_is_read_back_and_one_with_another_search_is_refused(study: Study, tuned: Path):
    assert read_study(tuned) == study
    for other in (Search(TRIALS + 1, STEPS), Search(TRIALS, STEPS + 1), None):
        with pytest.raises(RunError, match=r"belongs to another study: its tuning.* is") as caught:
            open_study(tuned, replace(study, search=other))
        assert "\n" not in str(caught.value)


def test_a_choice_changed_by_hand_is_refused(study: Study, tuned: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tuned, tmp_path / "study"))
    path = folder / search_folder(next(iter(study.arms)), 2) / "choice.json"
    write_json(path, read_json(path) | {"rate": 0.5})
    with pytest.raises(RunError, match=r"choice.json: is damaged \(its rate is that of no completed trial\): remove"):
        told(study, folder)


def test_searches_are_done_once(study: Study, tuned: Path, monkeypatch: pytest.MonkeyPatch):
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a finished search is started again")

    monkeypatch.setattr("ushape.study.pool.subprocess.Popen", start)
    assert set(tune_study(study, tuned, 1).rates) == set(searches(study))


def test_a_plan_with_a_search_keeps_it(study: Study):
    asked = (list(study.specs), study.recipe, study.data, None, 2, 2)
    assert plan_study(*asked, search=study.search) == study
