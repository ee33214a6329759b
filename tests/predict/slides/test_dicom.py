"""DICOM slides: one slide is a file a level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.data.classes import grouping
from ushape.errors import DataError
from ushape.predict.dicom import save_dicom
from ushape.predict.slides import View, find_slides, open_slide

Bytes = NDArray[np.uint8]
MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"


def write(path: Path, image: Bytes, mpp: float, series: str, level: int, **changed: Any) -> None:
    """One level, in uncompressed tiles of 128 px."""
    pydicom = pytest.importorskip("pydicom")
    data: Any = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MICROSCOPY
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{series}.{level + 1}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.3", series, "SM"
    origin = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"] if level else ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    height, width = image.shape[:2]
    data.ImageType, data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = origin, height, width
    padded = np.pad(image, ((0, -height % 128), (0, -width % 128), (0, 0)))
    tiles = padded.reshape(len(padded) // 128, 128, -1, 128, 3).swapaxes(1, 2)
    data.Rows, data.Columns, data.NumberOfFrames = 128, 128, tiles.shape[0] * tiles.shape[1]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.DimensionOrganizationType = "TILED_FULL"
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    measures, shared = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared.PixelMeasuresSequence = pydicom.Sequence([measures])
    data.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    data.PixelData = np.ascontiguousarray(tiles).tobytes()
    data["PixelData"].VR = "OB"
    for keyword, value in changed.items():
        setattr(data, keyword, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def test_levels_of_a_slide_are_found_as_one(
    tmp_path: Path, picture: Callable[..., Bytes], shrunk: Callable[..., Bytes]
) -> None:
    image = picture(400, 500)
    for name, series in (("a", "1.2.3.4"), ("b", "1.2.3.5")):
        write(tmp_path / f"{name}1.dcm", image, 0.5, series, 0)
        write(tmp_path / f"{name}2.dcm", shrunk(image, 4), 2.0, series, 1)
    (tmp_path / "note.dcm").write_bytes(b"no slide")
    found = find_slides([tmp_path])
    assert [path.name for path in found] == ["a1.dcm", "b1.dcm", "note.dcm"]
    with open_slide(found[0]) as slide:
        assert slide.mpp == 0.5
        assert slide.metadata["vendor"] == "dicom"
        for mpp, expected in ((0.5, image), (2.0, shrunk(image, 4))):
            view = View(slide, mpp)
            assert np.array_equal(view.read(0, 0, view.height, view.width), expected)


def test_of_a_series_the_finest_level_counts_whatever_the_files_are_called(
    tmp_path: Path, picture: Callable[..., Bytes]
) -> None:
    pydicom, image, series = pytest.importorskip("pydicom"), picture(256, 384), "1.2.3.4"
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    label = {"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "FrameOfReferenceUID": "1.2.9.1"}
    write(tmp_path / "1.dcm", image[:128, :128], 20.0, series, 8, ImageOrientationSlide=[1, 0, 0, 0, 1, 0], **label)
    origin = pydicom.Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 21.5, 40.25
    place = {"ImageOrientationSlide": [0, -1, 0, -1, 0, 0], "TotalPixelMatrixOriginSequence": [origin]}
    write(tmp_path / "2.dcm", image[::2, ::2], 2.0, series, 1, FrameOfReferenceUID="1.2.9.2", **place)
    write(tmp_path / "3.dcm", image, 1.0, series, 0, FrameOfReferenceUID="1.2.9.2", **place)
    assert find_slides([tmp_path]) == [tmp_path / "3.dcm"]
    assert find_slides([tmp_path / "1.dcm"]) == [tmp_path / "1.dcm"]  # as it was named
    for name in ("1.dcm", "2.dcm", "3.dcm"):
        out = tmp_path / "made" / name
        save_dicom(out, np.zeros(image.shape[:2], np.uint8), 1.0, grouping("bcss-5"), {}, tmp_path / name)
        made = pydicom.dcmread(out)
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == f"{series}.1"
        assert made.FrameOfReferenceUID == "1.2.9.2"
        assert made.ImageOrientationSlide == [0, -1, 0, -1, 0, 0]
        assert made.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem == 21.5


def test_a_segmentation_without_its_finest_level_is_refused(
    tmp_path: Path, picture: Callable[..., Bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    write(tmp_path / "1.dcm", picture(128, 128), 1.0, "1.2.3.4", 0)
    monkeypatch.setattr("ushape.predict.slides.find._instance", lambda path: "another")
    with pytest.raises(DataError, match=r"1\.dcm: the file of its finest level is not beside it: copy the whole"):
        save_dicom(
            tmp_path / "a" / "a.dcm", np.zeros((128, 128), np.uint8), 1.0, grouping("bcss-5"), {}, tmp_path / "1.dcm"
        )
