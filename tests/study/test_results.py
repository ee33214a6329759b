"""results.json: what docs/results.md promises, and numbers that follow from the files beside it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ushape.data.classes import IGNORE, grouping
from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.errors import RunError
from ushape.files import read_json, read_yaml, write_json
from ushape.nets.unet import build, parameters
from ushape.predict.calibration import Calibration
from ushape.predict.score import confusion, plain, scores
from ushape.report.formats import write_report
from ushape.study.design import parse_arm, plan_study
from ushape.study.folder import read_study
from ushape.study.maps import read_maps, summarise
from ushape.study.results import _asked, _parts, write_results
from ushape.study.statistics import paired_difference
from ushape.study.status import read_status
from ushape.train.recipe import Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs" / "results.md"
MAPS = {"dice", "iou", "codes", "absent", "recipe", "versions", "classes", "mean_ranks"}
"""Objects whose keys are data: class names, settings."""
NULL = {"ranks", "tests", "variance"}
"""Objects that may be missing: with fewer than three arms, for pooled scores, with one seed."""


@pytest.fixture(scope="module")
def results(finished: Path) -> dict[str, Any]:
    return read_json(finished / "results.json")


@pytest.fixture(scope="module")
def promised() -> dict[str, Any]:
    """The example of docs/results.md."""
    blocks = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.S)
    return json.loads(blocks[0])


def first(value: dict[str, Any]) -> Any:
    return next(iter(value.values()))


def compare_keys(promised: Any, real: Any, where: str) -> None:
    """Objects have exactly the keys promised; of lists and of maps by name, all entries follow the first."""
    if real is None and where.rsplit(".", 1)[-1] in NULL:
        return
    if isinstance(promised, dict):
        assert isinstance(real, dict), where
        if where.rsplit(".", 1)[-1] in MAPS:
            return
        if re.search(r"rois$|rois\.\*\.arms$", where):
            for each in real.values():
                compare_keys(first(promised), each, f"{where}.*")
            return
        assert sorted(real) == sorted(promised), where
        for key in promised:
            compare_keys(promised[key], real[key], f"{where}.{key}")
    elif isinstance(promised, list):
        assert isinstance(real, list), where
        for each in real if promised else ():
            compare_keys(promised[0], each, f"{where}[]")
    elif not (real is None or isinstance(promised, str)):
        assert isinstance(real, int | float), where
    else:
        assert real is None or isinstance(real, str), where


def test_the_file_has_the_keys_that_the_documentation_promises(promised: dict[str, Any], results: dict[str, Any]):
    # where data.rois is a number the walk below must not take it for the ROIs
    assert isinstance(promised["data"].pop("rois"), int)
    assert results["data"].pop("rois") == 6
    try:
        compare_keys(promised, results, "results")
    finally:
        promised["data"]["rois"] = results["data"]["rois"] = 6


def test_the_folder_has_the_files_that_the_documentation_promises(finished: Path, results: dict[str, Any]):
    for name in ("study.yaml", "folds.json", "results.json"):
        assert (finished / name).is_file()
    run = finished / results["arms"][1]["folder"] / "fold1-seed0"
    for name in ("run.yaml", "log.csv", "validation.csv", "weights.safetensors", "rois.json"):
        assert (run / name).is_file()
    assert sorted(p.stem for p in (run / "predictions").iterdir()) == sorted(read_json(run / "rois.json"))


def test_nothing_in_it_is_no_json(finished: Path):
    json.loads((finished / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_it_says_what_was_compared_on_what(results: dict[str, Any], finished: Path, phantom: Path):
    study = read_study(finished)
    assert results["data"] == {"folder": "phantom", "fingerprint": study.fingerprint, "rois": 6, "patients": 5,
                               "mpp": 1.2}  # fmt: skip
    assert results["grouping"] == grouping("bcss-5").describe()
    assert results["folds"] == [fold.to_dict() for fold in study.folds]
    assert results["split"] == "2 patient-level folds balanced by class pixels, seed 0"
    assert results["seeds"] == [0, 1]
    assert results["recipe"] == study.recipe.to_dict()
    assert results["versions"] == read_yaml(finished / "study.yaml")["versions"]


def test_its_command_makes_the_same_study(results: dict[str, Any], finished: Path, phantom: Path):
    import shlex

    from ushape.cli import make_parser
    from ushape.commands.shared import read_recipe

    words = shlex.split(results["command"])
    options = make_parser().parse_args(words[1:])
    study = read_study(finished)
    assert words[0] == "ushape"
    assert options.arms == [spec.name for spec in study.specs]
    assert read_recipe(options) == study.recipe
    assert (options.folds, options.seeds, options.data.name) == (2, 2, phantom.name)


def recomputed(finished: Path, arm: str, seed: int) -> dict[str, np.ndarray]:
    """Confusion matrices of an arm and seed, from its predictions and the masks."""
    study, groups, found = read_study(finished), grouping("bcss-5"), {}
    for roi in find_rois(study.data):
        (file,) = (finished / arm).glob(f"fold*-seed{seed}/predictions/{roi.name}.png")
        with Image.open(file) as predicted, Image.open(roi.mask) as mask:
            assert predicted.mode == "P"
            found[roi.name] = confusion(groups.labels(np.asarray(mask)), np.asarray(predicted), 5)
    return found


def test_scores_are_those_of_the_predictions_against_the_masks(finished: Path, results: dict[str, Any]):
    for arm in results["arms"]:
        found = [recomputed(finished, arm["folder"], seed) for seed in (0, 1)]
        matrices = [m for each in found for m in each.values()]
        total = np.sum(matrices, axis=0)
        assert arm["confusion"] == total.tolist()
        seeds = [scores(m.sum(0), grouping("bcss-5").classes) for m in by_patient(finished, arm["folder"])]
        for key in ("macro_dice", "accuracy", "macro_iou", "balanced_accuracy"):
            assert arm["scores"]["pooled"][key] == pytest.approx(np.mean([s[key] for s in seeds]), abs=1e-5)
        each = [scores(m, grouping("bcss-5").classes) for m in matrices]
        for key in ("macro_dice", "accuracy", "macro_iou"):
            assert arm["scores"]["per_roi"][key] == pytest.approx(np.mean([s[key] for s in each]), abs=1e-5)
        for name, roi in results["rois"].items():
            own = scores(found[0][name], grouping("bcss-5").classes)
            shown = roi["arms"][arm["name"]]
            assert {k: shown[k] for k in ("macro_dice", "accuracy", "dice")} == {k: own[k] for k in shown if k in own}


def test_calibration_and_borders_are_those_of_all_runs(finished: Path, results: dict[str, Any]):
    study, groups = read_study(finished), grouping("bcss-5")
    for arm in results["arms"]:
        runs = [run for run in study.runs() if run[0] == arm["folder"]]
        folders = [(finished / study.run_folder(*run), study.tested(run[1])) for run in runs]
        entries = [entry for f, _ in folders for entry in read_json(f / "rois.json").values()]
        first, *more = [Calibration.from_dict(entry["calibration"]) for entry in entries]
        sure, measures = sum(more, first), arm["measures"]
        assert measures["calibration"] == {"error": plain(sure.error)} | sure.to_dict()
        tolerance = measures["surface_dice"]["tolerance_um"]
        read = [read_maps(f, rois, study.recipe.mpp, groups, tolerance) for f, rois in folders]
        maps = [each for found in read for each in found.values()]
        assert len(maps) == 2 * len(results["rois"])
        made = summarise(maps, groups.classes, tolerance)
        assert {key: measures[key] for key in made} == made


def test_every_counted_pixel_of_every_mask_is_in_the_confusion(results: dict[str, Any], finished: Path):
    counted = 0
    for roi in find_rois(read_study(finished).data):
        with Image.open(roi.mask) as mask:
            counted += int((np.asarray(mask) != 0).sum())
    for arm in results["arms"]:
        assert np.sum(arm["confusion"]) == 2 * counted  # two seeds


def by_patient(finished: Path, arm: str) -> np.ndarray:
    """[seeds, patients, classes, classes] from the runs' rois.json, ROIs of a patient added up."""
    made: dict[tuple[int, str], np.ndarray] = {}
    for file in (finished / arm).glob("fold*-seed*/rois.json"):
        for entry in read_json(file).values():
            key = (int(file.parent.name[-1]), entry["patient"])
            made[key] = made.get(key, 0) + np.array(entry["confusion"])
    patients = sorted({patient for _, patient in made})
    return np.stack([np.stack([made[seed, p] for p in patients]) for seed in (0, 1)])


