"""Slides through OpenSlide: pixels, levels whose downsample is no whole number, damage, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.predict.slides import Unreadable, View, open_slide
from ushape.predict.slides.base import on_white
from ushape.predict.slides.openslide import OpenSlideSlide
from ushape.predict.slides.tiff import TiffSlide

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]
Damage = Callable[..., Path]
Shrunk = Callable[..., Bytes]
JPEG2000 = {"compression": "APERIO_JP2000_RGB"}


@pytest.fixture
def svs(write_tiff: WriteTiff, picture: Picture, shrunk: Shrunk) -> Path:
    """SVS of 403 x 610 px, its second level 4.02 times as coarse."""
    image = picture(403, 610)
    return write_tiff("a.svs", [image, shrunk(image, 4)], **JPEG2000)


def test_pixels_levels_and_metadata(svs: Path, picture: Picture) -> None:
    with open_slide(svs) as slide:
        assert isinstance(slide, OpenSlideSlide)
        assert [(at.height, at.width) for at in slide.levels] == [(403, 610), (100, 152)]
        assert slide.mpp == 0.25
        assert slide.metadata["vendor"] == "aperio"
        assert slide.metadata["objective_power"] == "40"
        assert slide.metadata["pixel_size_from"] == "its metadata"
        assert np.array_equal(slide.read(0, 0, 0, 403, 610), picture(403, 610))
        assert np.array_equal(slide.read(0, 50, 61, 100, 7), picture(403, 610)[50:150, 61:68])


def test_the_corner_of_the_scanned_area(svs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    with open_slide(svs) as slide:
        assert slide.corner == (0, 0)
    said = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25", "openslide.bounds-x": "40", "openslide.bounds-y": "7"}
    monkeypatch.setattr(openslide.OpenSlide, "properties", said)
    with OpenSlideSlide(svs, None) as slide:
        assert slide.corner == (40, 7)


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "deflate"])
def test_an_svs_of_common_tiles_is_read_without_openslide_and_alike(
    write_tiff: WriteTiff, picture: Picture, shrunk: Shrunk, compression: str
) -> None:
    image = picture(256, 512)
    path = write_tiff("a.svs", [image, shrunk(image, 4)], compression=compression)
    with open_slide(path) as one, OpenSlideSlide(path, None) as other:
        assert isinstance(one, TiffSlide)
        assert one.levels == other.levels
        assert one.mpp == other.mpp == 0.25
        assert one.metadata["objective_power"] == other.metadata["objective_power"] == "40"
        for level, at in enumerate(one.levels):
            box = level, 0, 0, at.height, at.width
            assert np.abs(one.read(*box).astype(int) - other.read(*box)).max() <= 1


def test_a_level_of_a_broken_downsample_is_the_same_in_any_parts(svs: Path, picture: Picture, shrunk: Shrunk) -> None:
    expected = shrunk(picture(403, 610), 4).astype(int)
    with open_slide(svs) as slide:
        whole = slide.read(1, 0, 0, 100, 152)
        rng = np.random.default_rng(0)
        for _ in range(40):
            top, left = int(rng.integers(0, 99)), int(rng.integers(0, 151))
            height, width = int(rng.integers(1, 101 - top)), int(rng.integers(1, 153 - left))
            part = slide.read(1, top, left, height, width)
            assert np.array_equal(part, whole[top : top + height, left : left + width])
        shift = np.abs(np.diff(expected, axis=1)).max() + np.abs(np.diff(expected, axis=0)).max()
        assert np.abs(whole - expected).max() <= shift / 4 + 2  # a quarter of a pixel off, at most


@pytest.mark.parametrize(("level", "index", "box"), [(0, 23, (128, 192, 64, 64)), (1, 4, (64, 64, 36, 64))])
def test_only_the_broken_tile_is_lost(
    svs: Path, damage: Damage, level: int, index: int, box: tuple[int, int, int, int]
) -> None:
    top, left, height, width = box
    with open_slide(svs) as slide:
        at = slide.levels[level]
        expected = slide.read(level, 0, 0, at.height, at.width).copy()
    expected[top : top + height, left : left + width] = 255
    with open_slide(damage(svs, index, level)) as slide:
        view = View(slide, 0.25 * slide.levels[level].downsample)
        assert view.level == level
        for _ in range(2):
            made = view.read(0, 0, view.height, view.width)
            differ = np.abs(made.astype(int) - expected).max(-1)
            assert differ.mean() < 1  # beside a broken tile, pixels are mixed from another corner
            assert (made[top : top + height, left : left + width] == 255).all()
        assert view.broken == [box]
        with pytest.raises(Unreadable, match=rf"a\.svs: a tile of level {level} is damaged \(.*\)"):
            slide.read(level, top, left, 1, 1)
        slide.read(level, 0, 0, 1, 1)


def test_a_broken_tile_does_not_disturb_other_threads(svs: Path, picture: Picture, damage: Damage) -> None:
    image = picture(403, 610)
    wrong: list[str] = []
    with open_slide(damage(svs, 0)) as slide:

        def good() -> None:
            for k in range(40):
                try:
                    if not np.array_equal(slide.read(0, 70 + k, 80, 64, 64), image[70 + k : 134 + k, 80:144]):
                        wrong.append("pixels")
                except Unreadable as error:
                    wrong.append(str(error))

        def bad() -> None:
            for _ in range(40):
                try:
                    slide.read(0, 0, 0, 10, 10)
                    wrong.append("read")
                except Unreadable:
                    pass

        threads = [threading.Thread(target=work) for work in (good, bad, good, bad)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert wrong == []


def test_a_slide_of_which_nothing_can_be_decoded_is_an_error(svs: Path, damage: Damage) -> None:
    damage(damage(svs), level=1)
    with open_slide(svs) as slide, pytest.raises(DataError, match=r"a\.svs: a tile of level .* another compression"):
        View(slide, 0.25)


@pytest.mark.parametrize("compression", ["jpeg", "APERIO_JP2000_RGB"])
def test_a_truncated_svs_is_refused(write_tiff: WriteTiff, picture: Picture, compression: str) -> None:
    path = write_tiff("a.svs", [picture(512, 512), picture(128, 128)], compression=compression)
    data = path.read_bytes()
    for share in (0.3, 0.8, 0.97):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(DataError, match=r"a\.svs: .*again"):
            open_slide(path)


def test_beyond_the_scan_there_is_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, 1], rgba[0, 2] = (10, 20, 30, 255), (0, 100, 200, 128)
    assert on_white(rgba).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 177, 227]]]
