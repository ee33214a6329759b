"""LaTeX that compiles, CSV that adds up, Markdown that shows what it should, and refusal of anything else."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.report import latex, markdown
from ushape.report.formats import FORMATS, write_report

Study = Callable[..., Path]
Raw = dict[str, Any]

EVIL = r"a_b & 50% #1 $x$ {y} \end{document} ~^ | <i>`q`</i> [z] * -- µ − ± “t”"


def evil(results: Raw) -> None:
    """Put EVIL wherever a user's words can get."""
    old = results["arms"][1]["name"]
    results["arms"][1]["name"] = EVIL
    for c in results["comparisons"]:
        c["arm"] = EVIL
    for roi in results["rois"].values():
        roi["arms"][EVIL] = roi["arms"].pop(old)
    classes = [EVIL, *results["grouping"]["classes"][1:]]
    results["grouping"]["classes"] = classes
    for arm in results["arms"]:
        for score in (*arm["scores"].values(), arm["measures"]["per_image"]):
            score["dice"][EVIL] = 0.5
    results["limits_of_data"] = [EVIL]
    results.update(split=EVIL, command=EVIL)
    results["data"]["folder"] = EVIL


def compile_(text: str) -> None:
    """What a compiler would stop at: braces, environments, dollars, column counts, characters that are commands."""
    bare = re.sub(r"(?<!\\)%.*", "", text)
    bare = re.sub(r"\\[\\{}$&#_%]", "", bare.replace(r"\\", " \n"))
    bare = re.sub(r"\\ensuremath\{(.|\\\w+)\}", "", bare)
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    assert not set('$#^~_|<>"`') & set(bare.replace("``", "")), sorted(set('$#^~_|<>"`') & set(bare))
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", bare):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    for name, columns, body in re.findall(r"\\begin\{(tabular|longtable)\}\{(.*?)\}\n(.*?)\\end\{\1\}", text, re.S):
        n = len(re.sub(r"p\{[\d.]+\\textwidth\}?", "p", columns + "}").rstrip("}"))
        rows = [line for line in body.split("\n") if line.endswith(r" \\") and "&" in line]
        assert rows, name
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {n}


@pytest.mark.parametrize("edit", [lambda results: None, evil])
def test_latex_holds_together(study: Study, edit: Callable[[Raw], None]) -> None:
    folder = study(rois=2, edit=edit)
    assert write_report(folder, "latex") == folder / "report.tex"
    document, body = (folder / "report.tex").read_text(), (folder / "report-body.tex").read_text()
    assert r"\input{report-body.tex}" in document
    assert document.count(r"\begin{document}") == document.count(r"\end{document}") == 1
    for text in (document, body):
        compile_(text)
    assert r"\end{document}" not in body
    for package in re.findall(r"booktabs|longtable|textcomp", body.split("\n")[0]):
        assert rf"\usepackage{{{package}}}" in document
    assert body.count(r"\toprule") == body.count(r"\midrule") == body.count(r"\bottomrule") >= 7
    assert "by Holm" in body
    labels = re.findall(r"\\label\{(.*?)\}", body)
    assert len(set(labels)) == len(labels) >= 7


