"""Slides to folders of results: what is written, how it goes on after a kill, what is refused, what one bad costs."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ushape.data.classes import IGNORE, grouping
from ushape.data.phantom import phantom_roi
from ushape.errors import DataError, UshapeError
from ushape.locks import holding
from ushape.nets.unet import build
from ushape.nets.weights import load_weights, save_weights
from ushape.predict.canvas import Part
from ushape.predict.engines.torch_engine import TorchEngine
from ushape.predict.guided import guided
from ushape.predict.job import PROVENANCE, WORK, Settings, SlideJob
from ushape.predict.measure import measure
from ushape.predict.slides.tiff import TiffSlide
from ushape.predict.stream import stream
from ushape.predict.tiling import plan
from ushape.predict.whole import Outcome, Outputs, begun_with, check_classes, predict_slides, settings_for
from ushape.threads import Lanes

tifffile = pytest.importorskip("tifffile", reason="the extra `slides` is not installed")

GROUPS = grouping("bcss-5")
OUTPUTS = Outputs(GROUPS.classes, 0.0)
Bytes = NDArray[np.uint8]


class ByColour:
    """An engine whose class is told by how red a pixel is: nothing to learn, everything to lay together."""

    name, precision, classes, description = "by-colour", "float32", 5, "by-colour, float32"

    def __init__(self, stop: int = 10**9, error: BaseException | None = None) -> None:
        self.calls, self.stop, self.error = 0, stop, error

    def probabilities(self, tile: Bytes, stain: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls > self.stop and self.error is not None:
            raise self.error
        likely = np.minimum(tile[..., 0] // 52, 4)
        return np.stack([np.where(likely == c, 0.8, 0.05) for c in range(5)]).astype(np.float32)

    def labels(self, tile: Bytes, stain: NDArray[np.float32]) -> Bytes:
        return self.probabilities(tile, stain).argmax(0).astype(np.uint8)


SETTINGS = Settings(
    network="0" * 64, grouping=GROUPS.id, classes=5, mpp=1.0, normalise="none", engine="by-colour", precision="float32",
    tta="none", guided=0, tissue="all", saturation=None, tile=64, margin=8, grid=8, probabilities=False,
)  # fmt: skip


HERE = [("by-colour", "float32"), ("torch", "float32")]
"""Engines and precisions that can be had."""


def make(path: Path, height: int = 150, width: int = 200, seed: int = 0) -> Bytes:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    array = coarse.repeat(10, 0).repeat(10, 1)
    Image.fromarray(array).save(path)
    return array


def run(slides: list[Path], out: Path, engine: Any = None, **changed: Any) -> Outcome:
    settings = SETTINGS if not changed else Settings(**{**vars(SETTINGS), **changed})
    with Lanes(2) as lanes:
        return predict_slides(slides, out, engine or ByColour(), settings, GROUPS, OUTPUTS, lanes, mpp=1.0)


@pytest.mark.parametrize("margin", [8, None])
@pytest.mark.parametrize("probabilities", [False, True])
def test_what_is_written_is_what_the_engine_says(tmp_path: Path, margin: int | None, probabilities: bool) -> None:
    images = {name: make(tmp_path / f"{name}.png", seed=i) for i, name in enumerate("ab")}
    tile = 64 if margin else 256
    made = run(sorted(tmp_path.glob("*.png")), tmp_path / "out", tile=tile, margin=margin, probabilities=probabilities)
    assert made == Outcome(("a.png", "b.png"), (), {}, {}, ())
    for name, image in images.items():
        folder = tmp_path / "out" / name
        expected = np.minimum(image[..., 0] // 52, 4)
        assert np.array_equal(tifffile.imread(folder / "labels.ome.tiff"), expected)
        told = json.loads((folder / PROVENANCE).read_text())
        assert told["slide"]["path"] == str((tmp_path / f"{name}.png").resolve())
        counts = np.bincount(expected.ravel(), minlength=5)
        for c, n in zip(GROUPS.classes, counts, strict=True):
            assert told["composition"]["classes"][c]["mm2"] == pytest.approx(n / 1e6)
        features = json.loads((folder / "polygons.geojson").read_text())["features"]
        assert {f["properties"]["classification"]["name"] for f in features} == set(GROUPS.classes)
        assert (folder / "overlay.png").stat().st_size > 1000
        assert (folder / "probabilities.ome.tiff").exists() == probabilities
        assert not (folder / WORK).exists()
    if probabilities:
        layers = tifffile.imread(tmp_path / "out" / "b" / "probabilities.ome.tiff")
        assert np.array_equal(layers[2] > 128, np.minimum(images["b"][..., 0] // 52, 4) == 2)
    rows = list(csv.DictReader((tmp_path / "out" / "composition.csv").read_text().splitlines()))
    assert [(row["slide"], Path(row["file"]).name) for row in rows] == [("a", "a.png"), ("b", "b.png")]
    assert float(rows[0]["tissue_mm2"]) == pytest.approx(0.03)


def test_all_slides_that_cannot_be_predicted_are_told_of_at_once(tmp_path: Path) -> None:
    for i, name in enumerate("abc"):
        make(tmp_path / f"{name}.png", seed=i)
    for name in "ac":
        os.truncate(tmp_path / f"{name}.png", 100)
    engine = ByColour()
    with pytest.raises(DataError) as caught:
        run(sorted(tmp_path.glob("*.png")), tmp_path / "out", engine)
    first, *others = str(caught.value).splitlines()
    assert first == "2 of 3 slides cannot be predicted:"
    assert ["a.png" in others[0], "c.png" in others[1], len(others)] == [True, True, 2]
    assert engine.calls == 0


@pytest.mark.parametrize(("tile", "margin"), [(64, 8), (96, 16), (256, None)])
def test_a_filter_sees_the_whole_slide_wherever_tiles_lie(tmp_path: Path, tile: int, margin: int | None) -> None:
    image = make(tmp_path / "a.png", 150, 203)
    settings = {"tile": tile, "margin": margin, "guided": 12, "probabilities": True}
    first = ByColour(stop=4 if margin else 2, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "a.png"], tmp_path / "out", first, **settings)
    again = run([tmp_path / "a.png"], tmp_path / "out", **settings)
    assert again.failed == {}
    expected = guided(ByColour().probabilities(image, np.eye(3, dtype=np.float32)), image, 12)
    layers = tifffile.imread(tmp_path / "out" / "a" / "probabilities.ome.tiff")
    inner = np.s_[:144, :196]  # cells at the border are cut off in one and mirrored in the other
    for c in range(5):
        assert np.abs(layers[c][inner] / 255 - expected[c][inner]).max() < 0.02
    labels = tifffile.imread(tmp_path / "out" / "a" / "labels.ome.tiff")
    assert (labels == expected.argmax(0)).mean() > 0.99
    assert (labels == np.minimum(image[..., 0] // 52, 4)).mean() < 0.9


def test_background_is_skipped_and_marked(tmp_path: Path) -> None:
    image = np.full((600, 900, 3), 245, np.uint8)
    image[200:330, 300:420] = (150, 60, 120)
    Image.fromarray(image).save(tmp_path / "a.png")
    engine = ByColour()
    run([tmp_path / "a.png"], tmp_path / "out", engine, tissue="auto")
    labels = tifffile.imread(tmp_path / "out" / "a" / "labels.ome.tiff")
    assert (labels[200:330, 300:420] == 2).all()
    assert (labels[:100] == IGNORE).all()
    assert (labels[:, :200] == IGNORE).all()
    assert engine.calls < 40  # of 252 tiles


def test_a_killed_prediction_goes_on_where_it_was(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    run([tmp_path / "a.png"], tmp_path / "whole")
    first = ByColour(stop=7, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "a.png"], tmp_path / "out", first)
    here, chosen = (tmp_path / "out", [tmp_path / "a.png"], SETTINGS.network), ("by-colour", "float32")
    assert begun_with(*here, ("auto", "auto"), HERE) == chosen
    second = ByColour()
    assert run([tmp_path / "a.png"], tmp_path / "out", second).predicted == ("a.png",)
    total = 5 * 4  # tiles of 48 px cores over 200 x 150
    assert total - 7 <= second.calls < total
    for name in ("labels.ome.tiff", "polygons.geojson"):
        one, other = (tmp_path / out / "a" / name for out in ("whole", "out"))
        if name.endswith("tiff"):
            assert np.array_equal(tifffile.imread(one), tifffile.imread(other))
        else:
            assert one.read_text() == other.read_text()
    third = ByColour()
    assert run([tmp_path / "a.png"], tmp_path / "out", third) == Outcome((), ("a.png",), {}, {}, ())
    assert third.calls == 0
    assert begun_with(*here, ("auto", "float32"), HERE) == chosen
    assert begun_with(*here, ("by-colour", "auto"), []) == chosen
    assert begun_with(*here, ("auto", "int8"), HERE) == ("auto", "int8")
    assert begun_with(tmp_path / "none", *here[1:], ("torch", "auto"), HERE) == ("torch", "auto")
    others = tmp_path / "out", [tmp_path / "b.png"], here[2]
    assert begun_with(*others, ("auto", "auto"), HERE) == chosen
    assert begun_with(*others, ("auto", "auto"), HERE[1:]) == ("auto", "auto")
    assert begun_with(*here[:2], "1" * 64, ("auto", "auto"), HERE) == ("auto", "auto")


def test_a_tile_of_the_file_that_is_damaged_is_background_after_a_kill_too(tmp_path: Path) -> None:
    image = make(tmp_path / "a.png", 640, 640)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(128, 128), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        start = file.pages[0].dataoffsets[6]  # second row, second column
    with (tmp_path / "a.tif").open("r+b") as written:
        written.seek(start)
        written.write(bytes(60))
    where = np.zeros((640, 640), bool)
    where[128:256, 128:256] = True
    for stop, out in ((10**9, "whole"), (90, "out")):
        if stop < 10**9:
            with pytest.raises(KeyboardInterrupt):
                run([tmp_path / "a.tif"], tmp_path / out, ByColour(stop, KeyboardInterrupt()), probabilities=True)
        made = run([tmp_path / "a.tif"], tmp_path / out, probabilities=True)
        assert {name: count for name, (count, _) in made.broken.items()} == {"a.tif": 1}
        assert "a.tif" in made.broken["a.tif"][1] or stop < 10**9
        folder = tmp_path / out / "a"
        assert np.array_equal(tifffile.imread(folder / "labels.ome.tiff") == IGNORE, where)
        assert np.array_equal(tifffile.imread(folder / "probabilities.ome.tiff").sum(0) == 0, where)
        told = json.loads((folder / PROVENANCE).read_text())
        assert told["broken"] == [[128, 128, 128, 128]]
        assert told["composition"]["tissue_mm2"] == pytest.approx((640**2 - 128**2) / 1e6)


def test_polygons_count_from_the_corner_of_the_scanned_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a.png")
    monkeypatch.setattr("ushape.predict.slides.image.ImageSlide.corner", (30, 20))
    run([tmp_path / "a.png"], tmp_path / "out")
    features = json.loads((tmp_path / "out" / "a" / "polygons.geojson").read_text())["features"]
    parts = [f["geometry"] for f in features]
    polygons = [q for p in parts for q in ([p["coordinates"]] if p["type"] == "Polygon" else p["coordinates"])]
    corners = np.array([corner for polygon in polygons for ring in polygon for corner in ring])
    assert corners.min(0).tolist() == [-30, -20]
    assert corners.max(0).tolist() == [200 - 30, 150 - 20]
    measured = measure([tmp_path / "out" / "a"], tmp_path / "out" / "a" / "polygons.geojson")
    assert sum(measured.region.values()) == pytest.approx(0.03)


def test_the_table_is_of_all_finished_slides(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        make(tmp_path / f"{name}.png", seed=i)
        run([tmp_path / f"{name}.png"], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "composition.csv").read_text().splitlines()))
    assert [row["slide"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize("content", ['{"tool": "another"}', "[1]", "no JSON", '{"settings": 1, "slide": {}}'])
def test_provenance_of_other_programs_is_passed_over_but_in_the_slide_s_own_folder(
    tmp_path: Path, content: str
) -> None:
    make(tmp_path / "a.png")
    for name in ("0", "a"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / PROVENANCE).write_text(content)
    engine = ByColour()
    with pytest.raises(UshapeError, match=r"out/a/provenance\.json(: is not of `ushape predict`: choose| is not JSON)"):
        run([tmp_path / "a.png"], tmp_path / "out", engine)
    assert engine.calls == 0
    with pytest.raises(UshapeError, match=r"out/a/provenance\.json"):
        begun_with(tmp_path / "out", [tmp_path / "a.png"], SETTINGS.network, ("auto", "auto"), HERE)
    assert begun_with(tmp_path / "out", [], SETTINGS.network, ("auto", "auto"), HERE) == ("auto", "auto")
    (tmp_path / "out" / "a" / PROVENANCE).unlink()
    assert run([tmp_path / "a.png"], tmp_path / "out").predicted == ("a.png",)
    assert len((tmp_path / "out" / "composition.csv").read_text().splitlines()) == 2


def test_a_label_map_that_was_removed_is_made_again(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    run([tmp_path / "a.png"], tmp_path / "out")
    labels = tmp_path / "out" / "a" / "labels.ome.tiff"
    before = tifffile.imread(labels)
    labels.unlink()
    assert run([tmp_path / "a.png"], tmp_path / "out").predicted == ("a.png",)
    assert np.array_equal(tifffile.imread(labels), before)
    assert run([tmp_path / "a.png"], tmp_path / "out").before == ("a.png",)


def test_tiles_of_nobody_knows_what_are_computed_again(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    engine = ByColour(stop=4, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "a.png"], tmp_path / "out", engine)
    (tmp_path / "out" / "a" / WORK / "plan.json").unlink()
    engine = ByColour()
    whole = ByColour()
    run([tmp_path / "a.png"], tmp_path / "out", engine)
    run([tmp_path / "a.png"], tmp_path / "other", whole)
    assert engine.calls == whole.calls > 4


def test_the_table_holds_what_was_finished_before_an_interruption(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        make(tmp_path / f"{name}.png", seed=i)
    run([tmp_path / "a.png"], tmp_path / "out")
    (tmp_path / "out" / "composition.csv").unlink()
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "b.png"], tmp_path / "out", ByColour(stop=4, error=KeyboardInterrupt()))
    (row,) = csv.DictReader((tmp_path / "out" / "composition.csv").read_text().splitlines())
    assert row["slide"] == "a"


def test_what_another_process_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was unfinished when this one looked, and finished when this one came to it."""
    make(tmp_path / "a.png")
    run([tmp_path / "a.png"], tmp_path / "out")
    there = (tmp_path / "out" / "a" / PROVENANCE).read_text()
    monkeypatch.setattr("ushape.predict.whole.finished", lambda job: False)
    engine = ByColour()
    assert run([tmp_path / "a.png"], tmp_path / "out", engine) == Outcome((), ("a.png",), {}, {}, ())
    assert engine.calls == 0
    assert (tmp_path / "out" / "a" / PROVENANCE).read_text() == there


