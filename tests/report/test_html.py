"""The whole report, from a study folder to one file."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ushape.errors import RunError
from ushape.report import gallery, html
from ushape.report.formats import write_report
from ushape.report.reading import read

Study = Callable[..., Path]
Raw = dict[str, Any]


class Page(HTMLParser):
    """Tags with their attributes, and the text that people read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = [("", {})]
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1][0] != "style":
            self.words += data

    @property
    def text(self) -> str:
        return " ".join(self.words.split())


def page(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_two_arms(study: Study) -> None:
    folder = study()
    shown, raw = page(folder), json.loads((folder / "results.json").read_text())
    assert "Does unet[width=16]+residual beat unet[width=16] on bcss-seed10?" in shown.text
    for arm in raw["arms"]:
        assert f"{arm['parameters']:,}" in shown.text
        for score in arm["scores"].values():
            assert f"{100 * score['macro_dice']:.1f}" in shown.text
            assert f"{100 * score['accuracy']:.1f}" in shown.text
        for value in arm["scores"]["pooled"]["dice"].values():
            assert f"{100 * value:.1f}" in shown.text
    for c in raw["comparisons"]:
        assert f"{100 * c['difference']:+.1f}".replace("-", "−") in shown.text
    for word in ("bcss-5@1", "1.2 µm", "5 patient-level folds", "jackknife-t", "weight_decay", "ushape compare unet"):
        assert word in shown.text
    for name in raw["rois"]:
        assert name in shown.text
    assert sum(tag == "img" for tag, _ in shown.tags) == 6 * (2 + 2 * 2)
    assert sum(tag == "svg" for tag, _ in shown.tags) == 4 + 2 + 2  # differences, calibration, learning
    assert "was in neither mask nor prediction" in shown.text


def test_nothing_is_loaded_and_nothing_runs(study: Study) -> None:
    folder = study()
    shown = page(folder)
    for tag, attributes in shown.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        if tag == "img":
            assert attributes["alt"]
    text = (folder / "report.html").read_text()
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_one_arm(study: Study) -> None:
    folder = study(arms=1)
    shown = page(folder)
    assert "<b>6" not in (folder / "report.html").read_text()  # no best among one
    assert "nothing was compared" in shown.text
    assert "Differences to" not in shown.text
    assert sum(tag == "svg" for tag, _ in shown.tags) == 1 + 1


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_what_is_said_of_the_step_is_so(study: Study, looks: int) -> None:
    def edit(results: Raw) -> None:
        for curve in results["curves"]:
            curve["validation_step"] = curve["step"][-looks:] if looks else []
            curve["validation_macro_dice"] = [0.5] * looks
            curve["chosen_step"] = curve["step"][-1]

    folder = study(rois=1, edit=edit)
    shown, raw = page(folder).text, (folder / "report.html").read_text(encoding="utf-8")
    assert ("step chosen" in shown) == (looks > 1)
    assert ("it was chosen on validation patients only" in shown) == (looks > 1)
    assert ("The weights that were tested are those of the last step" in shown) == (looks <= 1)
    assert ("macro Dice on validation patients, a line for each" in shown) == (looks > 0)
    assert ("Training loss and validation macro Dice of" in raw) == (looks > 0)
    assert ("Training loss of unet" in raw) == (looks == 0)


def test_three_arms_and_seeds(study: Study) -> None:
    versions = {"ushape": "0.1.0", "torch": "2.9.1"}
    shown = page(study(arms=3, seeds=(0, 1, 7), edit=lambda results: results.update(versions=versions)))
    assert "ushape 0.1.0, torch 2.9.1. Results of" in shown.text
    assert "the runs of 3 seeds in each of 5 folds, as crossed random effects" in shown.text
    assert "Where the uncertainty comes from" in shown.text
    assert sum(tag == "svg" for tag, _ in shown.tags) == 4 + 1 + 3 + 3  # differences, ranks, calibration, learning
    assert re.search(r"Seeds ?0, 1, 7", shown.text)
    assert "dotted: seed 7" in shown.text
    assert "shown is seed 0" in shown.text
    verdicts = [a for tag, a in shown.tags if tag == "p" and "verdict" in (a.get("class") or "")]
    assert len(verdicts) == 2


def test_best_is_bold_and_ties_are_both(study: Study) -> None:
    def edit(results: Raw) -> None:
        for arm, score in zip(results["arms"], (0.71402, 0.71399), strict=True):
            arm["scores"]["pooled"]["accuracy"] = score

    text = write_report(study(edit=edit)).read_text()
    assert text.count("<b>71.4</b>") == 2


def test_hostile_text_is_shown_not_run(study: Study) -> None:
    evil = '"><script>alert(1)</script><img src=http://evil.example/x>'

    def edit(results: Raw) -> None:
        roi = results["rois"].pop(next(iter(results["rois"])))
        results["rois"][evil] = roi
        results["arms"][1]["name"] = evil
        for c in results["comparisons"]:
            c["arm"] = evil
        for r in results["rois"].values():
            r["arms"][evil] = r["arms"].pop("unet[width=16]+residual")
            r["patient"] = evil
        results["grouping"]["classes"][0] = evil
        for arm in results["arms"]:
            arm["scores"]["pooled"]["dice"][evil] = 0.5
        for key in ("command", "split"):
            results[key] = evil
        results["recipe"][evil] = evil

    shown = page(study(edit=edit))
    assert evil in shown.text
    assert not any(tag == "script" for tag, _ in shown.tags)
    assert all((a["src"] or "").startswith("data:") for tag, a in shown.tags if tag == "img")


def test_a_score_that_does_not_exist_is_a_dash(study: Study) -> None:
    def edit(results: Raw) -> None:
        for arm in results["arms"]:
            arm["scores"]["pooled"]["dice"]["necrosis"] = None
            arm["confusion"][3] = [0] * 5
        results["comparisons"][0].update(difference=None, low=None, high=None)
        for roi in results["rois"].values():
            for arm in roi["arms"].values():
                arm.update(macro_dice=None, accuracy=None)

    shown = page(study(edit=edit))
    assert "macro Dice –" in shown.text
    assert "could not be compared" in shown.text
    assert not re.search(r"\b(None|nan)\b", shown.text)


def test_same_results_same_bytes(study: Study) -> None:
    folder = study(arms=2, rois=2)
    first = write_report(folder).read_bytes()
    code = "import sys; from pathlib import Path; from ushape.report.formats import write_report as write; "
    code += "write(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env={**os.environ, "PYTHONHASHSEED": "3"})
    assert (folder / "report.html").read_bytes() == first


def test_no_torch_is_imported() -> None:
    code = "import sys, ushape.report.html; print([m for m in sys.modules if m == 'torch' or m.startswith('ushape.')])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    rooms = {word.split(".")[1] for word in re.findall(r"'([\w.]+)'", out) if word != "torch"}
    assert "'torch'" not in out
    assert rooms == {"report", "errors"}


def test_an_ablation(study: Study, ablated: Callable[[Raw], None]) -> None:
    shown = page(study(arms=3, rois=2, edit=ablated))
    assert "What do residual, se, aspp add on bcss-seed10?" in shown.text
    assert "residual helps by 2.1 points of pooled macro Dice [0.6, 3.7], p = .008 after Holm." in shown.text
    assert "Each main effect is the mean score of the arms with the change" in shown.text
    # four panels of effects, one for each pair of three factors
    assert sum(tag == "svg" for tag, _ in shown.tags) == 4 + 3 + 4 + 1 + 3 + 3
    labels = [a["aria-label"] or "" for tag, a in shown.tags if tag == "svg"]
    assert sum("Macro Dice without and with" in label for label in labels) == 3
    for kind in ("Figure", "Table"):
        found = [int(n) for n in re.findall(rf"\b{kind} (\d+)\.", shown.text)]
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= 8


def test_tuning_and_limits_of_data_are_told(study: Study) -> None:
    def edit(results: Raw) -> None:
        trials = [{"rate": 0.001 * i, "macro_dice": 0.5, "pruned": i == 3} for i in (1, 2, 3)]
        searches = [{"fold": k, "chosen": 0.001 * k, "trials": trials} for k in (1, 2)]
        arms = {arm["name"]: searches for arm in results["arms"]}
        found = {"key": "rate", "trials": 3, "steps": 200, "reach": 10.0, "optuna": "4.5", "arms": arms}
        results.update(tuning=found, matched="flops")
        results["limits_of_data"] = ["Two images overlap."]

    shown = page(study(rois=1, edit=edit))
    assert "Search for the learning rate" in shown.text
    assert "0.001 to 0.002" in shown.text
    assert "in 3 trials of 200 steps each" in shown.text
    assert "Trials that fell behind were stopped early." in shown.text
    assert "Widths were solved so that all arms have about the same FLOPs as unet[width=16]" in shown.text
    assert "Two images overlap." in shown.text


def test_of_many_rois_the_most_disputed_are_shown_and_the_others_listed(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST", 2)
    folder = study(rois=5)
    shown, results = page(folder), read(folder / "results.json")
    assert sum(tag == "article" for tag, _ in shown.tags) == 2
    assert "Shown are 2 of 5 ROIs" in shown.text
    listed = shown.text.split("The other 3 ROIs")[1]
    for name in gallery.order(results)[2:]:
        assert name in listed


def test_the_rest_of_a_page_is_small_beside_its_pictures(study: Study) -> None:
    folder = study(arms=3, rois=2, size=(60, 80))
    pictures = sum(row.characters for row in gallery.gallery(folder, read(folder / "results.json"))[0])
    assert write_report(folder).stat().st_size - pictures < 15_000_000 - gallery.BUDGET


MISSING = ["ushape", "arms", "rois", "curves", "comparisons", "grouping", "recipe", "folds", "seeds", "data", "margin",
           "tuning"]  # fmt: skip


@pytest.mark.parametrize("key", MISSING)
def test_missing_key_is_named(study: Study, key: str) -> None:
    folder = study(rois=1, edit=lambda results: results.pop(key))
    with pytest.raises(RunError, match=rf"results.json.*'{key}' is missing.*run `ushape compare` again"):
        write_report(folder)


def wreck_deep(results: Raw) -> None:
    del results["arms"][1]["scores"]["pooled"]["macro_dice"]


def wreck_type(results: Raw) -> None:
    results["arms"][0]["parameters"] = "many"


def wreck_confusion(results: Raw) -> None:
    results["arms"][0]["confusion"].pop()


def wreck_comparisons(results: Raw) -> None:
    results["comparisons"] = results["comparisons"][1:]


def wreck_roi(results: Raw) -> None:
    next(iter(results["rois"].values()))["arms"].popitem()


def wreck_curve(results: Raw) -> None:
    results["curves"][0]["step"].pop()


def wreck_verdict(results: Raw) -> None:
    results["comparisons"][0]["verdict"] = "superb"


def wreck_margin(results: Raw) -> None:
    results["margin"] = 0


def wreck_bins(results: Raw) -> None:
    results["arms"][0]["measures"]["calibration"]["right"].pop()


def wreck_ranks(results: Raw) -> None:
    results["ranks"] = {"metric": "macro_dice", "mean_ranks": {"foreign": 1.0}, "critical_difference": 1.0,
                        "friedman_p": 0.5, "patients": 3, "confidence": 0.95, "groups": []}  # fmt: skip


def wreck_seed(results: Raw) -> None:
    results["curves"][0]["seed"] = 5


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (wreck_deep, r"'arms\[1\].scores.pooled.macro_dice' is missing"),
        (wreck_type, r"'arms\[0\].parameters' should be .* not 'many'"),
        (wreck_confusion, r"'confusion' of 'unet\[width=16\]' is not square"),
        (wreck_comparisons, r"'comparisons' lacks"),
        (wreck_roi, r"lacks an arm"),
        (wreck_curve, r"steps without values"),
        (wreck_seed, r"seed 5"),
        (wreck_verdict, r"verdict 'superb' is none of better, worse, equivalent, unresolved"),
        (wreck_margin, r"'margin' is 0, not above 0"),
        (wreck_bins, r"'calibration' of 'unet\[width=16\]' has bins without numbers"),
        (wreck_ranks, r"'ranks' are not of the arms"),
    ],
)
def test_broken_results_say_where(study: Study, edit: Callable[[Raw], None], complaint: str) -> None:
    with pytest.raises(RunError, match=rf"results.json: .*{complaint}"):
        write_report(study(rois=1, edit=edit))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_unreadable_results(study: Study, content: bytes) -> None:
    folder = study(rois=1)
    (folder / "results.json").write_bytes(content)
    with pytest.raises(RunError, match=r"results\.json"):
        write_report(folder)


