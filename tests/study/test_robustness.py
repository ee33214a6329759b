"""A robustness test of a small study: what is scored by whom, kept, and never computed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ushape.data.classes import grouping
from ushape.data.rois import Pixels, find_rois, open_pixels
from ushape.data.stain import normalise
from ushape.errors import RunError
from ushape.files import read_json, read_yaml
from ushape.nets.device import pick_precision
from ushape.nets.unet import build
from ushape.nets.weights import load_weights, save_weights
from ushape.predict.degrade import Degradation, blurred
from ushape.predict.engine import Predictor, evaluate
from ushape.study import robustness
from ushape.study.folder import read_study
from ushape.study.robustness import Sweep, finished, plan_sweep, run_sweep
from ushape.threads import Lanes

CPU = torch.device("cpu")
SAYS = {"mpp": 1.2, "normalise": "none", "tta": "none"}
FEW = (None, Degradation("blur", 4), Degradation("scale", -30))


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Two degradations only, which is what time allows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "STEPS", FEW)
        yield


@pytest.fixture(scope="module")
def sweep(finished: Path, phantom: Path) -> Sweep:
    return plan_sweep([finished], phantom, None, None)


@pytest.fixture(scope="module")
def done(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The sweep in one go: its `folder`, and the `rows` that it gave."""
    folder = tmp_path_factory.mktemp("robustness") / "done"
    return SimpleNamespace(folder=folder, rows=go(sweep, folder))


def go(sweep: Sweep, folder: Path, watch: Callable[[int, str], None] = lambda done, what: None) -> list[object]:
    with Lanes(1) as lanes:
        return list(run_sweep(sweep, folder, lanes, CPU, watch))


def test_undegraded_matrices_are_those_of_the_studys_own_test(done: SimpleNamespace, finished: Path) -> None:
    study = read_study(finished)
    for number, arm in enumerate(study.arms, 1):
        (kept,) = (done.folder / "counts").glob(f"{number}-*")
        for seed, matrices in enumerate(read_json(kept / "none.json")):
            own = {}
            for fold in (1, 2):
                own |= read_json(finished / study.run_folder(arm, fold, seed) / "rois.json")
            assert matrices == {name: entry["confusion"] for name, entry in own.items()}
    assert len(done.rows) == 2 * len(FEW)


def test_a_degraded_roi_is_normalised_and_predicted_on_the_grid_of_its_truth(sweep: Sweep) -> None:
    arm, groups = sweep.arms[0], grouping("bcss-5")
    with Lanes(1) as lanes:
        made = robustness.count(arm, Degradation("blur", 4), sweep.rois, groups, "none", lanes, CPU)
        small = robustness.count(arm, Degradation("scale", -30), sweep.rois, groups, "none", lanes, CPU)
        for roi in sweep.rois:
            weights = load_weights(arm.seeds[1][roi.patient])
            assert roi.patient not in weights.about["trained_on"]
            plain = open_pixels(roi, 1.2)
            seen = normalise(blurred(np.asarray(plain.image), 4 / 1.2))
            predictor = Predictor(weights.net, CPU, pick_precision("auto", CPU), lanes, "none", weights.guided)
            (found,) = evaluate(predictor, [Pixels(roi, seen, plain.codes)], groups)
            assert np.array_equal(made[1][roi.name], found.confusion)
            assert small[1][roi.name].sum() == found.confusion.sum()  # every annotated pixel is scored
    assert any(not np.array_equal(small[1][r.name], made[1][r.name]) for r in sweep.rois)


