"""Composition counted anew from finished predictions; everything that is none of these is told."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ushape.data.classes import Grouping, grouping
from ushape.errors import DataError, UshapeError
from ushape.predict.composition import composition
from ushape.predict.measure import find_predictions, measure
from ushape.predict.pyramid import save_label_pyramid

FIVE = grouping("bcss-5")
Blobs = Callable[..., Any]
Run = Callable[..., SimpleNamespace]


def predicted(folder: Path, labels: Any, groups: Grouping = FIVE) -> Path:
    """The folder of a finished prediction at 1 µm per px of a slide of 0.25."""
    save_label_pyramid(folder / "labels.ome.tiff", labels, 1.0, groups, {"slide_mpp": 0.25})
    (folder / "provenance.json").write_text('{"composition": "wrong"}')
    return folder


@pytest.fixture
def out(tmp_path: Path, blobs: Blobs) -> Path:
    """Two predictions, as `ushape predict --out` leaves them."""
    for number, name in enumerate(("one", "two")):
        predicted(tmp_path / "out" / name, blobs(200, 300, number))
    (tmp_path / "out" / "composition.csv").write_text("slide\n")
    return tmp_path / "out"


def annotations(path: Path, name: str, left: int, top: int, side: int) -> Path:
    """A square in px of the slide's level 0."""
    corners = [[left, top], [left + side, top], [left + side, top + side], [left, top + side], [left, top]]
    square = {"type": "Polygon", "coordinates": [corners]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"type": "Feature", "geometry": square, "properties": {"name": name}}]))
    return path


def test_compositions_are_those_of_the_label_maps(out: Path, blobs: Blobs) -> None:
    for paths in ([out], [out / "one", out / "two"]):
        made = measure(find_predictions(paths)[0])
        assert made.grouping == FIVE.id
        assert made.compositions == {
            (name, ""): composition(blobs(200, 300, number), 1.0, FIVE) for number, name in enumerate(("one", "two"))
        }


def test_inside_an_annotation_only_its_pixels_count(out: Path, blobs: Blobs, tmp_path: Path) -> None:
    file = annotations(tmp_path / "a.geojson", "region", 160, 80, 400)  # px 40 to 140 and 20 to 120 of the map
    made = measure([out / "one"], file)
    part = blobs(200, 300, 0)[20:120, 40:140]
    assert made.compositions == {("one", "region"): composition(part, 1.0, FIVE)}
    assert made.region == {("one", "region"): pytest.approx(0.01)}


