"""Views: the right level, the right pixels in any parts, damage, memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ushape.data.rois import resample_image
from ushape.errors import DataError
from ushape.predict.slides import View, open_slide
from ushape.predict.slides import tiff as reader
from ushape.predict.slides.overview import overview
from ushape.predict.slides.tiff import TiffSlide

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]
Damage = Callable[..., Path]
Shrunk = Callable[..., Bytes]
AT = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}  # 0.25 µm


def whole(view: View) -> Bytes:
    return view.read(0, 0, view.height, view.width)


@pytest.fixture
def pyramid(write_tiff: WriteTiff, picture: Picture, shrunk: Shrunk) -> Path:
    """Levels of 0.25, 1 and 4 µm, nearly: 611 x 890, 152 x 222 and 38 x 55 px."""
    image = picture(611, 890)
    return write_tiff("pyramid.tif", [image, shrunk(image, 4), shrunk(image, 16)], **AT)


# ---- levels and sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mpp", "level"), [(0.2, 0), (0.25, 0), (0.99, 0), (1.003, 1), (1.02, 1), (3.9, 1), (4.03, 2), (8.0, 2)]
)
def test_the_coarsest_level_that_is_not_coarser_is_read(pyramid: Path, mpp: float, level: int) -> None:
    with open_slide(pyramid) as slide:
        view = View(slide, mpp)
        assert view.level == level
        assert view.mpp == pytest.approx(mpp, rel=0.02)
        assert view.height * view.mpp == pytest.approx(611 * 0.25, rel=0.05)
        assert view.to_slide == pytest.approx(view.mpp / 0.25)


def test_a_level_within_a_hundredth_is_taken_as_it_is(pyramid: Path, picture: Picture, shrunk: Shrunk) -> None:
    with open_slide(pyramid) as slide:
        view = View(slide, 1.0)
        assert np.array_equal(whole(view), shrunk(picture(611, 890), 4))
        assert view.mpp == pytest.approx(0.25 * np.sqrt(611 * 890 / (152 * 222)))
        assert np.array_equal(whole(View(slide, 0.2481)), picture(611, 890))


def test_enlarging_much_is_noted_and_else_nothing(pyramid: Path) -> None:
    with open_slide(pyramid) as slide:
        assert [View(slide, mpp).note for mpp in (0.125, 0.3, 1.0)] == [None] * 3
        assert "pixels of 0.25 µm are enlarged 2.5 times to 0.1 µm" in str(View(slide, 0.1).note)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 612, 5), (0, 885, 5, 6), (0, 0, 0, 5)])
def test_a_region_outside_is_a_mistake_of_the_caller(pyramid: Path, box: tuple[int, int, int, int]) -> None:
    with open_slide(pyramid) as slide:
        with pytest.raises(ValueError, match="outside of 611 x 890"):
            View(slide, 0.25).read(*box)
        with pytest.raises(ValueError, match="outside of 611 x 890"):
            slide.read(0, *box)


# ---- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [0.3, 0.5, 0.7, 1.2, 1.204, 1.3, 2.0, 5.0])
def test_a_plain_image_is_seen_as_training_sees_it(tmp_path: Path, picture: Picture, to: float) -> None:
    image = Image.fromarray(picture(83, 120))
    image.save(tmp_path / "a_MPP-1.2000.png")
    with open_slide(tmp_path / "a_MPP-1.2000.png") as slide:
        view = View(slide, to)
        expected = resample_image(image, 1.2, to)
        assert np.array_equal(whole(view), expected)
        assert np.array_equal(view.read(3, 5, 10, 7), expected[3:13, 5:12])


@given(st.floats(0.12, 12), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_tiled_image_is_too_to_one_grey_level_and_in_any_parts(
    pyramid: Path, picture: Picture, mpp: float, data: st.DataObject
) -> None:
    with open_slide(pyramid) as slide:
        view = View(slide, mpp)
        made = whole(view)
        if view.level == 0:
            expected = resample_image(Image.fromarray(picture(611, 890)), slide.mpp, mpp)
            assert np.abs(made.astype(int) - expected).max() <= 1
        top, left = data.draw(st.integers(0, view.height - 1)), data.draw(st.integers(0, view.width - 1))
        height, width = data.draw(st.integers(1, view.height - top)), data.draw(st.integers(1, view.width - left))
        assert np.array_equal(view.read(top, left, height, width), made[top : top + height, left : left + width])


def test_levels_show_the_same_place(write_tiff: WriteTiff, shrunk: Shrunk) -> None:
    """Where something lies does not depend on the level that is read, to a pixel of the coarser one."""
    down, right = np.mgrid[:1003, :1021] / 4
    image = np.stack([down, right, down], 2).astype(np.uint8)
    with open_slide(write_tiff("a.tif", [image, shrunk(image, 4)], **AT)) as slide:
        coarse, fine = View(slide, 1.3), View(slide, 0.9)
        assert (coarse.level, fine.level) == (1, 0)
        other = Image.fromarray(whole(fine)).resize((coarse.width, coarse.height), Image.Resampling.BOX)
        assert np.abs(np.asarray(other).astype(int) - whole(coarse)).max() <= 2


# ---- damage ------------------------------------------------------------------------------------------------


def test_only_the_broken_tile_is_lost_and_it_is_told_once(
    write_tiff: WriteTiff, picture: Picture, damage: Damage
) -> None:
    image = picture(300, 400)
    with open_slide(damage(write_tiff("a.tif", [image], **AT), 16)) as slide:  # row 2, column 2 of 5 x 7
        view = View(slide, 0.25)
        expected = image.copy()
        expected[128:192, 128:192] = 255
        wrong = []

        def work(top: int) -> None:
            for left in range(0, 200, 40):
                if not np.array_equal(view.read(top, left, 180, 200), expected[top : top + 180, left : left + 200]):
                    wrong.append((top, left))

        threads = [threading.Thread(target=work, args=(30 * k,)) for k in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert wrong == []
        assert view.broken == [(128, 128, 64, 64)]
        assert "the tile at row 2, column 2, level 0 is damaged" in str(view.reason)
        assert View(slide, 0.25).broken == []


def test_a_broken_tile_at_the_edge_of_a_resampled_view(write_tiff: WriteTiff, picture: Picture, damage: Damage) -> None:
    image = picture(300, 400)
    with open_slide(damage(write_tiff("a.tif", [image], **AT), 34)) as slide:  # the last: rows 256 on, columns 384 on
        view = View(slide, 0.7)
        lost = image.copy()
        lost[256:, 384:] = 255
        expected = resample_image(Image.fromarray(lost), 0.25, 0.7)
        assert np.abs(whole(view).astype(int) - expected).max() <= 1
        assert np.array_equal(view.read(80, 100, 27, 43), whole(view)[80:, 100:])
        assert view.broken == [(91, 137, 16, 6)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(100, 900), st.integers(100, 900), st.sampled_from([0.25, 0.2528, 0.499, 0.5, 1.0]))
def test_no_broken_region_reaches_beyond_the_view(tmp_path: Path, height: int, width: int, mpp: float) -> None:
    """The last row and column of tiles, whatever the sizes round to."""
    file = tmp_path / f"a_MPP-{mpp:.4f}.tif"
    tifffile.imwrite(file, np.zeros((height, width, 3), np.uint8), photometric="rgb", tile=(64, 64))
    with open_slide(file) as slide:
        view = View(slide, 1.2)
        top, left = height // 64 * 64 - 64 * (height % 64 == 0), width // 64 * 64 - 64 * (width % 64 == 0)
        view.leave_out([(top, left, height - top, width - left), (0, 0, 64, 64)])
        for y, x, h, w in view.broken:
            assert 0 <= y < y + h <= view.height
            assert 0 <= x < x + w <= view.width
        y, x, h, w = view.broken[-1]
        assert (y + h, x + w) == (view.height, view.width)


def test_a_level_that_cannot_be_decoded_is_passed_over(
    write_tiff: WriteTiff, picture: Picture, shrunk: Shrunk, damage: Damage
) -> None:
    image = picture(512, 512)
    path = write_tiff("a.tif", [image, shrunk(image, 4)], True, compression="JPEG2000", **AT)
    damage(path, level=1)
    with open_slide(path) as slide:
        view = View(slide, 1.0)
        assert view.level == 0
        assert "nothing of its level 1 can be decoded" in str(view.note)
        assert np.abs(whole(view).astype(int) - shrunk(image, 4)).max() <= 1
        assert view.broken == []
    damage(path, level=0)
    with (
        open_slide(path) as slide,
        pytest.raises(DataError, match=r"a\.tif: the tile at .* nor can eight other places"),
    ):
        View(slide, 1.0)


# ---- memory ------------------------------------------------------------------------------------------------


def large(path: Path, height: int, width: int) -> Path:
    """One level of 0.25 µm made of one tile of 512 px again and again."""
    tile = imagecodecs.jpeg_encode(np.random.default_rng(0).integers(180, 220, (512, 512, 3), np.uint8), level=70)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            (tile for _ in range(height * width // 512**2)),
            shape=(height, width, 3), dtype="uint8", tile=(512, 512), photometric="rgb", compression="jpeg", **AT,
        )  # fmt: skip
    return path


def test_a_large_slide_of_one_level_is_seen_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHED", 2**24)
    peaks = []
    for height, width in ((2048, 8192), (8192, 8192)):  # 50 and 201 MB when decoded
        with open_slide(large(tmp_path / "a.tif", height, width)) as slide:
            assert isinstance(slide, TiffSlide)
            view = View(slide, 1.2)
            tracemalloc.start()
            assert overview(view, 256).shape == (height // 32, 256, 3)
            for top in range(0, view.height - 256, 300):
                view.read(top, 700, 256, 256)
            peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
    assert peaks[1] < 130
    assert peaks[1] < peaks[0] + 20
