"""TIFF and OME-TIFF: layouts, compressions, pyramids, pixel sizes, damage."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ushape.errors import DataError
from ushape.predict.slides import MAX_PIXELS, Slide, Unreadable, open_slide
from ushape.predict.slides import tiff as reader
from ushape.predict.slides.tiff import TiffSlide

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]
Damage = Callable[..., Path]
Shrunk = Callable[..., Bytes]
AT = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}
LOSSLESS = ["none", "deflate", "lzw", "packbits", "zstd", "JPEG2000", "png", "jpegxl"]
METADATA = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


def whole(slide: Slide, level: int = 0) -> Bytes:
    at = slide.levels[level]
    return slide.read(level, 0, 0, at.height, at.width)


def opened(path: Path, mpp: float | None = None, max_pixels: int = MAX_PIXELS) -> Slide:
    slide = open_slide(path, mpp, max_pixels)
    assert isinstance(slide, TiffSlide)
    return slide


# ---- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("tile", [(64, 64), (32, 128), None])
def test_every_compression_and_layout_gives_the_pixels(
    write_tiff: WriteTiff, picture: Picture, compression: str, tile: tuple[int, int] | None
) -> None:
    image = picture(150, 211)
    layout: dict[str, Any] = {"tile": tile} if tile else {"tile": None, "rowsperstrip": 17}
    path = write_tiff("a.tif", [image], compression=compression, **layout, **AT)
    with opened(path) as slide:
        assert slide.mpp == pytest.approx(0.25)
        assert np.array_equal(whole(slide), image)
        assert np.array_equal(slide.read(0, 3, 60, 141, 71), image[3:144, 60:131])


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_gives_nearly_the_pixels(write_tiff: WriteTiff, picture: Picture, subsampling: tuple[int, int]) -> None:
    image = picture(150, 211)[..., :1] // 2 + picture(150, 211, 1) // 8  # colours that half resolution can show
    options = {"compressionargs": {"level": 95}, "subsampling": subsampling}
    with opened(write_tiff("a.tif", [image], compression="jpeg", **options, **AT)) as slide:
        assert np.abs(whole(slide).astype(int) - image).mean() < 3


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "zstd"])
@pytest.mark.parametrize("studio", [False, True])
@pytest.mark.parametrize("planes", [False, True])
def test_ycbcr_without_jpeg_is_brought_to_rgb(
    write_tiff: WriteTiff, picture: Picture, compression: str, studio: bool, planes: bool
) -> None:
    image = picture(150, 211)
    stored = np.asarray(Image.fromarray(image).convert("YCbCr"))
    options: dict[str, Any] = {"photometric": "ycbcr", "compression": compression}
    if studio:  # light from 16 to 235, colours from 16 to 240, and white balanced as for high definition
        red, green, blue = 0.2126, 0.7152, 0.0722
        y = image @ np.array([red, green, blue])
        cb, cr = (image[..., 2] - y) / (2 - 2 * blue), (image[..., 0] - y) / (2 - 2 * red)
        parts = 16 + y * 219 / 255, 128 + cb * 112 / 127, 128 + cr * 112 / 127
        stored = np.rint(np.stack(parts, 2)).astype(np.uint8)
        luma = (2126, 10000, 7152, 10000, 722, 10000)
        ends = (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)
        options["extratags"] = [(529, 5, 3, luma, True), (532, 5, 6, ends, True)]
    if planes:
        stored, options["planarconfig"] = np.ascontiguousarray(stored.transpose(2, 0, 1)), "separate"
    with opened(write_tiff("a.tif", [stored], **options, **AT)) as slide:
        assert np.abs(whole(slide).astype(int) - image).max() <= 3


def test_what_ycbcr_means_must_be_known(write_tiff: WriteTiff, picture: Picture) -> None:
    path = write_tiff("a.tif", [picture(100, 100)], photometric="ycbcr", **AT)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["YCbCrSubSampling"].overwrite((2, 2))
    with pytest.raises(DataError, match=r"a\.tif: is YCbCr with colours of lower resolution, not RGB: convert it"):
        open_slide(path)
    with pytest.raises(DataError, match=r"b\.tif: is YCbCr in compression 34712, not RGB: convert it to RGB"):
        open_slide(write_tiff("b.tif", [picture(100, 100)], photometric="ycbcr", compression="JPEG2000", **AT))


def test_ycbcr_that_was_never_written_is_white(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a_MPP-0.5.tif") as tiff:
        tiles = iter([np.full((64, 64, 3), 128, np.uint8), None])
        tiff.write(tiles, shape=(64, 128, 3), dtype="uint8", tile=(64, 64), photometric="ycbcr", compression="deflate")
    with opened(tmp_path / "a_MPP-0.5.tif") as slide:
        made = whole(slide)
    assert (made[:, :64] == 128).all()
    assert (made[:, 64:] == 255).all()


@pytest.mark.parametrize("options", [{"planarconfig": "separate"}, {"predictor": True}, {"bigtiff": True}])
def test_planes_predictors_and_both_byte_orders(tmp_path: Path, picture: Picture, options: dict[str, Any]) -> None:
    image = picture(100, 120)
    big = options.pop("bigtiff", False)
    stored = image.transpose(2, 0, 1) if "planarconfig" in options else image
    with tifffile.TiffWriter(tmp_path / "a_MPP-0.5.tif", bigtiff=big, byteorder=">") as tiff:
        tiff.write(stored, tile=(64, 64), photometric="rgb", compression="deflate", **options)
    with opened(tmp_path / "a_MPP-0.5.tif") as slide:
        assert np.array_equal(whole(slide), image)


@pytest.mark.parametrize("meaning", ["unspecified", "assocalpha"])
def test_a_fourth_sample_is_what_the_file_says(write_tiff: WriteTiff, picture: Picture, meaning: str) -> None:
    image = picture(70, 90)
    fourth = np.zeros((70, 90, 1), np.uint8)
    if meaning == "assocalpha":
        fourth[:, :50] = 255
        image = image * (fourth > 0)  # premultiplied: where nothing is seen it is black
    path = write_tiff("a.tif", [np.concatenate([image, fourth], 2)], extrasamples=[meaning], **AT)
    expected = image if meaning == "unspecified" else np.where(fourth > 0, image, 255)
    with opened(path) as slide:
        assert np.array_equal(whole(slide), expected)


def test_alpha_is_laid_on_white(write_tiff: WriteTiff, picture: Picture) -> None:
    image = picture(70, 90)
    alpha = np.full((70, 90, 1), 255, np.uint8)
    alpha[:, 40:60], alpha[:, 60:] = 51, 0
    path = write_tiff("a.tif", [np.concatenate([image, alpha], 2)], extrasamples=["unassalpha"], **AT)
    with opened(path) as slide:
        made = whole(slide)
    assert np.array_equal(made[:, :40], image[:, :40])
    assert (made[:, 60:] == 255).all()
    assert np.abs(made[:, 40:60] - (image[:, 40:60] * 0.2 + 255 * 0.8)).max() <= 0.5


def test_tiles_that_were_never_written_are_white(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a_MPP-0.5.tif") as tiff:
        tiles = iter([np.zeros((64, 64, 3), np.uint8), None, None, np.zeros((64, 64, 3), np.uint8)])
        tiff.write(tiles, shape=(128, 128, 3), dtype="uint8", tile=(64, 64), photometric="rgb", compression="deflate")
    with opened(tmp_path / "a_MPP-0.5.tif") as slide:
        made = whole(slide)
    assert (made[:64, 64:] == 255).all()
    assert not made[:64, :64].any()


def test_only_the_tiles_of_a_region_are_read_and_each_once(
    write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff("a.tif", [picture(640, 640)], **AT)
    read: list[int] = []
    plain = TiffSlide._bytes
    monkeypatch.setattr(TiffSlide, "_bytes", lambda self, page, k: (read.append(k), plain(self, page, k))[1])
    with opened(path) as slide:
        slide.read(0, 70, 70, 100, 50)
        slide.read(0, 64, 64, 128, 64)
    assert read == [11, 21]


def test_tiles_are_kept_up_to_a_limit(write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHED", 5 * 64 * 64 * 3)
    with opened(write_tiff("a.tif", [picture(640, 640)], **AT)) as slide:
        whole(slide)
        assert isinstance(slide, TiffSlide)
        assert [key[1:] for key in slide._cache._tiles] == [(9, 5), (9, 6), (9, 7), (9, 8), (9, 9)]
        assert slide._cache._held == 5 * 64 * 64 * 3


# ---- pyramids and pixel sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_levels_are_found_as_subifds_and_as_further_pages(
    write_tiff: WriteTiff, picture: Picture, shrunk: Shrunk, subifds: bool, name: str
) -> None:
    image = picture(303, 422)
    levels = [image, shrunk(image, 4), shrunk(image, 16)]
    how = {"metadata": METADATA} if "ome" in name else AT
    with opened(write_tiff(name, levels, subifds, **how)) as slide:
        assert [(at.height, at.width) for at in slide.levels] == [(303, 422), (75, 105), (18, 26)]
        assert [at.downsample for at in slide.levels] == pytest.approx([1, 4.03, 16.53], abs=0.01)
        for k, level in enumerate(levels):
            assert np.array_equal(whole(slide, k), level)
        assert slide.mpp == pytest.approx(0.25)
        assert slide.metadata["pixel_size_from"] == ("its OME metadata" if "ome" in name else "its resolution tags")


def test_label_and_glass_are_no_levels(tmp_path: Path, picture: Picture) -> None:
    with tifffile.TiffWriter(tmp_path / "a_MPP-0.5.tif") as tiff:
        tiff.write(picture(60, 200), photometric="rgb")  # a label, and before the scan
        for image, kind in ((picture(256, 384), 0), (picture(128, 192), 1), (picture(64, 96, 1), 9)):
            tiff.write(image, photometric="rgb", tile=(64, 64), subfiletype=kind)
        tiff.write(picture(64, 96, 2), photometric="rgb")  # a thumbnail, in strips
        tiff.write(picture(64, 96)[..., 0], photometric="minisblack", tile=(64, 64))
    with opened(tmp_path / "a_MPP-0.5.tif") as slide:
        assert [(at.height, at.width) for at in slide.levels] == [(256, 384), (128, 192)]


@pytest.mark.parametrize(
    ("size", "unit", "mpp"), [(0.25, "µm", 0.25), (250, "nm", 0.25), (0.0005, "mm", 0.5), (0.00005, "cm", 0.5)]
)
def test_ome_sizes_in_every_unit(write_tiff: WriteTiff, picture: Picture, size: float, unit: str, mpp: float) -> None:
    said = {f"PhysicalSize{axis}{end}": value for axis in "XY" for end, value in (("", size), ("Unit", unit))}
    with opened(write_tiff("a.ome.tif", [picture(70, 70)], metadata={"axes": "YXS", **said})) as slide:
        assert slide.mpp == pytest.approx(mpp)


def test_a_tiff_without_a_size_asks_for_it(write_tiff: WriteTiff, picture: Picture) -> None:
    path = write_tiff("a.tif", [picture(70, 70)], resolution=(72, 72), resolutionunit="INCH")
    with pytest.raises(DataError, match="pass --mpp"):
        open_slide(path)
    with opened(path, 0.5) as slide:
        assert slide.mpp == 0.5
        assert slide.metadata["pixel_size_from"] == "--mpp"


# ---- refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"),
    [("uint16", "is 16-bit, not 8-bit RGB"), ("grey", "is grey, not"), ("palette", "is coloured by a palette, not"),
     ("five", "is of 5 channels, not|is grey")],
)  # fmt: skip
def test_other_than_8_bit_rgb_is_refused_by_name(tmp_path: Path, picture: Picture, kind: str, message: str) -> None:
    image: NDArray[Any] = picture(128, 128)
    options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64)}
    if kind == "uint16":
        image = image.astype(np.uint16)
    elif kind == "five":
        image, options["planarconfig"] = np.concatenate([image, image[..., :2]], 2), "contig"
    else:
        image, options["photometric"] = image[..., 0], "minisblack" if kind == "grey" else "palette"
        options |= {"colormap": np.zeros((3, 256), np.uint16)} if kind == "palette" else {}
    tifffile.imwrite(tmp_path / "a_MPP-0.5.tif", image, **options)
    with pytest.raises(DataError, match=rf"a_MPP-0\.5\.tif: {message}"):
        open_slide(tmp_path / "a_MPP-0.5.tif")


def test_a_strip_that_is_a_whole_image_counts_as_one(write_tiff: WriteTiff, picture: Picture) -> None:
    path = write_tiff("a.tif", [picture(100, 200)], tile=None, rowsperstrip=100, **AT)
    opened(path, max_pixels=20_000).close()
    with pytest.raises(DataError, match=r"200 x 100 px, over the limit of 19999 pixels: .* --max-pixels"):
        open_slide(path, max_pixels=19_999)


def test_an_enormous_strip_is_refused_before_it_is_read(write_tiff: WriteTiff, picture: Picture) -> None:
    path = write_tiff("a.tif", [picture(64, 64)], tile=None, rowsperstrip=64, **AT)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(60_000)
    with pytest.raises(DataError, match="60000 x 60000 px, over the limit"):
        open_slide(path)


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_truncated_file_is_refused(write_tiff: WriteTiff, picture: Picture, share: float) -> None:
    path = write_tiff("a.tif", [picture(640, 640), picture(320, 320)], compression="none", **AT)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(
        DataError, match=r"a\.tif: (is truncated, \d+ of its \d+ tiles|.*damaged|.*read as TIFF).*again"
    ):
        open_slide(path)


def test_a_damaged_header_is_a_data_error(write_tiff: WriteTiff, picture: Picture) -> None:
    """Whatever bytes are overwritten, the file opens or is refused; nothing else happens."""
    path = write_tiff("a.tif", [picture(64, 64)], **AT)
    data = path.read_bytes()
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        broken = bytearray(data)
        for at in rng.integers(4, 250, 6):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        try:
            with open_slide(path) as slide:
                slide.read(0, 0, 0, 1, 1)
        except DataError:
            refused += 1
    assert refused > 20


# ---- damaged tiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", "lzw", "JPEG2000", "jpeg", "png", "jpegxl", "lzma"])
@pytest.mark.parametrize("keep", [0.0, 0.6])
def test_a_damaged_tile_is_unreadable_and_its_neighbours_are_not(
    write_tiff: WriteTiff, picture: Picture, damage: Damage, compression: str, keep: float
) -> None:
    image = picture(200, 200)[..., :1].repeat(3, 2)
    path = damage(write_tiff("a.tif", [image], compression=compression, **AT), 5, keep=keep)  # row 1, column 1 of 4 x 4
    with opened(path) as slide:
        with pytest.raises(Unreadable, match=r"a\.tif: the tile at row 1, column 1, level 0 is damaged"):
            slide.read(0, 0, 0, 70, 70)
        assert np.abs(slide.read(0, 0, 0, 64, 200).astype(int) - image[:64]).mean() < 3


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EIO, "Input/output error"), r"cannot be read \(Input/output error\): repeat the command once"),
        (OSError(errno.ESTALE, "Stale file handle"), r"cannot be read \(Stale file handle\)"),
        (MemoryError(), "no memory to decode the tile at row 1, column 1, level 0: .* fewer --jobs"),
    ],
)
def test_a_tile_that_is_not_at_fault_is_no_damaged_one(
    write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fails(*_: object) -> bytes:
        raise error

    image = picture(200, 200)
    with opened(write_tiff("a.tif", [image], **AT)) as slide:
        with monkeypatch.context() as patched:
            patched.setattr(TiffSlide, "_bytes", fails)
            with pytest.raises(DataError, match=rf"a\.tif: .*{message}") as told:
                slide.read(0, 70, 70, 1, 1)
        assert not isinstance(told.value, Unreadable)
        assert np.array_equal(whole(slide), image)


def test_a_tile_that_claims_to_be_enormous_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = imagecodecs.jpeg_encode(np.zeros((640, 640, 3), np.uint8))
    with tifffile.TiffWriter(tmp_path / "a_MPP-0.5.tif") as tiff:
        tiff.write(iter([tile]), shape=(64, 64, 3), dtype="uint8", tile=(64, 64), photometric="rgb", compression="jpeg")
    monkeypatch.setattr(imagecodecs, "jpeg_decode", lambda *_, **__: pytest.fail("it was decoded"))
    with opened(tmp_path / "a_MPP-0.5.tif") as slide, pytest.raises(Unreadable, match="claims to hold 640 x 640 px"):
        slide.read(0, 0, 0, 1, 1)


def test_threads_read_the_same_as_one(write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHED", 6 * 64 * 64 * 3)  # little, so that tiles come and go
    image = picture(400, 400)
    wrong: list[tuple[int, int]] = []
    with opened(write_tiff("a.tif", [image], **AT)) as slide:

        def work(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(60):
                top, left = (int(at) for at in rng.integers(0, 300, 2))
                if not np.array_equal(slide.read(0, top, left, 100, 90), image[top : top + 100, left : left + 90]):
                    wrong.append((top, left))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert wrong == []
