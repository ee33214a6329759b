"""An ablation from its design to its report, on a small study trained in this process."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ushape.cli import make_parser
from ushape.errors import RunError, SpecError
from ushape.nets.budget import cost
from ushape.nets.spec import modify, parse
from ushape.report.formats import write_report
from ushape.study.design import Study, design_specs, plan_study
from ushape.study.factorial import make_design
from ushape.study.folder import read_study
from ushape.study.results import write_results
from ushape.train.recipe import Recipe

BASE = parse("unet[width=4,levels=3]")
RECIPE = Recipe(crop=48, batch=4, shards=2, steps=2, validations=1, rate=0.02, tta="none")
MODS = ("residual", "se[reduction=2]", "norm=instance")


@pytest.fixture(scope="module")
def study(phantom: Path) -> Study:
    design = make_design("fractional", MODS, 1)
    return plan_study(design_specs(BASE, design), RECIPE, phantom, None, 2, 1, design=design, base=BASE)


@pytest.fixture(scope="module")
def folder(study: Study, train_here: Callable[[Study, Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ablation") / "study"
    train_here(study, out)
    return out


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return write_results(folder)


def test_arms_are_the_base_with_what_is_on(study: Study) -> None:
    assert study.design is not None
    for spec, arm in zip(study.specs, study.design.arms, strict=True):
        assert (spec.block.name == "residual") == ("residual" in arm)
        assert (spec.attention.name == "se") == ("se[reduction=2]" in arm)
        assert (spec.norm.name == "instance") == ("norm=instance" in arm)
    assert study.specs[0] == BASE


def test_it_is_read_back(study: Study, folder: Path) -> None:
    assert read_study(folder) == study


def test_effects_are_contrasts_of_the_arms_scores(study: Study, results: dict[str, Any]) -> None:
    """From the arms' own scores: mean with the change minus mean without it."""
    assert study.design is not None
    pooled = np.array([arm["scores"]["pooled"]["macro_dice"] for arm in results["arms"]])
    for factor in MODS:
        on = np.array([factor in arm for arm in study.design.arms])
        (found,) = [
            e
            for e in results["effects"]
            if (e["effect"], e["metric"], e["aggregation"]) == (factor, "macro_dice", "pooled")
        ]
        assert found["difference"] == pytest.approx(pooled[on].mean() - pooled[~on].mean(), abs=1e-5)
        assert found["low"] <= found["difference"] <= found["high"]
        assert found["p"] <= found["p_holm"] <= 1
        assert len(found["aliases"]) == 1  # a main effect of three factors in four arms is seen with an interaction
        assert found["aliases"][0].startswith("- ")
    assert results["design"] == {
        "kind": "fractional", "factors": list(MODS), "resolution": 3,
        "words": ["- " + " x ".join(sorted(MODS))],  # no arm, or two of three changes: the product of signs is -1
    }  # fmt: skip


def test_its_command_makes_the_same_arms(study: Study, results: dict[str, Any]) -> None:
    words = shlex.split(results["command"])
    options = make_parser().parse_args(words[1:])
    design = make_design(options.design, options.mods, options.halvings)
    assert tuple(design_specs(parse(options.spec), design)) == study.specs


def test_the_report_tells_effects_not_arms(folder: Path, results: dict[str, Any]) -> None:
    page = write_report(folder).read_text()
    assert "What each change adds" in page
    assert "resolution 3" in page
    for factor in MODS:
        assert factor in page
    assert page.count('class="verdict') == len(MODS)


def test_matched_arms_cost_the_same(phantom: Path) -> None:
    made = plan_study([parse("unet[width=16,levels=3]"), parse("unet[width=16,levels=3]+dense")], RECIPE, phantom,
                      None, 2, 1, matched="flops")  # fmt: skip
    first, second = (cost(spec) for spec in made.specs)
    assert made.specs[1].widths != made.specs[0].widths
    assert second.flops == pytest.approx(first.flops, rel=0.02)


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        ("unet+dense", "residual", "both on the axis block"),
        ("unet", "block=plain", "changes nothing"),
        ("unet", "concatenate", "changes nothing"),
        ("unet", "residaul", "did you mean 'residual'"),
    ],
)
def test_changes_that_are_none(base: str, change: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        modify(parse(base), change)


def test_two_changes_of_one_axis_cannot_be_on_together() -> None:
    with pytest.raises(SpecError, match="both on the axis block"):
        design_specs(BASE, make_design("full", ("residual", "dense")))
    assert len(design_specs(BASE, make_design("one-at-a-time", ("residual", "dense")))) == 3


def test_a_factor_given_twice() -> None:
    with pytest.raises(RunError, match="given twice"):
        make_design("full", ("residual", "residual"))
