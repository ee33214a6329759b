"""A DICOM segmentation is read back by highdicom pixel by pixel, and says no more than is known."""

from __future__ import annotations

import errno
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ushape.data.classes import Grouping, grouping
from ushape.errors import DataError, RunError, UshapeError
from ushape.predict import dicom
from ushape.predict.dicom import save_dicom

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

FIVE = grouping("bcss-5")
Blobs = Callable[..., Any]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A slide that is no DICOM."""
    path = tmp_path / "TCGA-A1-A0SK-DX1.svs"
    path.write_bytes(b"II*\0")
    return path


@pytest.mark.parametrize("shape", [(1, 1), (512, 1024), (700, 1301)])
def test_pixels_and_geometry_are_read_back(tmp_path: Path, slide: Path, blobs: Blobs, shape: tuple[int, int]) -> None:
    labels = blobs(*shape)
    save_dicom(tmp_path / "new" / "a.dcm", labels, 1.2, FIVE, {}, slide)
    read = highdicom.seg.segread(tmp_path / "new" / "a.dcm")
    assert np.array_equal(read.get_total_pixel_matrix(combine_segments=True), labels + np.uint8(1))
    assert (read.SegmentationType, read.DimensionOrganizationType) == ("LABELMAP", "TILED_FULL")
    assert (read.TotalPixelMatrixRows, read.TotalPixelMatrixColumns) == shape
    (groups,) = read.SharedFunctionalGroupsSequence
    assert [float(side) for side in groups.PixelMeasuresSequence[0].PixelSpacing] == [0.0012, 0.0012]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.dcm"]


def test_every_frame_is_found_by_the_table_of_offsets(tmp_path: Path, slide: Path, blobs: Blobs) -> None:
    labels = blobs(1100, 600)
    save_dicom(tmp_path / "a.dcm", labels, 1.2, FIVE, {}, slide)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    frames = list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=6))
    assert len(frames) == int(data.NumberOfFrames) == 6
    offsets = pydicom.encaps.parse_basic_offsets(data.PixelData)
    assert offsets == np.cumsum([0, *(len(frame) + 8 for frame in frames[:-1])]).tolist()


def test_segments_have_the_codes_of_their_classes(tmp_path: Path, slide: Path, blobs: Blobs) -> None:
    save_dicom(tmp_path / "a.dcm", blobs(30, 30), 1.2, FIVE, {"network": "abc", "tta": "d4"}, slide)
    read = highdicom.seg.segread(tmp_path / "a.dcm")
    found = {}
    for number in read.segment_numbers:
        segment = read.get_segment_description(number)
        kind = segment.segmented_property_type
        found[segment.SegmentLabel] = (number, kind.value, kind.scheme_designator)
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmParameters == "network=abc,tta=d4"
    assert found == {
        "tumor": (1, "108369006", "SCT"),
        "stroma": (2, "21793004", "SCT"),
        "inflammatory": (3, "409774005", "SCT"),
        "necrosis": (4, "6574001", "SCT"),
        "other": (5, "other", "99USHAPE"),
    }


def test_the_codes_are_those_of_dicoms_context_groups() -> None:
    from pydicom.sr._concepts_dict import concepts

    known = [(code, *about) for keyword in concepts["SCT"].values() for code, about in keyword.items()]
    for category, kind in dicom.CODES.values():
        assert [7150 in groups for code, meaning, groups in known if (code, meaning) == category] == [True]
        assert [7159 in groups or 7166 in groups for code, meaning, groups in known if (code, meaning) == kind] == [
            True
        ]


def test_a_class_with_a_long_name_gets_a_private_code(tmp_path: Path, slide: Path) -> None:
    made = Grouping(
        "mine", 1, ("lymphocytic_infiltrate",), (FIVE.groups[0] | set(range(22)),), frozenset(), ((1, 2, 3),)
    )
    save_dicom(tmp_path / "a.dcm", np.zeros((9, 9), np.uint8), 1.2, made, {}, slide)
    segment = highdicom.seg.segread(tmp_path / "a.dcm").get_segment_description(1)
    assert segment.segmented_property_type.value == "lymphocytic_infiltrate"


def test_of_patient_and_specimen_nothing_is_made_up(tmp_path: Path, slide: Path, blobs: Blobs) -> None:
    made = []
    for name in ("a", "b"):
        save_dicom(tmp_path / f"{name}.dcm", blobs(30, 30), 1.2, FIVE, {}, slide)
        made.append(pydicom.dcmread(tmp_path / f"{name}.dcm"))
    one, other = made
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate"):
        assert one[keyword].is_empty
    assert one.ContainerIdentifier == one.SpecimenDescriptionSequence[0].SpecimenIdentifier == "TCGA-A1-A0SK-DX1"
    for keyword in ("SourceImageSequence", "ReferencedSeriesSequence"):
        assert keyword not in one
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID


def test_of_a_dicom_slide_identity_and_place_are_its_own(tmp_path: Path, slide: Path, blobs: Blobs) -> None:
    source = dicom._made_up(highdicom, slide, 0.25)
    source.PatientID, source.ContainerIdentifier = "P7", "S-2024-1"
    source.TotalPixelMatrixRows = source.TotalPixelMatrixColumns = 4000
    source.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = 7.5
    source.file_meta = pydicom.dataset.FileMetaDataset()
    source.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    source.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
    source.save_as(tmp_path / "slide.dcm", enforce_file_format=True)
    for mpp in (0.25, 1.2):
        labels = blobs(600, 700)
        save_dicom(tmp_path / "a.dcm", labels, mpp, FIVE, {}, tmp_path / "slide.dcm")
        read = highdicom.seg.segread(tmp_path / "a.dcm")
        assert (read.PatientID, read.ContainerIdentifier) == ("P7", "S-2024-1")
        assert read.StudyInstanceUID == source.StudyInstanceUID
        assert read.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert read.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem == 7.5
        assert np.array_equal(read.get_total_pixel_matrix(combine_segments=True), labels + np.uint8(1))


def test_a_careless_dicom_slide_does_not_stop_its_segmentation(tmp_path: Path, slide: Path, blobs: Blobs) -> None:
    bare = pydicom.Dataset()
    bare.SOPClassUID, bare.PatientID, bare.Rows, bare.Columns = dicom.WHOLE_SLIDE, "P7", 256, 256
    bare.SOPInstanceUID, bare.NumberOfFrames = pydicom.uid.generate_uid(), 9
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    bare.save_as(tmp_path / "slide.dcm", enforce_file_format=True)
    labels = blobs(600, 700)
    save_dicom(tmp_path / "a.dcm", labels, 1.2, FIVE, {}, tmp_path / "slide.dcm")
    read = highdicom.seg.segread(tmp_path / "a.dcm")
    assert read.PatientID == "P7"
    assert "SourceImageSequence" not in read  # no study, so nothing to refer to
    assert np.array_equal(read.get_total_pixel_matrix(combine_segments=True), labels + np.uint8(1))


def test_memory_does_not_grow_with_the_height_of_a_slide(
    tmp_path: Path, slide: Path, blobs: Blobs, watched: Any
) -> None:
    band = blobs(600, 1500, size=20)
    peaks = []
    save_dicom(tmp_path / "a.dcm", band, 1.0, FIVE, {}, slide)  # what is loaded once
    for times in (2, 8):
        source = watched(np.tile(band, (times, 1)))
        tracemalloc.start()
        save_dicom(tmp_path / "a.dcm", source, 1.0, FIVE, {}, slide)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert source.largest <= 512 * 1500
    assert peaks[1] < peaks[0] * 1.3, peaks


def test_mistakes_are_told_and_leave_nothing(
    tmp_path: Path, slide: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="has label 9"):
        save_dicom(tmp_path / "a.dcm", np.full((9, 9), 9, np.uint8), 1.0, FIVE, {}, slide)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dicom, "_write_frames", full)
    with pytest.raises(RunError, match="free some space"):
        save_dicom(tmp_path / "a.dcm", blobs(9, 9), 1.0, FIVE, {}, slide)
    assert [p.name for p in tmp_path.iterdir()] == [slide.name]
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UshapeError, match=r"pip install 'ushape\[dicom\]'"):
        save_dicom(tmp_path / "a.dcm", blobs(9, 9), 1.0, FIVE, {}, slide)
