"""A label map as a DICOM Label Map Segmentation of a whole slide.

The header is highdicom's; the tiles are encoded and written one by one, since highdicom would take the whole map into
memory. In a tiled-full image no attribute belongs to a single frame, so the header of one tile is that of all, but for
the number of frames and the size of the whole.

A segment a class, numbered from 1; 0 is what was not predicted. Codes are of the context groups that DICOM has for
segments (CID 7150, 7159, 7166); a class that is not in CODES gets a private one, of the scheme 99USHAPE. Nothing is
made up about patient and specimen: what is not known is empty, and the container is the slide file's name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from ushape import __version__
from ushape.data.classes import IGNORE, Grouping
from ushape.errors import DataError, UshapeError
from ushape.files import replacing
from ushape.predict.slides.find import first_level
from ushape.predict.store import Grid

TILE = 512

CODES = {
    "tumor": (("49755003", "Morphologically Abnormal Structure"), ("108369006", "Neoplasm")),
    "stroma": (("85756007", "Tissue"), ("21793004", "Connective tissue")),
    "inflammatory": (("49755003", "Morphologically Abnormal Structure"), ("409774005", "Inflammation")),
    "necrosis": (("49755003", "Morphologically Abnormal Structure"), ("6574001", "Necrosis")),
}
"""SNOMED CT codes of a class: category and type of what a segment shows."""

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of a VL Whole Slide Microscopy Image."""

Bytes = NDArray[np.uint8]


def save_dicom(path: Path, labels: Grid, mpp: float, grouping: Grouping, about: Mapping[str, Any], slide: Path) -> None:
    """Write a label map uint8 [H, W] at `mpp` µm per px as a segmentation of the slide in the file `slide`.

    If that file is of a DICOM whole-slide image, study, patient, specimen, frame of reference and position are those
    of its finest level, which is referenced. Else they are empty or derived from the file's name and size, so that two
    segmentations of one file are of one study, and nothing is referenced: there is no such DICOM image. `about` goes
    into the parameters of the algorithm. UshapeError without highdicom; DataError where a label is no class or the
    finest level is missing; RunError where the disk is full.
    """
    highdicom = highdicom_module()
    height, width = labels.shape
    source, real = _source(highdicom, slide, mpp)
    made, encode = _header(highdicom, mpp, grouping, about, source, real)
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = height, width
    made.NumberOfFrames = -(-height // TILE) * -(-width // TILE)
    with replacing(path) as temporary:
        frames = temporary.with_name(f".{path.name}.frames.part")
        try:
            with frames.open("w+b") as file:
                tiles = _tiles(path, labels, len(grouping.classes))
                _write_frames(file, map(encode, tiles), made.NumberOfFrames)
                made.PixelData = file
                made["PixelData"].is_undefined_length = True
                made.save_as(temporary)
        finally:
            frames.unlink(missing_ok=True)


def highdicom_module() -> Any:
    """The module `highdicom`; UshapeError naming the extra where it is not installed."""
    try:
        import highdicom
    except ImportError as error:
        raise UshapeError("DICOM segmentations need highdicom: pip install 'ushape[dicom]'") from error
    return highdicom


def _header(
    highdicom: Any, mpp: float, grouping: Grouping, about: Mapping[str, Any], source: Any, real: bool
) -> tuple[Any, Any]:
    """The segmentation of one empty tile, without pixels, and the function that encodes a tile [512, 512]."""
    from highdicom.frame import encode_frame
    from pydicom.uid import JPEGLSLossless

    segmentation = highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=np.zeros((TILE, TILE), np.uint8),
        segmentation_type="LABELMAP",
        segment_descriptions=_segments(highdicom, grouping, about),
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Ushape",
        manufacturer_model_name="ushape",
        software_versions=__version__,
        device_serial_number=__version__,  # of type 1, and software has none but its version
        content_label="TISSUE",
        content_description=f"Tissue classes of {grouping.id}",
        transfer_syntax_uid=JPEGLSLossless,
        pixel_measures=_measures(highdicom, mpp),
        omit_empty_frames=False,
        dimension_organization_type="TILED_FULL",
        tile_pixel_array=True,
        tile_size=(TILE, TILE),
    )
    if not real:
        del segmentation.SourceImageSequence, segmentation.ReferencedSeriesSequence

    def encode(tile: Bytes) -> bytes:
        return encode_frame(tile, JPEGLSLossless, 8, 8, "MONOCHROME2", pixel_representation=0)

    return segmentation, encode


def _segments(highdicom: Any, grouping: Grouping, about: Mapping[str, Any]) -> list[Any]:
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="ushape",
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        parameters={key: str(value) for key, value in about.items()} or None,
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=index + 1,
            segment_label=name,
            segmented_property_category=category,
            segmented_property_type=kind,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=highdicom.color.CIELabColor.from_rgb(*grouping.colours[index]),
        )
        for index, name in enumerate(grouping.classes)
        for category, kind in [_codes(highdicom, name)]
    ]


