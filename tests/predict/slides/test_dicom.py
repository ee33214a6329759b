"""DICOM slides: one slide is a file a level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.predict.slides import View, find_slides, open_slide

Bytes = NDArray[np.uint8]
MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"


def write(path: Path, image: Bytes, mpp: float, series: str, level: int) -> None:
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
