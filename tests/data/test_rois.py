"""ROIs: names, pixel sizes, resampling, formats, the cache, and every file that must be refused."""

from __future__ import annotations

import argparse
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape import arguments
from ushape.data import rois
from ushape.data.rois import (
    Roi,
    cache_folder,
    check_coarseness,
    check_pixel_size,
    find_rois,
    fingerprint,
    in_both,
    open_pixels,
    patient_of,
    pixel_size,
    read_image,
    read_mask,
    resample_image,
    resample_mask,
    twice_spelt,
)
from ushape.errors import DataError, RunError
from ushape.files import content_hash

Bytes = NDArray[np.uint8]
WriteRois = Callable[..., Path]
NAME = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500"
OTHER = "TCGA-A2-A0T2-DX1_xmin1_ymin2_MPP-1.2000"
FORMATS = [(".png", {}), (".tif", {}), (".tiff", {"compression": "tiff_lzw"}),
           (".TIF", {"compression": "tiff_adobe_deflate"})]  # fmt: skip


def arrays(seed: int = 0, height: int = 24, width: int = 32) -> tuple[Bytes, Bytes]:
    """Random RGB and codes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 22, (height, width), np.uint8)


def png(array: NDArray[np.uint8]) -> bytes:
    made = io.BytesIO()
    Image.fromarray(array).save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def folder(tmp_path: Path, write_rois: WriteRois) -> Path:
    """Two ROIs in the official layout."""
    return write_rois(tmp_path / "data", {NAME: arrays(0), OTHER: arrays(1)})


# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "patient"),
    [(NAME, "TCGA-A1-A0SK"), ("SEED-01-R001-DX1_xmin0_ymin0_MPP-1.2000", "SEED-01-R001"), ("case7_roi2", "case7")],
)
def test_the_patient_is_what_comes_before_the_underscore_and_of_tcga_the_participant(name: str, patient: str) -> None:
    assert patient_of(name) == patient
    assert Roi(name, Path("a"), Path("b"), 1.0).patient == patient


def test_long_names_of_patients_are_not_cut() -> None:
    assert [patient_of(f"{n}_1") for n in ("HOSPITAL-0001", "HOSPITAL-0060", "TCGA-A1-A0SKX", "tcga-a1-a0sk-DX1")] == [
        "HOSPITAL-0001",
        "HOSPITAL-0060",
        "TCGA-A1-A0SKX",
        "tcga-a1-a0sk",
    ]
    assert [patient_of(f"BRCA-01-2021-000{n}_1") for n in (1, 2)] == ["BRCA-01-2021-0001", "BRCA-01-2021-0002"]


@pytest.mark.parametrize(
    "name", ["TCGA_A1_A0SK-DX1_xmin4", "TCGA.A1.A0SK_3", "TCGAA1A0SK-01Z-00-DX1_1", "TCGA_A1_A0SK"]
)
def test_the_patient_of_tcga_is_known_however_it_is_spelt(name: str) -> None:
    """What a network's file says of whom it was trained on is a patient, and so is found again."""
    assert in_both([patient_of(name)], ["TCGA-A1-A0SK-DX1_xmin1"]) == [patient_of(name)]
    assert patient_of(patient_of(name)) == patient_of(name)


def test_the_pixel_size_comes_from_the_name_and_else_from_the_flag() -> None:
    assert pixel_size(NAME) == 0.25
    assert pixel_size(NAME, 2.0) == 0.25
    assert pixel_size("case7_MPP-1") == 1.0
    assert pixel_size("case7_MPP-0.2500_2") == 0.25
    assert pixel_size("case7", 0.5) == 0.5


@pytest.mark.parametrize("given", [None, 0.0, -1.0, 250.0, float("nan")])
def test_no_pixel_size_or_an_impossible_one_is_refused_by_name(given: float | None) -> None:
    with pytest.raises(DataError, match=r"^case7: .*(pass --mpp|cannot be right)"):
        pixel_size("case7", given)