def test_patients_are_the_unit_of_scores_and_intervals(finished: Path, results: dict[str, Any]):
    baseline, arm = (by_patient(finished, a["folder"]) for a in results["arms"])
    assert arm.shape == (2, 5, 5, 5)
    tested = {patient: k for k, fold in enumerate(results["folds"]) for patient in fold["test"]}
    folds = [tested[p] for p in sorted(tested)]
    for found in results["comparisons"]:
        expected = asdict(paired_difference(arm, baseline, found["metric"], found["aggregation"], folds=folds))
        assert found["patients"] == 5
        shown = ("difference", "low", "high", "p")
        assert {k: found[k] for k in shown} == pytest.approx({k: expected[k] for k in shown}, abs=1e-6)
    each = [scores(m, grouping("bcss-5").classes)["accuracy"] for seed in arm for m in seed]
    assert results["arms"][1]["scores"]["per_roi"] != results["arms"][1]["scores"]["per_patient"]
    assert results["seeds"] == [0, 1]
    assert len(each) == 10


def test_scores_per_patient_are_means_over_patients(finished: Path, results: dict[str, Any]):
    # as patients are the unit, a patient's ROIs count as one
    for arm in results["arms"]:
        each = [scores(m, grouping("bcss-5").classes) for seed in by_patient(finished, arm["folder"]) for m in seed]
        shown = arm["scores"]["per_patient"]
        assert shown["accuracy"] == pytest.approx(np.mean([s["accuracy"] for s in each]), abs=1e-5)
        assert shown["macro_dice"] == pytest.approx(np.mean([s["macro_dice"] for s in each]), abs=1e-5)


