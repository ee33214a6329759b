"""Pictures: errors are errors, and ignored pixels are none."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ushape.errors import RunError
from ushape.report import gallery, pictures
from ushape.report.reading import read

Study = Callable[..., Path]
Raw = dict[str, Any]

COLOURS = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]


def decode(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_error_map_colours_wrong_pixels_only() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    truth = np.array([[0, 1, 255], [2, 0, 255]], np.uint8)
    prediction = np.array([[0, 2, 1], [2, 1, 0]], np.uint8)
    out = pictures.error_map(image, truth, prediction, COLOURS)
    assert out[0, 1].tolist() == [0, 0, 200]
    assert out[1, 1].tolist() == [0, 200, 0]
    assert out[0, 0].tolist() == out[1, 0].tolist() == [200, 200, 200]  # pale grey: 255 - 0.35 * 155
    assert (out[:, 2] == 255).all()  # ignored: white, whatever was predicted


def test_ignored_pixels_stay_without_colour_in_the_thumbnail() -> None:
    truth = np.full((60, 90), 255, np.uint8)
    prediction = np.zeros((60, 90), np.uint8)
    errors = pictures.error_map(np.zeros((60, 90, 3), np.uint8), truth, prediction, COLOURS)
    small = np.asarray(decode(pictures.error_jpeg(errors, truth, (45, 30))), int)  # [30, 45, 3]
    assert np.ptp(small, axis=2).max() <= 3  # grey hatching on white
    assert small.min() > 150


def test_label_png_has_the_classes_colours_and_hatches_ignored() -> None:
    labels = np.repeat(np.array([[0, 1, 2, 255]], np.uint8), 40, 0).repeat(20, 1)  # [40, 80]
    picture = decode(pictures.label_png(labels, COLOURS, (80, 40)))
    assert picture.mode == "P"
    rgb = np.asarray(picture.convert("RGB"))
    assert [rgb[0, x].tolist() for x in (5, 25, 45)] == COLOURS
    assert {tuple(c) for c in rgb[:, 60:].reshape(-1, 3).tolist()} == {pictures.WHITE, pictures.LINE}


def test_fit_never_enlarges() -> None:
    assert pictures.fit((1024, 512), 360) == (360, 180)
    assert pictures.fit((512, 1024), 360) == (180, 360)
    assert pictures.fit((100, 50), 360) == (100, 50)
    assert pictures.fit((9000, 1), 360) == (360, 1)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "pictures/../../secret.png"])
def test_pictures_outside_the_study_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="outside the study"):
        pictures.open_labels(tmp_path, name, 3)


def test_foreign_labels_and_modes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3, np.uint8)).save(tmp_path / "three.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "rgb.png")
    with pytest.raises(RunError, match=r"three.png has label 3, but there are 3 classes"):
        pictures.open_labels(tmp_path, "three.png", 3)
    with pytest.raises(RunError, match=r"rgb.png is no 8-bit label map"):
        pictures.open_labels(tmp_path, "rgb.png", 3)


def test_most_disputed_roi_comes_first(study: Study) -> None:
    results = read(study(arms=3) / "results.json")
    gaps = []
    for name in gallery.order(results):
        seen = [a.accuracy or 0 for a in results.rois[name].arms.values()]
        gaps.append(max(seen) - min(seen))
    assert gaps == sorted(gaps, reverse=True)


def test_order_of_one_arm_and_of_missing_scores(study: Study) -> None:
    def edit(results: Raw) -> None:
        for accuracy, roi in zip([0.9, None, 0.2], results["rois"].values(), strict=True):
            roi["arms"]["unet[width=16]"]["accuracy"] = accuracy

    results = read(study(arms=1, rois=3, edit=edit) / "results.json")
    names = list(results.rois)
    assert gallery.order(results) == [names[2], names[0], names[1]]


def test_thumbnails_shrink_until_they_fit(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(size=(200, 300), rois=3)
    results = read(folder / "results.json")
    large, rest = gallery.gallery(folder, results)
    assert [r.size for r in large] == [(300, 200)] * 3
    assert rest == []
    monkeypatch.setattr(gallery, "BUDGET", sum(r.characters for r in large) // 2)
    assert max(gallery.gallery(folder, results)[0][0].size) < 300


def test_what_does_not_fit_is_left_to_the_table(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(rois=5)
    results = read(folder / "results.json")
    names = gallery.order(results)
    full, _ = gallery.gallery(folder, results)
    monkeypatch.setattr(gallery, "BUDGET", full[0].characters + full[1].characters)
    rows, rest = gallery.gallery(folder, results)
    assert [r.name for r in rows] == names[:2]
    assert rest == names[2:]
    monkeypatch.setattr(gallery, "BUDGET", 0)
    assert gallery.gallery(folder, results) == ([], names)
    monkeypatch.undo()
    monkeypatch.setattr(gallery, "MOST", 3)
    rows, rest = gallery.gallery(folder, results)
    assert ([r.name for r in rows], rest) == (names[:3], names[3:])