@pytest.mark.parametrize(("asked", "used"), [("d4", "d4"), (None, "flips")])
def test_the_augmentation_is_the_one_asked_for_else_the_recipes(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, used: str
) -> None:
    network = load_weights(sweep.arms[0].files[0])
    save_weights(tmp_path / "weights.safetensors", network.net, network.about | {"tta": "flips"})
    arm = replace(sweep.arms[0], seeds=(dict.fromkeys(sweep.arms[0].seeds[0], tmp_path / "weights.safetensors"),))
    seen: list[str] = []
    make = robustness.Predictor

    def watched(*given: object) -> Predictor:
        seen.append(str(given[4]))
        return make(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(robustness, "Predictor", watched)
    with Lanes(1) as lanes:
        robustness.count(arm, None, sweep.rois[:1], grouping("bcss-5"), asked, lanes, CPU)
    assert seen == [used]


def test_what_was_counted_is_not_counted_again(
    sweep: Sweep, done: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(count: int, what: str) -> None:
        seen.append(count)
        if len(seen) == 30:
            raise Stopped

    seen: list[int] = []
    with pytest.raises(Stopped):
        go(sweep, tmp_path / "broken", stop)
    assert seen == list(range(1, 31))
    assert finished(sweep, tmp_path / "broken") == 24  # two degradations of the first arm: 2 seeds of 6 ROIs each
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "broken").rglob("*.json")}
    rest: list[int] = []
    assert go(sweep, tmp_path / "broken", lambda count, what: rest.append(count)) == done.rows
    assert rest == list(range(25, sweep.units_of(sweep.arms[0]) * 2 * len(FEW) + 1))
    assert {p: p.stat().st_mtime_ns for p in kept} == kept

    def refuse(*_: object) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(robustness, "load_weights", refuse)
    assert go(sweep, tmp_path / "broken") == done.rows


def test_a_folder_belongs_to_one_question(done: SimpleNamespace, finished: Path, phantom: Path, tmp_path: Path) -> None:
    assert read_yaml(done.folder / "robustness.yaml")["tta"] is None
    same = plan_sweep([finished], phantom, None, None)
    larger = replace(same, rois=tuple(replace(roi, mpp=2 * roi.mpp) for roi in same.rois))
    with pytest.raises(RunError, match="belongs to another robustness test: its mpp is"):
        go(larger, done.folder)
    with pytest.raises(RunError, match="belongs to another robustness test: its tta is None, not d4"):
        go(plan_sweep([finished], phantom, None, "d4"), done.folder)
    with pytest.raises(RunError, match="belongs to another robustness test: its arms is"):
        go(replace(same, arms=same.arms[::-1]), done.folder)
    fast = pick_precision("auto", CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast == "float32"})
        with pytest.raises(RunError, match=f"its precision is {fast}, not .*go on on a machine that computes {fast}"):
            go(plan_sweep([finished], phantom, None, None), done.folder)
    other = Path(shutil.copytree(finished, tmp_path / "finished"))
    file = next(other.glob("*/fold1-seed0/weights.safetensors"))
    weights = load_weights(file)
    save_weights(file, build(weights.net.spec, seed=9), weights.about)
    with pytest.raises(RunError, match="belongs to another robustness test"):
        go(plan_sweep([other], phantom, None, None), done.folder)


def test_damaged_counts_are_told(sweep: Sweep, done: SimpleNamespace, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done.folder, tmp_path / "out"))
    file = next(folder.rglob("blur-4.json"))
    for text in ('[{"a": [[1, 2], [3, 4]]}]', "[3]"):
        file.write_text(text)
        with pytest.raises(RunError, match=r"blur-4.json: is damaged .*remove it"):
            go(sweep, folder)


def test_networks_of_other_classes_are_refused(finished: Path, phantom: Path, tmp_path: Path) -> None:
    about = SAYS | {"grouping": grouping("bcss-5-seed").describe(), "trained_on": [], "validated_on": []}
    save_weights(tmp_path / "weights.safetensors", build("unet[width=4,levels=2]", seed=0), about)
    sweep = plan_sweep([finished, tmp_path], phantom, None, None)
    with pytest.raises(RunError, match=r"classes of bcss-5@1, .* of bcss-5-seed@1"):
        go(sweep, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_patients_whom_one_of_the_networks_saw_are_left_out(finished: Path, phantom: Path, tmp_path: Path) -> None:
    rois = find_rois(phantom)
    about = SAYS | {"grouping": grouping("bcss-5").describe(), "trained_on": [rois[0].patient], "validated_on": []}
    save_weights(tmp_path / "weights.safetensors", build("unet[width=4,levels=2]", seed=0), about)
    sweep = plan_sweep([finished, tmp_path], phantom, None, None)
    assert sweep.left_out == (rois[0].patient,)
    assert [roi.name for roi in sweep.rois] == [roi.name for roi in rois if roi.patient != rois[0].patient]