def test_differences_are_those_of_the_scores_shown(results: dict[str, Any]):
    shown = {arm["name"]: arm["scores"] for arm in results["arms"]}
    for found in results["comparisons"]:
        of, base = (shown[found[who]][found["aggregation"]][found["metric"]] for who in ("arm", "baseline"))
        assert found["difference"] == pytest.approx(of - base, abs=2e-6)


def test_each_other_arm_is_compared_with_the_first_in_every_way(results: dict[str, Any]):
    kinds = [(c["arm"], c["baseline"], c["metric"], c["aggregation"]) for c in results["comparisons"]]
    one, other = (arm["name"] for arm in results["arms"])
    expected = [(other, one, m, a) for m in ("macro_dice", "accuracy") for a in ("pooled", "per_patient")]
    assert sorted(kinds) == sorted(expected)
    assert all(c["confidence"] == 0.95 and c["p_holm"] == c["p"] for c in results["comparisons"])  # one arm


def test_what_names_stand_for_is_told_with_its_source(results: dict[str, Any], phantom: Path):
    assert [part["name"] for part in results["parts"]] == ["residual"]
    assert "arXiv:1512.03385" in results["parts"][0]["source"]
    assert all(arm["asked"] is None for arm in results["arms"])
    given = [parse_arm(text, Recipe()) for text in ("unet[width=8,norm=instance]", "attention-unet")]
    study = plan_study(given, replace(Recipe(), crop=48), phantom, None, 2, 1, matched="params")
    assert [_asked(study, arm) for arm in study.arms] == [None, "attention-unet"]
    found = {part["name"]: part["source"] for part in _parts(study)}
    assert "Oktay" in found["attention-unet"]
    assert {"attention-gate", "norm=instance"} <= found.keys()


def test_arms_tell_their_size_and_time(results: dict[str, Any], finished: Path):
    for arm, spec in zip(results["arms"], read_study(finished).specs, strict=True):
        assert arm["name"] == spec.name
        assert arm["parameters"] == parameters(build(spec))
        assert arm["train_minutes"] >= 0


def test_curves_are_those_of_the_logs(results: dict[str, Any], finished: Path):
    assert len(results["curves"]) == 2 * 2 * 2
    folders = {arm["name"]: arm["folder"] for arm in results["arms"]}
    for curve in results["curves"]:
        run = finished / folders[curve["arm"]] / f"fold{curve['fold']}-seed{curve['seed']}"
        rows = [line.split(",") for line in (run / "log.csv").read_text().splitlines()[1:]]
        assert curve["step"] == [int(r[0]) for r in rows] == [1, 2, 3]
        assert curve["loss"] == [float(r[1]) for r in rows]
        assert curve["chosen_step"] in curve["validation_step"]
        best = int(np.argmax(curve["validation_macro_dice"]))
        assert curve["validation_step"][best] == curve["chosen_step"]


