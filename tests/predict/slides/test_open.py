"""Opening: what is refused, by name and with a remedy."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.errors import DataError
from ushape.predict.slides import MAX_PIXELS, open_slide
from ushape.predict.slides.image import ImageSlide

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".jpg", {"quality": 95}), (".JPEG", {"quality": 95})])
def test_plain_images_are_slides_of_one_level(
    tmp_path: Path, picture: Picture, suffix: str, options: dict[str, int]
) -> None:
    image = picture(40, 70)[..., :1].repeat(3, 2)
    path = tmp_path / f"a_MPP-0.5000{suffix}"
    Image.fromarray(image).save(path, **options)
    with open_slide(path) as slide:
        assert isinstance(slide, ImageSlide)
        assert [(at.height, at.width) for at in slide.levels] == [(40, 70)]
        assert slide.mpp == 0.5
        assert np.abs(slide.read(0, 0, 0, 40, 70).astype(int) - image).max() <= (0 if suffix == ".png" else 30)
        assert slide.metadata["pixel_size_from"] == "its name"


def png(width: int, height: int) -> bytes:
    """The header of a PNG of this size, which holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


def jpeg(width: int, height: int) -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(made, "JPEG")
    frame = made.getvalue().index(b"\xff\xc0")
    data = bytearray(made.getvalue())
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(("name", "header"), [("a.png", png), ("a.jpg", jpeg)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, name: str, header: Callable[[int, int], bytes]
) -> None:
    (tmp_path / name).write_bytes(header(60_000, 50_000))
    with pytest.raises(DataError, match=rf"{name}: is 60000 x 50000 px, over the limit of {MAX_PIXELS} .*--max-pixels"):
        open_slide(tmp_path / name, 0.5)


def test_the_limit_can_be_raised(tmp_path: Path, picture: Picture) -> None:
    Image.fromarray(picture(40, 70)).save(tmp_path / "a.png")
    open_slide(tmp_path / "a.png", 0.5, 2800).close()
    with pytest.raises(DataError, match="limit of 2799 pixels"):
        open_slide(tmp_path / "a.png", 0.5, 2799)


@pytest.mark.parametrize(
    ("mode", "message"),
    [("L", "8-bit grey"), ("P", "8-bit palette"), ("I;16", "16-bit"), ("CMYK", "CMYK"), ("RGBA", "transparent pixels")],
)
def test_other_images_are_refused(tmp_path: Path, mode: str, message: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (20, 20)).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: .*{message}"):
        open_slide(path, 0.5)


def test_opaque_alpha_is_no_obstacle(tmp_path: Path, picture: Picture) -> None:
    image = Image.fromarray(picture(20, 30))
    image.putalpha(255)
    image.save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", 0.5) as slide:
        assert np.array_equal(slide.read(0, 0, 0, 20, 30), picture(20, 30))


def test_no_file_an_empty_one_a_folder_and_anything_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "slide.mrxs").mkdir()
    for name in ("empty.svs", "empty.png"):
        (tmp_path / name).write_bytes(b"")
    for name in ("notes.txt", "fake.svs", "fake.ndpi", "fake.mrxs", "fake.dcm", "fake.png", "fake.jpg", "fake.tif"):
        (tmp_path / name).write_bytes(b"this is no slide" * 40)
    (tmp_path / "short.tif").write_bytes(b"II*\0")
    (tmp_path / "short.svs").write_bytes(b"II*\0\x08\0\0\0")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match=rf"{path.name}: .+"):
            open_slide(path, 0.5)
    with pytest.raises(DataError, match=r"gone\.svs: there is no such file"):
        open_slide(tmp_path / "gone.svs", 0.5)


@pytest.mark.parametrize("missing", ["openslide", "imagecodecs"])
def test_a_missing_library_is_told_with_its_extra(
    write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    path = write_tiff("a_MPP-0.5.tif", [picture(70, 70)])
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DataError, match=r"pip install 'ushape\[slides\]'"):
        open_slide(path)


def test_plain_images_need_no_library_of_slides(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openslide", "tifffile", "imagecodecs"):
        monkeypatch.setitem(sys.modules, name, None)
    Image.fromarray(picture(20, 30)).save(tmp_path / "a_MPP-0.5.png")
    open_slide(tmp_path / "a_MPP-0.5.png").close()