@pytest.mark.parametrize("size", ["0.0099", "0.01", "100", "100.01", "nan"])
def test_the_command_line_takes_the_pixel_sizes_that_names_may_give(size: str) -> None:
    """It knows the bounds by itself, as nothing that takes time is imported there."""
    try:
        check_pixel_size(float(size), "a", "b")
    except DataError:
        with pytest.raises(argparse.ArgumentTypeError, match=r"give µm per pixel, from 0\.01 to 100"):
            arguments.pixel_size(size)
    else:
        assert arguments.pixel_size(size) == float(size)


@pytest.mark.parametrize("said", ["0", "0.0025", "250", "0_25", "0,25", "1_2"])
def test_a_name_with_an_impossible_pixel_size_is_refused(said: str) -> None:
    with pytest.raises(DataError, match=rf"^case7_MPP-{said}: .*(cannot be right|is no pixel size).* the name"):
        pixel_size(f"case7_MPP-{said}", 0.5)


@pytest.mark.parametrize("other", ["TCGA-A1-AOSK", "tcga-a1-a0sk", "TCGA_A1_A0SK", "TCGA-AI-A0SK", "TCGAA1A0SK"])
def test_two_spellings_of_one_patient_are_found(other: str) -> None:
    assert twice_spelt([f"TCGA-A1-A0SK-DX1_{i}" for i in range(2)] + [f"{other}-DX1_3"]) == [
        ("TCGA-A1-A0SK", patient_of(f"{other}-DX1_3"))
    ]


def test_two_spellings_outside_tcga_are_found() -> None:
    assert twice_spelt(["case7_roi1", "Case7_roi2"]) == [("case7", "Case7")]


def test_names_that_only_run_together_alike_are_no_two_spellings() -> None:
    assert twice_spelt(["p1_12", "p11_2"]) == []
    assert twice_spelt(["patient1_10", "patient11_0"]) == []


def test_numbers_that_a_separator_divides_are_no_two_spellings() -> None:
    assert twice_spelt(["1-11_a", "11-1_a"]) == []
    assert twice_spelt(["site.7_a", "site-7_b"]) == [("site.7", "site-7")]


def test_project_names_and_other_alphabets_are_told_apart() -> None:
    assert twice_spelt(["TCGA-BRCA-0001_1", "TCGA-BRCA-0002_1"]) == []
    assert twice_spelt(["TCGA-BRCA0001_1", "TCGA-BRCA0002_1"]) == []
    assert twice_spelt(["TCGA-A1-A0SK-DX1", "tcgaa1a0sk01z_1"]) == [("TCGA-A1-A0SK", "tcgaa1a0sk01z")]
    assert twice_spelt(["Müller_1", "Möller_1", "Мария_1", "Иван_1"]) == []
    assert twice_spelt(["Мария_1", "мария_2"]) == [("Мария", "мария")]


def test_different_patients_and_two_rois_of_one_are_no_two_spellings() -> None:
    assert twice_spelt([NAME, NAME.replace("xmin4", "xmin5"), OTHER, "TCGA-A1-A0SL-DX1"]) == []
    assert twice_spelt([f"SEED-{i:02}-R{i:03}-DX1" for i in range(15)]) == []


@pytest.mark.parametrize("other", ["TCGA-A1-AOSK", "tcga-a1-a0sk", "TCGA_A1_A0SK", "TCGAA1A0SK", "TCGA-A1-A0SK"])
def test_a_patient_on_both_sides_is_found_however_spelt(other: str) -> None:
    there = f"{other}-DX1_xmin4"
    assert in_both([there, "case7_1"], ["TCGA-A1-A0SK", "TCGA-A1-A0SL"]) == [patient_of(there)]
    assert in_both(["TCGA-A1-A0SK", "Case7", "case7", "p1"], [there, "case7_2", "p11_2"]) == [
        "Case7", "TCGA-A1-A0SK", "case7",
    ]  # fmt: skip


# ---- folders -----------------------------------------------------------------------------------------------


def test_rois_are_found_sorted_with_their_own_pixel_size(folder: Path) -> None:
    (folder / "rgbs_colorNormalized" / "._hidden.png").write_bytes(b"")
    (folder / "rgbs_colorNormalized" / "notes.txt").write_text("")
    found = find_rois(folder, mpp=9.0)
    assert [(r.name, r.mpp) for r in found] == [(NAME, 0.25), (OTHER, 1.2)]
    assert found[0].mask == folder / "masks" / f"{NAME}.png"


