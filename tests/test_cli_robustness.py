"""`ushape robustness` and ensembles in `ushape evaluate`, on untrained networks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ushape.data.classes import grouping
from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.nets.unet import build
from ushape.nets.weights import save_weights

SPEC = "unet[width=4,levels=2]"
Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robustness") / "phantom"
    write_phantom(folder, patients=3, size=64)
    return folder


@pytest.fixture
def names(phantom: Path) -> list[str]:
    return [roi.patient for roi in find_rois(phantom)]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """save(name, start, spec, **about): the folder of an untrained network."""

    def write(name: str, start: int = 0, spec: str = SPEC, **about: Any) -> Path:
        told = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": "stain", "tta": "none", "seed": 0}
        seen = {"trained_on": [], "validated_on": []}
        save_weights(tmp_path / name / "weights.safetensors", build(spec, seed=start), told | seen | about)
        return tmp_path / name

    return write


def assert_refused(made: SimpleNamespace, *words: str) -> None:
    assert made.code == 2
    assert len(made.err.splitlines()) == 1, made.err
    for word in words:
        assert word in made.err, made.err


# -- robustness ------------------------------------------------------------------------------------------------------


def test_a_test_leaves_a_table_and_a_figure(
    run: Run, save: Callable[..., Path], phantom: Path, names: list[str], tmp_path: Path
):
    one, other = save("one", trained_on=[names[0]]), save("other", spec=f"{SPEC}+residual")
    words = ["robustness", one, other, "--data", phantom, "--out", tmp_path / "out", "--threads", 1, "--device", "cpu"]
    made = run(*words)
    assert made.code == 0, made.err
    assert "scored on 2 ROIs; left out: 1 patients" in made.out
    assert f"{SPEC}+residual" in made.out
    assert "robustness.svg" in made.out
    assert (tmp_path / "out" / "robustness.svg").read_text().startswith("<?xml")
    with (tmp_path / "out" / "robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 23
    assert {(row["arm"], row["patients"]) for row in rows} == {(SPEC, "2"), (f"{SPEC}+residual", "2")}
    for row in rows:
        if row["degradation"] != "none":
            whole = next(r for r in rows if r["arm"] == row["arm"] and r["degradation"] == "none")
            for score in ("macro_dice", "accuracy"):
                fall = float(whole[score]) - float(row[score])
                assert float(row[f"{score}_fall"]) == pytest.approx(fall, abs=3e-6)
                assert float(row[f"{score}_low"]) <= float(row[f"{score}_fall"]) <= float(row[f"{score}_high"])
    kept = (tmp_path / "out" / "robustness.csv").read_bytes()
    assert run(*words).code == 0
    assert (tmp_path / "out" / "robustness.csv").read_bytes() == kept
    assert_refused(run(*words, "--tta", "flips"), "belongs to another robustness test", "tta")


def test_a_network_is_not_judged_on_patients_that_it_saw(
    run: Run, save: Callable[..., Path], phantom: Path, names: list[str], tmp_path: Path
):
    seen = save("seen", trained_on=names[:2], validated_on=names[2:])
    made = run("robustness", seen, "--data", phantom, "--out", tmp_path / "out")
    assert_refused(made, "every patient of the data was in its training or validation set")
    assert not (tmp_path / "out").exists()


# -- ensembles -------------------------------------------------------------------------------------------------------


def test_the_mean_of_networks_is_scored_and_told(
    run: Run, save: Callable[..., Path], phantom: Path, names: list[str], tmp_path: Path
):
    one, other = save("one", 0, trained_on=[names[0]]), save("other", 1, seed=4, validated_on=[names[1]])
    scored = {}
    for what in ([one], [other], [one, other], [other, one]):
        made = run("evaluate", *what, "--data", phantom, "--threads", 1, "--json", tmp_path / "s.json")
        assert made.code == 0, made.err
        scored[tuple(path.name for path in what)] = json.loads((tmp_path / "s.json").read_text())
    both = scored["one", "other"]
    assert both["networks"] == [
        {"weights": str(one), "spec": SPEC, "seed": 0},
        {"weights": str(other), "spec": SPEC, "seed": 4},
    ]
    assert both["seen_patients"] == sorted(names[:2])
    assert scored["one",]["seen_patients"] == names[:1]
    assert both["pooled"] == scored["other", "one"]["pooled"]
    assert both["pooled"] not in (scored["one",]["pooled"], scored["other",]["pooled"])
    assert "2 of these patients were in a network's training" in made.out


@pytest.mark.parametrize(
    ("about", "words"), [({"mpp": 0.6}, ["its mpp is 0.6"]), ({"tta": "d4"}, ["different tta", "--tta"])]
)
def test_networks_that_do_not_go_together_are_refused(
    run: Run, save: Callable[..., Path], phantom: Path, tmp_path: Path, about: dict[str, Any], words: list[str]
):
    made = run("evaluate", save("one"), save("other", 1, **about), "--data", phantom, "--json", tmp_path / "s.json")
    assert_refused(made, *words)
    assert not (tmp_path / "s.json").exists()


def test_a_network_named_twice_is_refused(run: Run, save: Callable[..., Path], phantom: Path):
    one = save("one")
    assert_refused(run("evaluate", one, one / "weights.safetensors", "--data", phantom), "named twice")
