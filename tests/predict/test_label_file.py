"""A label map is read back as it was written, piece by piece, and damage is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from ushape.data.classes import grouping
from ushape.errors import DataError
from ushape.predict.label_file import LabelFile
from ushape.predict.pyramid import save_label_pyramid

FIVE = grouping("bcss-5")
Blobs = Callable[..., Any]


@pytest.fixture
def labels(tmp_path: Path, blobs: Blobs) -> Any:
    made = blobs(1100, 1300, size=3)
    save_label_pyramid(tmp_path / "a.ome.tiff", made, 0.75, FIVE, {"slide_mpp": 0.25})
    return made


def test_what_was_written_is_read(tmp_path: Path, labels: Any) -> None:
    with LabelFile(tmp_path / "a.ome.tiff") as file:
        assert (file.shape, file.mpp, file.classes) == ((1100, 1300), 0.75, FIVE.classes)
        assert file.about == {"grouping": FIVE.id, "slide_mpp": "0.25"}
        for cut in [
            np.s_[:, :],
            np.s_[5:9],
            np.s_[500:530, 1000:1100],
            np.s_[1024:, :3],
            np.s_[7:7, :],
            np.s_[-3:, -5:],
        ]:
            assert np.array_equal(file[cut], labels[cut])


def test_a_truncated_file_is_told(tmp_path: Path, labels: Any) -> None:
    path = tmp_path / "a.ome.tiff"
    whole = path.read_bytes()
    for share in (0, 0.001, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=r"a\.ome\.tiff: is .*truncated or damaged"), LabelFile(path) as file:
            file[:, :]


def test_damaged_tiles_are_told(tmp_path: Path, labels: Any) -> None:
    path = tmp_path / "a.ome.tiff"
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[4]  # type: ignore[union-attr]
    whole = bytearray(path.read_bytes())
    whole[start : start + 50] = bytes(50)
    path.write_bytes(whole)
    with LabelFile(path) as file:
        assert np.array_equal(file[:512, :512], labels[:512, :512])
        with pytest.raises(DataError, match="truncated or damaged"):
            file[512:1024, 512:1024]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        LabelFile(tmp_path / "none.tiff")
    Image.new("P", (600, 600)).save(tmp_path / "plain.tiff")
    tifffile.imwrite(tmp_path / "ome.tiff", np.zeros((600, 600), np.uint8), ome=True, tile=(512, 512))
    for name in ("plain.tiff", "ome.tiff"):
        with pytest.raises(DataError, match=rf"{name}: is no label map of ushape"):
            LabelFile(tmp_path / name)