def test_missing_results(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"results\.json is missing.*run `ushape compare` again: it resumes"):
        write_report(tmp_path)


@pytest.mark.parametrize("kind", ["image.jpg", "truth.png", "arm1.png"])
def test_missing_or_broken_picture_is_named_and_the_old_report_kept(study: Study, kind: str) -> None:
    folder = study(rois=2)
    (folder / "report.html").write_text("old")
    picture = sorted((folder / "pictures").glob(f"*-{kind}"))[0]
    picture.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(RunError, match=rf"{picture.name} cannot be read"):
        write_report(folder)
    picture.unlink()
    with pytest.raises(RunError, match=rf"{picture.name} is missing; run `ushape compare` again"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "old"


def test_prediction_of_another_size(study: Study) -> None:
    folder, other = study(rois=1), study(rois=1, size=(50, 60))
    picture = next((folder / "pictures").glob("*-arm1.png"))
    picture.write_bytes((other / "pictures" / picture.name).read_bytes())
    with pytest.raises(RunError, match=rf"{picture.name} has not the size of"):
        write_report(folder)


@pytest.mark.parametrize(("code", "told"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "check the folder")])
def test_full_disk_keeps_the_old_report(study: Study, monkeypatch: pytest.MonkeyPatch, code: int, told: str) -> None:
    folder = study(rois=1)
    (folder / "report.html").write_text("old")

    def refuse(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=rf"cannot write .*report\.html: .*{told}.*written before is kept"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "old"
    assert not list(folder.glob(".*"))


def test_setting() -> None:
    assert html.setting({"dice": 0.5, "on": ["a", 1, None, True]}) == "dice: 0.5, on: a, 1, null, true"
    assert html.setting("adamw") == "adamw"
    assert html.setting([]) == "–"


def test_not_a_number_is_a_missing_score(study: Study) -> None:
    def edit(results: Raw) -> None:
        results["curves"][0]["loss"][3] = float("nan")

    assert read(study(rois=1, edit=edit) / "results.json").curves[0].loss[3] is None