def test_a_folder_that_another_process_works_in_stops_its_slide_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.png")
    make(tmp_path / "b.png", seed=1)
    monkeypatch.setattr("ushape.predict.job.holding", partial(holding, patience=0.1))
    (tmp_path / "out" / "a").mkdir(parents=True)
    with holding(tmp_path / "out" / "a"):
        made = run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert made.predicted == ("b.png",)
    assert "another process is at work" in str(made.failed["a.png"])
    assert run([tmp_path / "a.png"], tmp_path / "out").predicted == ("a.png",)


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / ".labels.ome.tiff.1.part").write_bytes(b"half")
    run([tmp_path / "a.png"], tmp_path / "out")
    assert not list((tmp_path / "out" / "a").glob(".*"))


def test_one_folder_holds_one_prediction(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(KeyboardInterrupt):
        run([tmp_path / "a.png"], tmp_path / "out", ByColour(3, KeyboardInterrupt()))
    with pytest.raises(
        UshapeError, match=r"out/a holds an unfinished prediction of another setting \(tta none, not d4\)"
    ):
        run([tmp_path / "a.png"], tmp_path / "out", tta="d4")
    make(tmp_path / "0.png")
    engine = ByColour()
    with pytest.raises(UshapeError, match="holds an unfinished prediction of another"):
        run([tmp_path / "0.png", tmp_path / "a.png"], tmp_path / "out", engine, tta="d4")
    assert engine.calls == 0  # before anything is computed
    run([tmp_path / "a.png"], tmp_path / "out")
    with pytest.raises(UshapeError, match=r"holds the results of another setting \(tile 64, not 128\): choose another"):
        run([tmp_path / "a.png"], tmp_path / "out", tile=128)
    make(tmp_path / "a.png", 160, 210)
    os.utime(tmp_path / "a.png", (1, 1))
    with pytest.raises(UshapeError, match="holds the results of another slide"):
        run([tmp_path / "a.png"], tmp_path / "out")


def test_a_slide_that_fails_in_the_middle_does_not_stop_the_others(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    make(tmp_path / "b.png", seed=1)
    failing = ByColour()
    labels = failing.labels

    def sometimes(tile: Bytes, stain: NDArray[np.float32]) -> Bytes:
        if failing.calls == 4:
            failing.calls += 1
            raise DataError("a.png: its middle is gone")
        return labels(tile, stain)

    failing.labels = sometimes  # type: ignore[method-assign]
    made = run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", failing)
    assert made.predicted == ("b.png",)
    assert str(made.failed["a.png"]) == "a.png: its middle is gone"
    assert (tmp_path / "out" / "a" / WORK).exists()
    assert len((tmp_path / "out" / "composition.csv").read_text().splitlines()) == 2
    assert run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out").predicted == ("a.png",)
    assert len((tmp_path / "out" / "composition.csv").read_text().splitlines()) == 3


def test_a_disk_that_is_gone_leaves_its_slide_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make(tmp_path / "b.png", 640, 640)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(128, 128), compression="deflate", photometric="rgb")
    slides, read = [tmp_path / "a.tif", tmp_path / "b.png"], TiffSlide._bytes
    calls = itertools.count()

    def sometimes(self: TiffSlide, page: Any, index: int) -> bytes | None:
        if next(calls) > 12:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(self, page, index)

    with monkeypatch.context() as patched:
        patched.setattr(TiffSlide, "_bytes", sometimes)
        made = run(slides, tmp_path / "out")
    assert made.predicted == ("b.png",)
    assert "Stale file handle" in str(made.failed["a.tif"])
    assert not (tmp_path / "out" / "a" / PROVENANCE).exists()
    assert run(slides, tmp_path / "out") == Outcome(("a.tif",), ("b.png",), {}, {}, ())
    one, other = (tifffile.imread(tmp_path / "out" / name / "labels.ome.tiff") for name in "ab")
    assert np.array_equal(one, other)


def test_a_slide_that_goes_or_changes_meanwhile_is_that_slide_s_alone(tmp_path: Path) -> None:
    slides = [tmp_path / f"{name}.png" for name in "abc"]
    for i, path in enumerate(slides):
        make(path, seed=i)

    class Mover(ByColour):
        def labels(self, tile: Bytes, stain: NDArray[np.float32]) -> Bytes:
            if self.calls == 2:  # while a is computed
                make(slides[0], 160, 210)
                os.utime(slides[0], (1, 1))
                slides[1].unlink(missing_ok=True)
            return super().labels(tile, stain)

    made = run(slides, tmp_path / "out", Mover())
    assert made.predicted == ("c.png",)
    assert "a.png: was changed while it was predicted" in str(made.failed["a.png"])
    assert "b.png: cannot be read any more (No such file" in str(made.failed["b.png"])
    assert len((tmp_path / "out" / "composition.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "out" / "a" / PROVENANCE).exists()


def test_tiles_that_see_an_image_larger_and_smaller_leave_no_seams(tmp_path: Path) -> None:
    """At each size all of them pool on one grid, wherever they lie."""
    net = build("unet[width=4,levels=3]", seed=0)
    about = {"grouping": GROUPS.describe(), "mpp": 1.0, "normalise": "none", "tta": "zooms"}
    path = tmp_path / "weights.safetensors"
    save_weights(path, net, about)
    Image.fromarray(phantom_roi(2, 1, 400)[0]).save(tmp_path / "a.png")
    loaded = load_weights(path)
    engine = TorchEngine(loaded.net, "float32", torch.device("cpu"), "zooms")
    found = []
    for tile, count in ((640, 4), (960, 1)):
        settings = settings_for("0" * 64, loaded, engine, "zooms", 0, "all", None, tile, True)
        assert settings.margin is not None
        layout = plan(400, 400, tile, settings.margin, settings.grid)
        assert len(layout.corners) == count
        out = tmp_path / f"out{tile}"
        with Lanes(2) as lanes:
            predict_slides([tmp_path / "a.png"], out, engine, settings, GROUPS, OUTPUTS, lanes, mpp=1.0)
        found.append(tifffile.imread(out / "a" / "probabilities.ome.tiff").astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1  # a rounding of 1/255


def test_networks_that_pool_on_a_coarser_grid_than_tiles_overlap_are_blended_on_it(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    made = run([tmp_path / "a.png"], tmp_path / "out", tile=512, margin=None, grid=128)
    assert made.predicted == ("a.png",)


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_what_is_being_finished_is_abandoned_at_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    """And finished by the next command, from what is on disk."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    slides = [tmp_path / f"{name}.png" for name in names]
    for i, path in enumerate(slides):
        make(path, seed=i)
    abandoned, went_on, abandon = threading.Event(), [], SlideJob.abandon

    def slow(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert abandoned.wait(30)

    def told(job: SlideJob) -> None:
        abandon(job)
        abandoned.set()

    with monkeypatch.context() as patched:
        patched.setattr(SlideJob, "abandon", told)
        patched.setattr("ushape.predict.whole.save_label_pyramid", slow)
        patched.setattr("ushape.predict.whole.save_geojson", lambda *_, **__: went_on.append(1))
        with pytest.raises(KeyboardInterrupt):
            run(slides, tmp_path / "out")
    assert abandoned.is_set()
    assert went_on == []
    assert not list((tmp_path / "out").glob(f"*/{PROVENANCE}"))
    engine = ByColour()
    assert run(slides[:1], tmp_path / "out", engine).predicted == ("a.png",)
    assert engine.calls == 0
    assert run(slides, tmp_path / "out").failed == {}


def test_a_wrong_slide_among_many_is_heard_of_first(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    engine = ByColour()
    with pytest.raises(DataError, match=r"b\.png"):
        run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", engine)
    assert engine.calls == 0


def test_classes_are_checked() -> None:
    assert check_classes(None, GROUPS) == GROUPS.classes
    assert check_classes(["stroma", "tumor"], GROUPS) == ("tumor", "stroma")
    with pytest.raises(DataError, match=r"class 'tumour': bcss-5@1 has tumor, .*; did you mean 'tumor'"):
        check_classes(["tumour"], GROUPS)
    with pytest.raises(DataError, match="'tumor' is named twice"):
        check_classes(["tumor", "tumor"], GROUPS)


class Slow:
    """A job that counts how many tiles exist between being read and being put."""

    name = "slow"

    def __init__(self, count: int) -> None:
        self.count, self.alive, self.most, self.finished, self.put_in = count, 0, 0, 0, []

    def open(self) -> None: ...

    def parts(self) -> Iterator[Part]:
        return (Part(i, (0, 0)) for i in range(self.count))

    def tile(self, part: Part) -> Bytes:
        self.alive += 1
        self.most = max(self.most, self.alive)
        return np.full((1, 1), part.unit, np.uint8)

    def compute(self, tile: Bytes) -> Bytes:
        return tile

    def put(self, part: Part, result: NDArray[Any]) -> None:
        assert result[0, 0] == part.unit
        self.put_in.append(part.unit)
        self.alive -= 1

    def keep(self) -> None: ...

    def finish(self) -> None:
        self.finished += 1

    def abandon(self) -> None: ...


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_in_flight_is_bounded_and_in_order(count: int) -> None:
    job = Slow(200)
    with Lanes(count) as lanes:
        assert stream([job], lanes, lambda job, part: None) == {}
    assert job.put_in == list(range(200))
    assert job.finished == 1
    assert job.most <= 5 * count + 2


def test_a_failure_in_finishing_is_that_slide_s(tmp_path: Path) -> None:
    class Broken(Slow):
        def finish(self) -> None:
            raise UshapeError("cannot be finished")

    one, other = Broken(3), Slow(3)
    other.name = "other"
    with Lanes(1) as lanes:
        failed = stream([one, other], lanes, lambda job, part: None)
    assert list(failed) == ["slow"]
    assert other.finished == 1