def test_the_folder_of_images_may_be_called_images(folder: Path) -> None:
    (folder / "rgbs_colorNormalized").rename(folder / "images")
    assert len(find_rois(folder)) == 2


def test_an_image_without_mask_is_refused_with_the_mask_it_needs(folder: Path) -> None:
    (folder / "masks" / f"{NAME}.png").unlink()
    with pytest.raises(DataError, match=rf"{NAME}\.png: has no mask .*masks/{NAME}\.png: add it"):
        find_rois(folder)


def test_a_folder_without_masks_is_refused(folder: Path) -> None:
    (folder / "masks").rename(folder / "mask")
    with pytest.raises(DataError, match=f"{NAME}.*has no mask"):
        find_rois(folder)


def test_empty_missing_and_wrong_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder"):
        find_rois(tmp_path / "none")
    with pytest.raises(DataError, match=f"{tmp_path}: holds no folder of images: expected rgbs_colorNormalized/"):
        find_rois(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="images: holds no image"):
        find_rois(tmp_path)


def test_two_spellings_of_a_patient_are_refused(tmp_path: Path, write_rois: WriteRois) -> None:
    write_rois(tmp_path, {NAME: arrays(0), NAME.replace("A0SK", "AOSK"): arrays(1)})
    with pytest.raises(DataError, match=r"'TCGA-A1-A0SK' and 'TCGA-A1-AOSK' look like one patient.*rename"):
        find_rois(tmp_path)


def test_one_name_with_two_suffixes_is_refused_and_not_chosen_silently(folder: Path, write_rois: WriteRois) -> None:
    write_rois(folder, {NAME: arrays(5)}, ".tif")
    with pytest.raises(DataError, match=NAME):
        find_rois(folder)


def test_the_fingerprint_follows_the_content_and_not_the_place(
    folder: Path, tmp_path: Path, write_rois: WriteRois
) -> None:
    before = fingerprint(find_rois(folder))
    assert fingerprint(find_rois(write_rois(tmp_path / "copy", {NAME: arrays(0), OTHER: arrays(1)}))) == before
    renamed = {NAME: arrays(0), OTHER.replace("A0T2", "A0T3"): arrays(1)}
    assert fingerprint(find_rois(write_rois(tmp_path / "renamed", renamed))) != before
    changed = arrays(1)
    changed[1][0, 0] ^= 1
    assert fingerprint(find_rois(write_rois(tmp_path / "other", {NAME: arrays(0), OTHER: changed}))) != before


