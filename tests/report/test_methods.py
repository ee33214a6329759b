"""Methods as prose: each sentence from a field, no sentence without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.report.methods import methods, references
from ushape.report.reading import read
from ushape.report.references import WORKS, cite, cited
from ushape.train.recipe import Recipe

Study = Callable[..., Path]
Raw = dict[str, Any]


def told(study: Study, **options: Any) -> str:
    return "\n".join(methods(read(study(**options) / "results.json")))


def test_says_what_the_study_was(study: Study) -> None:
    text = told(study, rois=6, edit=lambda results: results.update(recipe=Recipe().to_dict()))
    for words in (
        "The data (bcss-seed10) were 6 regions of interest (ROIs) from 6 patients. Images and masks "
        "were resampled to 1.2 µm per pixel, at which they were scored.",
        "5 classes (grouping bcss-5@1): tumor (codes 1, 19, 20); stroma (code 2);",
        "Pixels of code 0 were ignored",
        "each of 5 folds had 1 to 2 patients for testing",
        "unet[width=16]+residual was compared with unet[width=16].",
        "In these names, residual stands for convolutions learn a difference (He et al. 2016).",
        "1,942,645 to 2,125,847 parameters and 2.30 to 2.47 GFLOPs",
        "Training took 800 steps of 16 crops of 128 × 128 pixels, once in each fold.",
        "Batch statistics and soft Dice were those of 4 crops at a time.",
        "cross-entropy plus a soft Dice loss (Milletari et al. 2016)",
        "AdamW (Loshchilov and Hutter 2019) with a weight decay of 0.01",
        "the highest learning rate was 0.002.",
        "The weights that were tested are those after the last step.",
        "averaged over the eight flips and quarter turns",
        "A class in neither truth nor prediction has no Dice and no IoU and is left out of a mean",
        "within 10 µm of each other (Nikolov et al. 2021)",
        "95% jackknife-t intervals over 6 patients; with one seed they do not cover the variation from training",
        "Equivalence is concluded where the whole interval lies within ±1 point",
        "ushape 0.1.0 (code 9f3c) with Python 3.11.7 and PyTorch 2.9.1.",
    ):
        assert words in text, words
    assert "Holm" not in text  # one comparison: nothing was adjusted
    assert "Optuna" not in text
    assert "Widths were solved" not in text
    assert "Friedman" not in text


def test_networks_whose_widths_were_solved_keep_their_names(study: Study) -> None:
    def edit(results: Raw) -> None:
        results.update(matched="flops", parts=[])
        results["arms"][1]["asked"] = "attention-unet"

    text = told(study, rois=1, edit=edit)
    assert "At these widths, unet[width=16]+residual is attention-unet." in text
    assert "In these names" not in text


def test_every_key_of_the_recipe_that_changes_results_changes_the_text(study: Study) -> None:
    def of(**changed: Any) -> str:
        def edit(results: Raw) -> None:
            results["recipe"] = Recipe().to_dict() | changed
            results["arms"][1]["spec"] = "unet[widths=16-32-64,encoder=efficientnet-lite]"

        return told(study, rois=1, edit=edit)

    plain = of()
    # The pixel size is that of the data, the grouping has its own sentence; shards and precision are how, not what.
    changes: Raw = {
        "normalise": "none", "crop": 64, "balanced": 0.0, "stain": 0.0, "scale": 0.0, "sharpness": 0.0,
        "pretrained": "none", "steps": 5, "batch": 4, "rate": 0.5, "warmup": 0.3, "weight_decay": 0.5, "clip": 7.0,
        "ema": 0.0, "dice": 0.0, "validations": 6, "tta": "none", "guided": 0,
        "pretrained_rate": 0.1, "elastic": 6.0, "focal": 2.0, "smoothing": 0.1, "class_weight": 0.5, "prior": 0.0,
        "schedule": "cosine", "teacher": "runs/arm", "unlabelled": "tiles",
    }  # fmt: skip
    assert set(Recipe().to_dict()) - set(changes) == {
        "grouping", "mpp", "shards", "precision", "distil", "unlabelled_share",
    }  # fmt: skip
    for key, value in changes.items():
        assert of(**{key: value}) != plain, key
    assert of(pretrained="runs/first") not in (plain, of(pretrained="none"))
    assert of(teacher="runs/arm", distil=2.0) != of(teacher="runs/arm")
    assert of(unlabelled="tiles", unlabelled_share=0.5) != of(unlabelled="tiles")
    assert "runs" not in of(teacher="runs/arm")


def test_an_unknown_recipe_is_not_guessed_at(study: Study) -> None:
    text = told(study, rois=1, edit=lambda results: results.update(recipe={}))
    assert not any(word in text for word in ("AdamW", "loss was", "steps of", "schedule", "flips"))


def test_several_arms_and_seeds(study: Study) -> None:
    text = told(study, arms=3, rois=3, seeds=(0, 1), edit=lambda results: results.update(matched="flops"))
    assert "once in each fold for each of 2 seeds" in text
    assert "runs of 2 seeds in each of 5 folds, as crossed random effects (Dorfman et al. 1992)" in text
    assert "adjusted over the networks compared by Holm's method (Holm 1979)" in text
    assert "came as near as it could to the number of floating-point operations of unet[width=16]" in text
    assert "critical difference of Nemenyi (Demšar 2006)" in text


@pytest.mark.parametrize(
    ("how", "own", "began"),
    [
        ("auto", {}, True),
        ("auto", {"pretrained": "none"}, False),
        ("none", {"pretrained": "auto"}, True),
        ("none", {}, False),
    ],
)
def test_who_began_from_imagenet_is_told_by_name(study: Study, how: str, own: Raw, began: bool) -> None:
    def edit(results: Raw) -> None:
        results["recipe"] = Recipe(pretrained=how).to_dict()
        results["arms"][1].update(spec="unet[widths=16-32-64,encoder=efficientnet-lite]", changes=own)

    text = told(study, rois=1, edit=edit)
    assert ("The encoder of unet[width=16]+residual began from ImageNet weights." in text) == began
    assert ("ImageNet" in text) == began


@pytest.mark.parametrize(
    ("how", "own", "words"),
    [
        ("imagenet", {}, ["The encoder of unet[width=16]+residual began from ImageNet weights."]),
        ("first", {}, ["Networks began from weights of an earlier training, but for the head."]),
        (
            "first",
            {"pretrained": "auto"},
            ["The encoder of unet[width=16]+residual", "unet[width=16] began from"],
        ),
    ],
)
def test_networks_without_weights_to_begin_from_are_not_said_to(
    study: Study, how: str, own: Raw, words: list[str]
) -> None:
    def edit(results: Raw) -> None:
        results["recipe"] = Recipe(pretrained=how).to_dict()
        results["arms"][1].update(spec="unet[widths=16-32-64,encoder=efficientnet-lite]", changes=own)

    text = told(study, rois=1, edit=edit)
    assert all(each in text for each in words)
    assert text.count(" began ") == len(words)


def test_tuning(study: Study) -> None:
    def edit(results: Raw) -> None:
        arms = {a["name"]: [{"fold": 1, "chosen": 0.1, "trials": []}] for a in results["arms"]}
        found = {"key": "rate", "trials": 6, "steps": 200, "reach": 10.0, "optuna": "4.5", "arms": arms}
        results.update(tuning=found)
        results["recipe"] = Recipe().to_dict()

    text = told(study, rois=1, edit=edit)
    assert "with the same recipe, but for the learning rate." in text
    assert "the highest learning rate was tuned as told below" in text
    assert "in 6 trials of 200 steps each, judged by macro Dice on validation patients." in text
    assert "with Optuna 4.5 (Akiba et al. 2019)" in text
    assert "stopped early" not in text


def test_ablation(study: Study, ablated: Callable[[Raw], None]) -> None:
    def fraction(results: Raw) -> None:
        ablated(results)
        results["design"].update(kind="fractional", resolution=4, words=["a x b x c x d"])

    assert "residual, se and aspp were studied in a full factorial design (Montgomery 2017), with 4 networks" in told(
        study, arms=4, rois=2, edit=ablated
    )
    text = told(study, arms=4, rois=2, edit=fraction)
    assert "in a fractional factorial design of resolution 4 (defining relation a x b x c x d)" in text
    assert "adjusted over the effects by Holm's method" in text


def test_one_arm_has_no_statistics(study: Study) -> None:
    text = told(study, arms=1, rois=2)
    assert "One network was trained: unet[width=16]." in text
    assert not any(word in text for word in ("paired", "Equivalence", "p-values", "same recipe"))


def test_what_is_cited_is_listed_and_nothing_else(study: Study) -> None:
    results = read(study(arms=3, rois=2, seeds=(0, 1)) / "results.json")
    text, works = "\n".join(methods(results)), references(results)
    assert "[@" not in text
    listed = [name for name, work in WORKS.values() if work in works]
    assert len(listed) == len(works) >= 8
    assert set(listed) == {name for name, _ in WORKS.values() if f"({name})" in text}


def test_references() -> None:
    assert cite("by Holm [@holm]") == "by Holm (Holm 1979)"
    assert cited(["[@holm] [@guo]", "[@holm]"]) == [WORKS["guo"][1], WORKS["holm"][1]]
    for name, work in WORKS.values():
        assert re.search(r"\((\d{4})\)", work)[1] in name  # type: ignore[index]
        assert name.split(" ")[0] in work
