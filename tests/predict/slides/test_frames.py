"""Sizes that compressed data declare."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from ushape.predict.slides.frames import declared_size

IMAGE = np.zeros((48, 80, 3), np.uint8)


@pytest.mark.parametrize("options", [{}, {"subsampling": "420"}, {"optimize": True}])
def test_jpeg_declares_its_size(options: dict[str, object]) -> None:
    assert declared_size(imagecodecs.jpeg_encode(IMAGE, **options)) == (80, 48)


@pytest.mark.parametrize("codec", ["j2k", "jp2"])
def test_jpeg_2000_declares_its_size_bare_or_in_its_box(codec: str) -> None:
    assert declared_size(imagecodecs.jpeg2k_encode(IMAGE, codecformat=codec)) == (80, 48)


def test_other_and_damaged_data_declare_nothing() -> None:
    made = imagecodecs.jpeg_encode(IMAGE)
    for data in (
        b"",
        b"\xff\xd8",
        made[:20],
        made[:2] + bytes(400),
        imagecodecs.zlib_encode(IMAGE.tobytes()),
        b"\xff\x4f\xff\x51",
    ):
        assert declared_size(data) is None