def test_latex_of_an_ablation_breaks_long_tables(
    study: Study, ablated: Callable[[Raw], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latex, "LONGEST", 10)
    folder = study(arms=4, rois=2, edit=ablated)
    write_report(folder, "latex")
    body = (folder / "report-body.tex").read_text()
    compile_(body)
    assert r"\endhead" in body
    assert r"\begin{tabular}" in body
    assert r"\textbf{residual} helps by 2.1 points of pooled macro Dice {[}0.6, 3.7{]}, p = .008 after Holm." in body


def test_latex_escapes() -> None:
    assert latex.escape("50% of a_b & c") == r"50\% of a\_b \& c"
    assert latex.escape("\\x{y}") == r"\textbackslash{}x\{y\}"
    assert latex.escape("--data a-b") == "-{}-data a-b"
    assert latex.escape("−1 ± 2\n“n”") == r"\ensuremath{-}1 \ensuremath{\pm}2 ``n''".replace("}2", "} 2")
    assert latex.escape("组织") == "组织"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_every_score_in_full(study: Study, ablated: Callable[[Raw], None]) -> None:
    folder = study(arms=3, rois=3, seeds=(0, 1), edit=ablated)
    assert write_report(folder, "csv") == folder / "tables"
    raw, tables = json.loads((folder / "results.json").read_text()), folder / "tables"
    rows = read_csv(tables / "scores.csv")
    found = {(r["arm"], r["metric"], r["aggregation"], r["class"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    for arm in raw["arms"]:
        for key, score in (*arm["scores"].items(), ("per_image", arm["measures"]["per_image"])):
            for metric in ("macro_dice", "accuracy", "balanced_accuracy", "macro_iou", "micro_dice", "micro_iou"):
                assert float(found[arm["name"], metric, key, ""]) == score[metric]
            for kind in ("dice", "iou"):
                for name, value in score[kind].items():
                    assert found[arm["name"], kind, key, name] == ("" if value is None else str(value))
        far = arm["measures"]["hausdorff95_um"]
        assert float(found[arm["name"], "hausdorff95_um", "per_roi", ""]) == far["macro"]
        assert (
            float(found[arm["name"], "expected_calibration_error", "pooled", ""])
            == arm["measures"]["calibration"]["error"]
        )
    for made, wanted, keys in (
        (
            read_csv(tables / "comparisons.csv"),
            raw["comparisons"],
            ("arm", "verdict", "difference", "p_holm"),
        ),
        (read_csv(tables / "effects.csv"), raw["effects"], ("effect", "metric", "verdict", "low", "p_equivalence")),
    ):
        assert [[row[k] for k in keys] for row in made] == [[str(row[k]) for k in keys] for row in wanted]
    assert float(read_csv(tables / "comparisons.csv")[0]["variance_patient"]) == 4e-4
    assert len(read_csv(tables / "rois.csv")) == 3 * 3 * 2
    assert sum(int(r["pixels"]) for r in read_csv(tables / "calibration.csv")) == 3 * 5610
    settings = {r["key"]: r["value"] for r in read_csv(tables / "settings.csv")}
    assert (settings["seeds"], settings["recipe.steps"], settings["version.torch"]) == ("[0, 1]", "1200", "2.9.1")
    assert not (tables / "tuning.csv").exists()


def test_csv_of_tuning(study: Study) -> None:
    def edit(results: Raw) -> None:
        trials = [
            {"rate": 0.001, "macro_dice": 0.5, "pruned": False},
            {"rate": 0.01, "macro_dice": None, "pruned": True},
        ]
        arms = {a["name"]: [{"fold": 1, "chosen": 0.001, "trials": trials}] for a in results["arms"]}
        results["tuning"] = {"key": "rate", "trials": 2, "steps": 20, "reach": 10.0, "optuna": "4.5", "arms": arms}

    folder = study(rois=1, edit=edit)
    rows = read_csv(write_report(folder, "csv") / "tuning.csv")
    assert [(r["trial"], r["rate"], r["macro_dice"], r["pruned"]) for r in rows[:2]] == [
        ("1", "0.001", "0.5", "False"), ("2", "0.01", "", "True")
    ]  # fmt: skip


@pytest.mark.parametrize("edit", [lambda results: None, evil])
def test_markdown(study: Study, edit: Callable[[Raw], None]) -> None:
    folder = study(rois=4, edit=edit)
    text = write_report(folder, "markdown").read_text()
    assert text.startswith("# Does ")
    assert "points of pooled macro Dice" in text
    assert "<i>" not in text.split("## To reproduce")[0]
    blocks = re.findall(r"((?:^\|.*\|\n)+)", text, re.M)
    assert len(blocks) == 3
    for block in blocks:
        lines = block.strip().split("\n")
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"[|\s:-]+", lines[1])
    assert "## Limits" in text


def test_markdown_escapes() -> None:
    assert markdown.escape("a_b|c*d <i> [x]") == r"a\_b\|c\*d &lt;i&gt; \[x\]"


@pytest.mark.parametrize("form", FORMATS)
def test_same_results_same_bytes_and_one_arm(study: Study, form: str) -> None:
    folder = study(arms=1, rois=1)
    made = write_report(folder, form)
    files = sorted(made.iterdir()) if made.is_dir() else [made]
    before = [path.read_bytes() for path in files]
    write_report(folder, form)
    assert [path.read_bytes() for path in files] == before
    assert not list(folder.rglob(".*"))


def test_unknown_format(study: Study) -> None:
    with pytest.raises(RunError, match=r"unknown format 'pdf' \(known: html, latex, csv, markdown\)"):
        write_report(study(rois=1), "pdf")
