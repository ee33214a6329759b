"""Pyramids are exact, streamed, and tell what they show."""

from __future__ import annotations

import errno
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ushape import __version__
from ushape.data.classes import IGNORE, grouping
from ushape.errors import RunError
from ushape.predict import pyramid
from ushape.predict.pyramid import majority, mean, save_label_pyramid, save_probability_pyramid
from ushape.predict.store import Raw

FIVE = grouping("bcss-5")
VALUES = st.sampled_from([0, 1, 2, 3, 4, IGNORE])
Blobs = Callable[..., Any]


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 700), (1300, 1701)])
def test_every_level_is_the_majority_of_the_one_before(tmp_path: Path, blobs: Blobs, shape: tuple[int, int]) -> None:
    labels = blobs(*shape)
    save_label_pyramid(tmp_path / "new" / "a.ome.tiff", labels, 0.5, FIVE, {})
    with tifffile.TiffFile(tmp_path / "new" / "a.ome.tiff") as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert [page.tile for page in file.pages] == [(512, 512)]
    assert np.array_equal(levels[0], labels)
    for upper, lower in pairwise(levels):
        assert np.array_equal(lower, majority(upper))
    assert max(levels[-1].shape) <= 512
    assert all(max(level.shape) > 512 for level in levels[:-1])
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.ome.tiff"]


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=VALUES))
def test_a_majority_is_the_most_frequent_label_and_the_lowest_of_several(block: Any) -> None:
    made = majority(block)
    padded = np.pad(block, [(0, block.shape[0] % 2), (0, block.shape[1] % 2)], mode="edge")
    assert made.shape == (padded.shape[0] // 2, padded.shape[1] // 2)
    for (y, x), label in np.ndenumerate(made):
        counts = Counter(padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist())
        assert label == min(counts, key=lambda value: (-counts[value], value))


def test_colours_are_those_of_the_grouping_in_any_viewer(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(600, 700)
    save_label_pyramid(tmp_path / "a.ome.tiff", labels, 0.5, FIVE, {})
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(tmp_path / "a.ome.tiff") as slide:
        assert slide.dimensions == (700, 600)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        shown = np.asarray(slide.read_region((0, 0), 0, (700, 600)))[..., :3]
    for label, colour in [*enumerate(FIVE.colours), (IGNORE, (255, 255, 255))]:
        assert (shown[labels == label] == colour).all()


def test_classes_colours_pixel_size_and_origin_stand_in_the_file(tmp_path: Path, blobs: Blobs) -> None:
    about = {"slide": "a & <b>", "slide_mpp": 0.25, "settings": {"tta": "d4"}}
    save_label_pyramid(tmp_path / "a.ome.tiff", blobs(600, 700), 0.4567, FIVE, about)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        xml = file.ome_metadata
        assert file.is_ome
        assert file.pages[0].software == f"ushape {__version__}"
        assert file.pages[0].resolution == pytest.approx((1e4 / 0.4567, 1e4 / 0.4567), rel=1e-4)
    root = ElementTree.fromstring(xml or "")
    (pixels,) = root.iterfind(".//{*}Pixels")
    for axis in "XY":
        assert float(pixels.attrib[f"PhysicalSize{axis}"]) == 0.4567
        assert pixels.attrib[f"PhysicalSize{axis}Unit"] == "µm"
    notes = {
        note.attrib["Namespace"]: {pair.attrib["K"]: pair.text for pair in note.iterfind(".//{*}M")}
        for note in root.iterfind(".//{*}MapAnnotation")
    }
    assert notes["ushape/classes"] == {str(i): name for i, name in enumerate(FIVE.classes)}
    assert notes["ushape/colours"]["0"] == "#d53e4f"
    assert notes["ushape/about"]["slide"] == "a & <b>"
    assert notes["ushape/about"]["settings"] == '{"tta": "d4"}'
    assert notes["ushape/about"]["grouping"] == FIVE.id


def test_the_description_is_valid_ome_xml(tmp_path: Path, blobs: Blobs) -> None:
    pytest.importorskip("lxml")
    schema = Path(pytest.importorskip("omeschema").__file__).parent / "schemas" / "2016-06" / "ome.xsd"
    save_label_pyramid(tmp_path / "l", blobs(600, 700), 0.5, FIVE, {"slide": "a & <b>", "n": 1})
    save_probability_pyramid(tmp_path / "p", np.zeros((5, 60, 70), np.uint8), 0.5, FIVE, {"slide": "a"})
    for name in ("l", "p"):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert tifffile.OmeXml.validate(file.ome_metadata or "", schema.read_bytes())


def test_probabilities_are_channels_of_classes_halved_by_their_mean(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).integers(0, 256, (5, 700, 1301), np.uint8)
    save_probability_pyramid(tmp_path / "p.ome.tiff", probabilities, 1.2, FIVE, {})
    with tifffile.TiffFile(tmp_path / "p.ome.tiff") as file:
        (series,) = file.series
        assert series.axes == "CYX"
        levels = [level.asarray() for level in series.levels]
        channels = list(ElementTree.fromstring(file.ome_metadata or "").iterfind(".//{*}Channel"))
    assert np.array_equal(levels[0], probabilities)
    assert [level.shape for level in levels] == [(5, 700, 1301), (5, 350, 651), (5, 175, 326)]
    exact = probabilities[:, :, :1300].reshape(5, 350, 2, 650, 2).mean((2, 4))
    assert np.abs(levels[1][:, :, :650] - exact).max() <= 0.5
    assert np.array_equal(levels[2][3], mean(levels[1][3]))
    assert [c.attrib["Name"] for c in channels] == list(FIVE.classes)
    assert int(channels[0].attrib["Color"]) % 2**32 == 0xD53E4FFF


def test_a_file_of_the_disk_is_written_as_the_same_array_is(tmp_path: Path, blobs: Blobs) -> None:
    labels = blobs(700, 900)
    raw = Raw(tmp_path / "raw", 700, 900)
    raw.write(0, 0, labels)
    save_label_pyramid(tmp_path / "a.ome.tiff", raw, 1.0, FIVE, {})
    raw.close()
    assert np.array_equal(tifffile.imread(tmp_path / "a.ome.tiff"), labels)


def test_memory_does_not_grow_with_the_height_of_a_slide(tmp_path: Path, blobs: Blobs, watched: Any) -> None:
    band = blobs(1000, 3000, size=20)
    peaks = []
    for times in (2, 6):
        source = watched(np.tile(band, (times, 1)))
        tracemalloc.start()
        save_label_pyramid(tmp_path / "a.ome.tiff", source, 1.0, FIVE, {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert source.largest <= 512 * 3000
    assert peaks[1] < peaks[0] * 1.5 < 6e7, peaks


def test_offsets_have_64_bits_where_the_file_may_need_them(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = blobs(600, 600)
    for limit, large in ((600 * 600 + 300 * 300, False), (600 * 600 + 300 * 300 - 1, True)):
        monkeypatch.setattr(pyramid, "_CLASSIC", limit)
        save_label_pyramid(tmp_path / "a.ome.tiff", labels, 1.0, FIVE, {})
        with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
            assert file.is_bigtiff == large
            assert np.array_equal(file.asarray(), labels)


def test_a_full_disk_is_told_and_leaves_what_was_there(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.ome.tiff").write_text("old")
    monkeypatch.setattr(Raw, "write", full)
    with pytest.raises(RunError, match="free some space"):
        save_label_pyramid(tmp_path / "a.ome.tiff", blobs(1200, 1200), 1.0, FIVE, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tiff"]
    assert (tmp_path / "a.ome.tiff").read_text() == "old"
