"""Tables: rows of texts, as many as heads, made once for all formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ushape.report import sheets
from ushape.report.reading import read
from ushape.report.sheets import Sheet

Study = Callable[..., Path]
Raw = dict[str, Any]


def test_every_row_has_as_many_texts_as_heads(study: Study, ablated: Callable[[Raw], None]) -> None:
    results = read(study(arms=3, rois=2, seeds=(0, 1), edit=ablated) / "results.json")
    made = [*sheets.sheets(results), sheets.regions(results, list(results.rois))]
    assert [s.key for s in made] == [
        "arms", "scores", "dice-by-class", "iou-by-class", "borders", "comparisons", "effects", "tests", "rois",
    ]  # fmt: skip
    for sheet in made:
        assert {len(row) for row in sheet.rows} == {len(sheet.heads)}
        assert sum(sheet.spans) == len(sheet.rows)


def test_spans() -> None:
    assert Sheet("k", "t", ["h"], [["a"], [""], [""], ["b"]], "").spans == [3, 0, 0, 1]
    assert Sheet("k", "t", ["h"], [], "").spans == []


def test_what_an_arm_got(study: Study) -> None:
    def edit(results: Raw) -> None:
        for curve in results["curves"]:
            if curve["fold"] == 2:
                curve["step"], curve["loss"] = curve["step"][:-1], curve["loss"][:-1]

    sheet = sheets.fairness(read(study(rois=1, edit=edit) / "results.json"))
    assert sheet.rows[0] == ["unet[width=16]", "1,942,645", "2.30", "5", "1,190 to 1,200", "–", "60.1"]
    plain = study(rois=1, edit=lambda results: results["recipe"].update(rate=0.002))
    assert sheets.fairness(read(plain / "results.json")).rows[1][4:6] == ["1,200", "0.002"]

    def own(results: Raw) -> None:
        results["recipe"].update(rate=0.002)
        results["arms"][1]["changes"] = {"rate": 0.0005}

    rows = sheets.fairness(read(study(rois=1, edit=own) / "results.json")).rows
    assert [row[5] for row in rows] == ["0.002", "0.0005"]


def test_what_arms_begin_from_is_told_where_they_differ(study: Study) -> None:
    def edit(results: Raw) -> None:
        results["recipe"]["pretrained"] = "auto"
        results["arms"][1].update(spec="unet[widths=16-32-64,encoder=efficientnet-lite]")
        results["arms"][2]["changes"] = {"pretrained": "first/weights.safetensors"}

    sheet = sheets.fairness(read(study(arms=3, rois=1, edit=edit) / "results.json"))
    assert [row[sheet.heads.index("Begins from")] for row in sheet.rows] == [
        "random weights",
        "ImageNet",
        "an earlier training",
    ]
    assert all(len(row) == len(sheet.heads) for row in sheet.rows)
    assert "Begins from" not in sheets.fairness(read(study(arms=3, rois=1) / "results.json")).heads


def test_scores_that_do_not_exist_are_dashes(study: Study) -> None:
    def edit(results: Raw) -> None:
        for measure in ("surface_dice", "hausdorff95_um"):
            results["arms"][0]["measures"][measure].update(macro=None, classes={})
        results["arms"][0]["scores"]["pooled"]["balanced_accuracy"] = None

    results = read(study(rois=1, edit=edit) / "results.json")
    assert sheets.boundaries(results).rows[0][2:] == ["–"] * 6
    assert sheets.overall(results).rows[0][-1] == "–"


def test_arms_of_regions_have_letters(study: Study) -> None:
    results = read(study(arms=3, rois=2) / "results.json")
    sheet = sheets.regions(results, list(results.rois))
    assert sheet.heads[2:] == ["A accuracy", "B accuracy", "C accuracy", "A Dice", "B Dice", "C Dice"]
    assert "B: unet[width=16]+residual;" in sheet.note