def test_files_are_read_for_the_fingerprint_only_when_they_have_changed(
    folder: Path, write_rois: WriteRois, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(rois, "content_hash", lambda path: read.append(path) or content_hash(path))
    before = fingerprint(find_rois(folder))
    assert len(read) == 4
    assert fingerprint(find_rois(folder)) == before
    assert len(read) == 4
    write_rois(folder, {NAME: arrays(7)})
    assert fingerprint(find_rois(folder)) != before
    write_rois(folder, {NAME: arrays(0)})
    assert fingerprint(find_rois(folder)) == before


# ---- resampling --------------------------------------------------------------------------------------------


def test_an_image_is_averaged_over_the_area() -> None:
    red = np.array([[0, 4, 10, 10], [8, 0, 10, 14], [100, 100, 0, 0], [100, 104, 0, 200]], np.uint8)
    image = Image.fromarray(np.stack([red, 255 - red, red // 2], -1))
    made = resample_image(image, 0.6, 1.2)
    assert made[..., 0].tolist() == [[3, 11], [101, 50]]
    assert made[..., 1].tolist() == [[252, 244], [154, 205]]


def test_a_mask_takes_codes_that_stand_there_and_never_a_mean() -> None:
    codes = np.array([[1, 1, 3, 3], [1, 1, 3, 3], [21, 21, 0, 0], [21, 21, 0, 0]], np.uint8)
    assert resample_mask(Image.fromarray(codes), 0.6, 1.2).tolist() == [[1, 3], [21, 0]]
    assert resample_mask(Image.fromarray(codes[::2, ::2]), 2.0, 1.0).tolist() == codes.tolist()
    noisy = np.where(arrays(3)[1] > 10, 21, 1).astype(np.uint8)
    assert set(np.unique(resample_mask(Image.fromarray(noisy), 0.7, 1.2))) <= set(np.unique(noisy))


def test_a_finer_pixel_size_enlarges_and_the_same_one_changes_nothing() -> None:
    rgb, codes = arrays()
    assert resample_image(Image.fromarray(rgb), 1.2, 0.6).shape == (48, 64, 3)
    assert np.array_equal(resample_image(Image.fromarray(rgb), 1.2, 1.2049), rgb)
    assert np.array_equal(resample_mask(Image.fromarray(codes), 1.2, 1.2), codes)


def test_pixels_far_too_coarse_are_refused_and_coarse_ones_noted(tmp_path: Path, write_rois: WriteRois) -> None:
    write_rois(tmp_path, {"p1_MPP-5.0000": arrays()})
    roi = find_rois(tmp_path)[0]
    with pytest.raises(DataError, match=r"p1_MPP-5\.0000\.png: its pixels of 5 µm hold nothing.*true pixel size"):
        check_coarseness(roi.image, roi.mpp, 1.2)
    check_coarseness(roi.image, roi.mpp, 1.25)
    assert check_coarseness(roi.image, 2.4, 1.2) is None
    assert "2.1 times to 1.2 µm" in (check_coarseness(roi.image, 2.5, 1.2) or "")


def test_image_and_mask_stay_in_register(tmp_path: Path, write_rois: WriteRois) -> None:
    codes = np.kron(arrays(4, 9, 7)[1], np.ones((30, 30), np.uint8))
    write_rois(tmp_path, {NAME: (np.repeat(codes[..., None] * 10, 3, -1), codes)})
    pixels = open_pixels(find_rois(tmp_path)[0], 1.2)
    assert pixels.image.shape[:2] == pixels.codes.shape == (56, 44)
    # Blocks of 6.25 px: only those pixels that lie on the border of two of them mix.
    shown = pixels.image[..., 0] == pixels.codes * 10
    assert np.mean(shown) > 0.65
    for moved in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert np.mean(pixels.image[..., 0] == np.roll(pixels.codes, moved, (0, 1)) * 10) < np.mean(shown) - 0.05


# ---- formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "options"), FORMATS)
def test_png_and_tiff_are_read_the_same(
    tmp_path: Path, write_rois: WriteRois, suffix: str, options: dict[str, str]
) -> None:
    rgb, codes = arrays()
    write_rois(tmp_path, {NAME: (rgb, codes)}, suffix, **options)
    pixels = open_pixels(find_rois(tmp_path)[0], 0.25)
    assert np.array_equal(pixels.image, rgb)
    assert np.array_equal(pixels.codes, codes)


def test_a_palette_mask_is_read_by_its_codes_and_not_its_colours(tmp_path: Path) -> None:
    codes = arrays()[1]
    image = Image.fromarray(codes)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    image.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_mask(tmp_path / "a.png")), codes)


def test_a_palette_mask_whose_greys_are_codes_under_other_numbers_is_refused(tmp_path: Path) -> None:
    """Programs that shrink PNG files renumber greys."""
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette(bytes(grey for code in (1, 2, 4, 10) for grey in (code,) * 3))
    image.save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: .*number 0 is shown as grey 1.*8-bit grey"):
        read_mask(tmp_path / "a.png")
    image.putpalette(bytes(grey for code in range(4) for grey in (code,) * 3))  # greys that are their numbers
    image.save(tmp_path / "a.png")
    assert np.asarray(read_mask(tmp_path / "a.png")).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("bits", [2, 4])
def test_a_mask_of_few_bits_is_refused(tmp_path: Path, bits: int) -> None:
    """Their 1 is 17, or 85, to Pillow, and 1 to other programs."""
    row = bytes([0, 0b00011011 if bits == 2 else 0b00000001])  # no filter; then four pixels, or two
    head = struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(DataError, match=r"a\.png: is 2-bit or 4-bit grey.*convert it to 8-bit"):
        read_mask(tmp_path / "a.png")


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    rgb = arrays()[0]
    Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), rgb)


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[3, 3, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels: flatten it to RGB"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((8, 8), np.uint8), "8-bit grey"),
        (np.zeros((8, 8), np.uint16), "16-bit"),
        (np.zeros((8, 8), bool), "1-bit"),
    ],
)
def test_an_image_that_is_not_rgb_is_refused(tmp_path: Path, array: Bytes, what: str) -> None:
    Image.fromarray(array).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: is {what}, not 8-bit RGB: convert it"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("array", "what"), [(np.zeros((8, 8), np.uint16), "16-bit"), (np.zeros((8, 8, 3), np.uint8), "8-bit RGB")]
)
def test_a_mask_that_does_not_hold_8_bit_codes_is_refused(tmp_path: Path, array: Bytes, what: str, suffix: str) -> None:
    Image.fromarray(array).save(tmp_path / f"a{suffix}")
    with pytest.raises(DataError, match=rf"a{suffix}: is {what}; a mask holds one 8-bit code a pixel: convert it"):
        read_mask(tmp_path / f"a{suffix}")