def test_annotations_count_from_the_corner_of_the_scanned_area(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(200, 300, 0)
    (tmp_path / "one").mkdir()
    told = {"slide_mpp": 0.25, "slide_corner_x": 120, "slide_corner_y": 40}
    save_label_pyramid(tmp_path / "one" / "labels.ome.tiff", labels, 1.0, FIVE, told)
    (tmp_path / "one" / "provenance.json").write_text("{}")
    file = annotations(tmp_path / "a.geojson", "region", 40, 40, 400)
    made = measure([tmp_path / "one"], file)
    assert made.compositions == {("one", "region"): composition(labels[20:120, 40:140], 1.0, FIVE)}


def test_a_folder_of_annotations_has_one_file_a_slide(out: Path, blobs: Blobs, tmp_path: Path) -> None:
    for name in ("one", "two"):
        annotations(tmp_path / "drawn" / f"{name}.geojson", f"of {name}", 240, 0, 800)
    made = measure(find_predictions([out])[0], tmp_path / "drawn")
    assert list(made.compositions) == [("one", "of one"), ("two", "of two")]
    (tmp_path / "drawn" / "two.geojson").unlink()
    with pytest.raises(UshapeError, match=r"cannot read .*two\.geojson"):
        measure(find_predictions([out])[0], tmp_path / "drawn")


def test_what_is_no_finished_prediction_is_told(out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no prediction"):
        find_predictions([tmp_path / "empty"])
    with pytest.raises(DataError, match="no such folder"):
        find_predictions([tmp_path / "none"])
    with pytest.raises(DataError, match="named twice"):
        find_predictions([out, out / "one"])
    two = out / "two"
    labels = (two / "labels.ome.tiff").rename(out / "kept.tiff")
    with pytest.raises(DataError, match=r"two: its prediction is not finished, labels\.ome\.tiff is missing: start"):
        find_predictions([two])
    labels.rename(two / "labels.ome.tiff")
    (two / "provenance.json").unlink()
    with pytest.raises(DataError, match="two: its prediction is not finished: start"):
        find_predictions([two])
    shutil.rmtree(two)
    (two / ".work").mkdir(parents=True)
    with pytest.raises(DataError, match="two: its prediction is not finished"):
        find_predictions([two])
    assert find_predictions([out]) == ([out / "one"], [two])  # one that failed does not keep the others from it
    shutil.rmtree(out / "one")
    with pytest.raises(DataError, match="two: its prediction is not finished"):
        find_predictions([out])


def test_slides_of_two_groupings_are_refused(out: Path, blobs: Blobs) -> None:
    predicted(out / "three", blobs(20, 20), grouping("bcss-5-seed"))
    with pytest.raises(DataError, match=r"bcss-5@1, three of bcss-5-seed@1.*apart"):
        measure(sorted(find_predictions([out])[0], key=lambda folder: folder.name == "three"))


def test_annotations_that_cannot_be_those_of_the_slides_are_refused(out: Path, blobs: Blobs, tmp_path: Path) -> None:
    file = annotations(tmp_path / "a.geojson", "far away", 5000, 5000, 100)
    with pytest.raises(DataError, match=r"no annotation lies on the slide of .*one: is it of another slide"):
        measure([out / "one"], file)
    with pytest.raises(DataError, match="belongs to one slide, not to 2"):
        measure(find_predictions([out])[0], file)
    save_label_pyramid(out / "one" / "labels.ome.tiff", blobs(20, 20), 1.0, FIVE, {})
    with pytest.raises(DataError, match="does not say the slide's pixel size"):
        measure([out / "one"], file)


def test_slides_of_one_name_are_refused(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "one", tmp_path / "other" / "one")
    with pytest.raises(DataError, match="same name"):
        measure(find_predictions([out, tmp_path / "other"])[0])


def test_labels_of_no_class_are_told_with_their_file(out: Path) -> None:
    save_label_pyramid(out / "one" / "labels.ome.tiff", np.full((20, 20), 9, np.uint8), 1.0, FIVE, {})
    with pytest.raises(DataError, match=r"one/labels\.ome\.tiff: a label map of 5 classes has label 9"):
        measure([out / "one"])


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_writes_rows(run: Run, out: Path, tmp_path: Path, blobs: Blobs) -> None:
    made = run("measure", out, "--csv", tmp_path / "c.csv", "--json", tmp_path / "c.json")
    assert made.code == 0, made.err
    expected = composition(blobs(200, 300, 0), 1.0, FIVE)
    line = next(line for line in made.out.splitlines() if line.startswith("one"))
    assert line.split()[1] == f"{expected['tissue_mm2']:.3f}"
    assert line.split()[2] == f"{100 * expected['classes']['tumor']['share']:.1f}"
    assert line.split()[-2] == f"{100 * expected['tumor_stroma_ratio']:.1f}"
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide"] for row in rows] == ["one", "two"]
    assert float(rows[0]["stroma_mm2"]) == expected["classes"]["stroma"]["mm2"]
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["grouping"] == FIVE.id
    assert content["rows"][0] == {"slide": "one", **expected}


def test_the_command_measures_inside_annotations(run: Run, out: Path, tmp_path: Path) -> None:
    file = annotations(tmp_path / "a.geojson", "centre", 400, 400, 100)
    made = run("measure", out / "one", "--inside", file, "--csv", tmp_path / "c.csv")
    assert made.code == 0, made.err
    assert "centre" in made.out
    with (tmp_path / "c.csv").open(newline="") as rows:
        (row,) = csv.DictReader(rows)
    assert (row["slide"], row["annotation"]) == ("one", "centre")
    assert float(row["region_mm2"]) == pytest.approx(25 * 25 / 1e6)


def test_a_damaged_map_is_one_line_and_no_file(run: Run, out: Path, tmp_path: Path) -> None:
    path = out / "two" / "labels.ome.tiff"
    path.write_bytes(path.read_bytes()[:400])
    made = run("measure", out, "--csv", tmp_path / "c.csv")
    assert made.code == 2
    assert len([line for line in made.err.splitlines() if line.startswith("ushape: ")]) == 1
    assert "labels.ome.tiff" in made.err
    assert not (tmp_path / "c.csv").exists()