def _codes(highdicom: Any, name: str) -> tuple[Any, Any]:
    """Category and type of a class as coded concepts."""
    if name in CODES:
        category, kind = (highdicom.sr.CodedConcept(value, "SCT", meaning) for value, meaning in CODES[name])
        return category, kind
    tissue = CODES["stroma"][0]
    return highdicom.sr.CodedConcept(tissue[0], "SCT", tissue[1]), highdicom.sr.CodedConcept(name, "99USHAPE", name)


def _source(highdicom: Any, slide: Path, mpp: float) -> tuple[Any, bool]:
    """The data set of the slide without its pixels, and whether it is one; else one in which only its file is known.

    Of a DICOM slide it is the finest level's, whichever of its files is given. What a careless converter left out is
    empty or derived as for other files. The matrix is said to be a tile's, for `_header`. DataError where the finest
    level is not to be found.
    """
    source, real, found = _made_up(highdicom, slide, mpp), False, finest(slide)
    if found is not None:
        real = all(key in found for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        groups = found.get("SharedFunctionalGroupsSequence")
        if not groups or "PixelMeasuresSequence" not in groups[0]:
            found.SharedFunctionalGroupsSequence = source.SharedFunctionalGroupsSequence
        source.update(found)
    source.TotalPixelMatrixRows = source.TotalPixelMatrixColumns = TILE
    return source, real


def finest(slide: Path) -> Any:
    """The data set of a DICOM slide's finest level without its pixels; None of a slide that is no DICOM.

    DataError where the file of that level is not beside the slide.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        found = pydicom.dcmread(slide, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None
    if found.get("SOPClassUID") != WHOLE_SLIDE:
        return None
    level = first_level(slide)
    if level is None:
        raise DataError(f"{slide}: the file of its finest level is not beside it: copy the whole series again")
    return found if level == slide else pydicom.dcmread(level, stop_before_pixels=True)


def _made_up(highdicom: Any, slide: Path, mpp: float) -> Any:
    """What highdicom needs of a slide that is no DICOM: identifiers from the file's name and size, all else empty."""
    from pydicom.dataset import Dataset

    known = f"{slide.name}/{slide.stat().st_size}"
    made = Dataset()
    for part in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        setattr(made, part, f"2.25.{uuid5(NAMESPACE_URL, f'ushape/{part}/{known}').int}")
    made.SOPClassUID, made.Modality, made.SpecificCharacterSet = WHOLE_SLIDE, "SM", "ISO_IR 192"
    for empty in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(made, empty, "")
    made.StudyDate = made.StudyTime = made.ReferringPhysicianName = ""
    made.Rows = made.Columns = TILE
    made.NumberOfFrames = 1
    groups = Dataset()
    groups.PixelMeasuresSequence = _measures(highdicom, mpp)
    made.SharedFunctionalGroupsSequence = [groups]
    made.ImageOrientationSlide = [0.0, -1.0, 0.0, -1.0, 0.0, 0.0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0.0
    made.TotalPixelMatrixOriginSequence = [origin]
    name = slide.name.partition(".")[0][:64]
    made.ContainerIdentifier = name
    made.IssuerOfTheContainerIdentifierSequence = []
    made.ContainerTypeCodeSequence = []
    specimen = Dataset()
    specimen.SpecimenIdentifier = name
    specimen.SpecimenUID = f"2.25.{uuid5(NAMESPACE_URL, f'ushape/SpecimenUID/{known}').int}"
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    made.SpecimenDescriptionSequence = [specimen]
    return made


def _measures(highdicom: Any, mpp: float) -> Any:
    """Pixel spacing in mm; the section's thickness is not known: a micrometre, as is usual where it is not."""
    return highdicom.PixelMeasuresSequence(pixel_spacing=(mpp / 1000, mpp / 1000), slice_thickness=0.001)


def _tiles(path: Path, labels: Grid, classes: int) -> Iterator[Bytes]:
    """Segment numbers [512, 512] of each tile, row after row; 0 where nothing was predicted, and beyond the map."""
    height, width = labels.shape
    for top in range(0, height, TILE):
        band = labels[top : top + TILE, :]
        if (foreign := band[(band >= classes) & (band != IGNORE)]).size:
            raise DataError(f"{path}: the label map has label {foreign[0]}, which is no class: predict the slide again")
        for left in range(0, width, TILE):
            part = band[:, left : left + TILE]
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part + np.uint8(1)  # IGNORE, the highest number, becomes 0
            yield tile


def _write_frames(file: BinaryIO, frames: Iterator[bytes], count: int) -> None:
    """Write frames as the items of encapsulated pixel data (PS3.5 A.4), behind a table of their offsets.

    DataError where they are more than the 4 GB that the table can tell.
    """
    file.write(_item(bytes(4 * count)))
    offsets, at = [], 0
    for frame in frames:
        offsets.append(at)
        at += file.write(_item(frame))
    if at >= 2**32:
        raise DataError(f"a DICOM segmentation of {at / 1e9:.1f} GB has no table of frames: leave --dicom out")
    file.seek(0)
    file.write(_item(np.array(offsets, "<u4").tobytes()))
    file.seek(0)


def _item(content: bytes) -> bytes:
    padded = content + bytes(len(content) % 2)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(padded)) + padded