def test_an_unknown_code_is_refused_with_its_value_and_place(tmp_path: Path) -> None:
    codes = arrays()[1]
    codes[7, 19] = codes[20, 3] = 97
    Image.fromarray(codes).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: code 97 at x=19, y=7 is no BCSS code \(0 to 21\): relabel it"):
        read_mask(tmp_path / "a.png")


def test_an_image_over_the_limit_of_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rois, "MAX_PIXELS", 24 * 32 - 1)
    (tmp_path / "a.png").write_bytes(png(arrays()[0])[:100])  # there is no pixel in it
    with pytest.raises(DataError, match=r"a\.png: is 32 x 24 px, over the limit"):
        read_image(tmp_path / "a.png")


def test_a_large_image_within_the_limit_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "a.png").write_bytes(png(arrays()[0]))
    assert read_image(tmp_path / "a.png").size == (32, 24)
    assert Image.MAX_IMAGE_PIXELS == 100  # what other code set is set again


# ---- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 4, 30, 60, 0.5, 0.9])
def test_a_truncated_png_is_refused_by_name(tmp_path: Path, kept: float) -> None:
    path, whole = tmp_path / "a.png", png(arrays()[0])
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    told = r"a\.png: is (truncated or damaged|no PNG or TIFF image).*: write it again$"
    with pytest.raises(DataError, match=told) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "options"), FORMATS)