def test_pictures_show_image_truth_and_each_prediction_at_one_size(results: dict[str, Any], finished: Path):
    study, groups = read_study(finished), grouping("bcss-5")
    for roi in find_rois(study.data):
        shown = results["rois"][roi.name]
        assert shown["patient"] == roi.patient
        assert roi.patient in results["folds"][shown["fold"] - 1]["test"]
        with Image.open(finished / shown["truth"]) as truth, Image.open(roi.mask) as mask:
            assert np.array_equal(np.asarray(truth), groups.labels(np.asarray(mask)))
            assert set(np.unique(np.asarray(truth))) <= {0, 1, 2, 3, 4, IGNORE}
        with Image.open(finished / shown["image"]) as image:
            assert image.mode == "RGB"
            assert image.size == (96, 96)
        for arm in results["arms"]:
            run = finished / arm["folder"] / f"fold{shown['fold']}-seed0" / "predictions" / f"{roi.name}.png"
            with Image.open(finished / shown["arms"][arm["name"]]["prediction"]) as small, Image.open(run) as whole:
                assert np.array_equal(np.asarray(small), np.asarray(whole))


def test_large_pictures_are_shrunk(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = Path(shutil.copytree(finished, tmp_path / "study"))
    monkeypatch.setattr("ushape.study.pictures.WIDEST", 40)
    written = write_results(copy)
    roi = first(written["rois"])
    for path in (roi["image"], roi["truth"], first(roi["arms"])["prediction"]):
        with Image.open(copy / path) as picture:
            assert picture.size == (40, 40)


def test_writing_again_changes_nothing_but_the_date(finished: Path, results: dict[str, Any], tmp_path: Path):
    copy = Path(shutil.copytree(finished, tmp_path / "finished"))
    again = json.loads(json.dumps(write_results(copy)))
    assert {k: v for k, v in again.items() if k != "created"} == {k: v for k, v in results.items() if k != "created"}


def test_on_the_official_split_test_institutes_alone_are_scored(make_study: Any, train_here: Any, tmp_path: Path):
    data = tmp_path / "data"
    write_phantom(data, patients=6, size=96)
    for path in sorted(data.rglob("PHAN-*.png")):
        number = int(path.name.split("-")[2])
        site = ("OL", "A2", "E2", "D8", "AR", "BH")[number % 6]
        path.rename(path.with_name(re.sub(r"^PHAN-\w\w-0", f"TCGA-{site}-A", path.name)))
    study = make_study(folds="official", seeds=2, data=data, recipe=replace(make_study().recipe, validations=0))
    train_here(study, tmp_path / "study")
    assert read_study(tmp_path / "study") == study
    found = write_results(tmp_path / "study")
    (fold,) = study.folds
    assert [p[5:7] for p in fold.test] == ["E2", "OL"]
    assert (len(fold.train), fold.validation) == (4, ())
    assert found["split"] == "bcss-official@1 (tested on the institutes E2, OL of OL, LL, E2, EW, GM, S3)"
    assert {roi["patient"] for roi in found["rois"].values()} == set(fold.test)
    assert found["comparisons"][0]["patients"] == 2
    assert "--folds official" in found["command"]
    report = write_report(tmp_path / "study", "markdown").read_text()
    assert "bcss-official@1" in report
    assert "6 ROIs of 6 patients" in report
    html = write_report(tmp_path / "study", "html").read_text()
    assert "it had 2 patients for testing, and 4 patients for training" in html
    assert all(part.state == "finished" for part in read_status(tmp_path / "study").parts)
    write_json(tmp_path / "study" / "folds.json", [{**fold.to_dict(), "test": fold.test[:1], "shares": {}}])
    with pytest.raises(RunError, match="was changed"):
        write_results(tmp_path / "study")


def test_an_unfinished_study_has_no_results(finished: Path, tmp_path: Path):
    copy = Path(shutil.copytree(finished, tmp_path / "study"))
    next(copy.glob("*/fold2-seed1/rois.json")).unlink()
    before = (copy / "results.json").read_bytes()
    with pytest.raises(RunError, match=r"1 runs are not finished \(.*fold2-seed1\): run `ushape study resume`"):
        write_results(copy)
    assert (copy / "results.json").read_bytes() == before


@pytest.mark.parametrize("text", ["[]", '{"ROI": {}}', "{"])
def test_damaged_scores_of_a_run_are_told_by_file(finished: Path, tmp_path: Path, text: str):
    copy = Path(shutil.copytree(finished, tmp_path / "study"))
    next(copy.glob("*/fold2-seed1/rois.json")).write_text(text)
    with pytest.raises(Exception, match=r"rois\.json") as caught:
        write_results(copy)
    assert type(caught.value).__module__ == "ushape.errors"