def test_no_cut_of_a_file_is_read_as_other_pixels(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path, rgb = tmp_path / f"a{suffix}", arrays()[0]
    Image.fromarray(rgb).save(path, **options)
    whole = path.read_bytes()
    for kept in range(0, len(whole), 41):
        path.write_bytes(whole[:kept])
        try:
            read = np.asarray(read_image(path))
        except DataError:
            continue
        assert np.array_equal(read, rgb), kept


@pytest.mark.parametrize("place", [45, 300, -20])
def test_a_png_with_a_flipped_bit_is_refused(tmp_path: Path, place: int) -> None:
    damaged = bytearray(png(arrays()[0]))
    damaged[place] ^= 16
    (tmp_path / "a.png").write_bytes(damaged)
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_a_text_file_called_png_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png", "none.png"):
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


def test_no_file_is_left_open(tmp_path: Path) -> None:
    whole = png(arrays()[0])
    for content in (whole, whole[:200], b"text"):
        (tmp_path / "a.png").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before = len(list(Path("/proc/self/fd").iterdir()))
            try:
                kept = [read_image(tmp_path / "a.png")]
            except DataError as error:
                kept = [error]  # as long as the error lives, so would the file
            assert len(list(Path("/proc/self/fd").iterdir())) == before, kept


# ---- the cache ---------------------------------------------------------------------------------------------


def cached() -> set[Path]:
    return set(cache_folder().glob("*.npy"))


def test_pixels_are_memory_mapped_and_cannot_be_changed(folder: Path) -> None:
    pixels = open_pixels(find_rois(folder)[0], 0.25)
    for array in (pixels.image, pixels.codes):
        assert isinstance(array, np.memmap)
        assert array.dtype == np.uint8
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_roi_is_decoded_once_for_each_pixel_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roi = find_rois(folder)[0]
    first, coarse = open_pixels(roi, 0.25), open_pixels(roi, 0.5)
    assert (first.codes.shape, coarse.codes.shape) == ((24, 32), (12, 16))

    def never(_: Path) -> Image.Image:
        raise AssertionError("decoded again")

    monkeypatch.setattr(rois, "read_image", never)
    monkeypatch.setattr(rois, "read_mask", never)
    assert np.array_equal(open_pixels(roi, 0.25).image, first.image)
    assert np.array_equal(open_pixels(roi, 0.5).codes, coarse.codes)


@pytest.mark.parametrize("part", [0, 1])
def test_a_changed_file_is_decoded_again(folder: Path, write_rois: WriteRois, part: int) -> None:
    roi = find_rois(folder)[0]
    open_pixels(roi, 0.25)
    new = list(arrays(0))
    new[part] = arrays(7)[part]
    write_rois(folder, {NAME: (new[0], new[1])})
    pixels = open_pixels(roi, 0.25)
    assert np.array_equal(pixels.image, new[0])
    assert np.array_equal(pixels.codes, new[1])


def test_another_pixel_size_of_the_file_is_another_entry(tmp_path: Path, write_rois: WriteRois) -> None:
    write_rois(tmp_path, {"case7": arrays()})
    shapes = [open_pixels(find_rois(tmp_path, mpp)[0], 1.2).codes.shape for mpp in (1.2, 0.6)]
    assert shapes == [(24, 32), (12, 16)]


def test_equal_names_in_two_folders_do_not_share_an_entry(tmp_path: Path, write_rois: WriteRois) -> None:
    for seed in (0, 1):
        write_rois(tmp_path / str(seed), {NAME: arrays(seed)}, ".tif")
        for path in (tmp_path / str(seed)).rglob("*.tif"):  # of one size and age
            os.utime(path, ns=(1, 1))
    for seed in (0, 1, 0):
        assert np.array_equal(open_pixels(find_rois(tmp_path / str(seed))[0], 0.25).image, arrays(seed)[0])


def test_half_an_entry_is_completed(folder: Path) -> None:
    before, roi = cached(), find_rois(folder)[0]
    open_pixels(roi, 0.25)
    next(p for p in cached() - before if p.stem.endswith("codes")).unlink()
    assert np.array_equal(open_pixels(roi, 0.25).codes, arrays(0)[1])


def test_a_refused_roi_leaves_nothing_in_the_cache(folder: Path) -> None:
    mask = folder / "masks" / f"{NAME}.png"
    mask.write_bytes(mask.read_bytes()[:-200])
    before = cached()
    with pytest.raises(DataError, match=str(mask)):
        open_pixels(find_rois(folder)[0], 0.25)
    assert cached() == before


def test_image_and_mask_of_two_sizes_are_refused_with_both_and_a_remedy(tmp_path: Path, write_rois: WriteRois) -> None:
    write_rois(tmp_path, {NAME: (arrays()[0], arrays(0, 23, 32)[1])})
    with pytest.raises(DataError, match=rf"masks/{NAME}\.png: is 32 x 23 px but its image is 32 x 24 px: export both"):
        open_pixels(find_rois(tmp_path)[0], 0.25)


def test_a_cache_that_cannot_be_written_is_told_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=f"cannot write {tmp_path / 'file'}"):
        open_pixels(find_rois(folder)[0], 0.25)


def test_the_cache_stands_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USHAPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/ushape")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ushape"


# ---- real tissue -------------------------------------------------------------------------------------------


def test_the_ten_real_rois_are_found_each_of_its_own_patient(real_data: Path) -> None:
    found = find_rois(real_data / "bcss-seed10")
    assert len(found) == len({r.patient for r in found}) == 10
    assert {r.mpp for r in found} == {1.2}
    pixels = open_pixels(found[0], 1.2)
    assert set(np.unique(pixels.codes)) <= {1, 2, 3, 4, 21}
    assert 370_000 <= pixels.codes.size <= 1_200_000
