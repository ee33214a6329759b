"""Which files are slides, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ushape.errors import DataError
from ushape.predict.slides.libraries import openslide_module

IMAGES = (".png", ".jpg", ".jpeg")
TIFFS = (".tif", ".tiff", ".btf", ".tf8")
SCANNERS = (".svs", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".dcm", ".czi")
SUFFIXES = (*SCANNERS, *TIFFS, *IMAGES)


def slide_name(path: Path) -> str:
    """The name of a slide: that of its file without suffix, and without the `.ome` of an OME-TIFF."""
    return path.stem.removesuffix(".ome").removesuffix(".OME")


def scanner(path: Path) -> str | None:
    """The format of a file in OpenSlide's words, None where it knows none."""
    module = openslide_module()
    try:
        vendor: str | None = module.OpenSlide.detect_format(path)
    except (module.OpenSlideError, OSError):
        return None
    return vendor


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or BigTIFF of either byte order; DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error


def find_slides(paths: Sequence[Path]) -> list[Path]:
    """The slides among files and folders, in the order given, those of a folder sorted.

    Of DICOM files that are one slide, that of its finest level stands for it.

    DataError: no such file, one unreadable or of unknown type, a folder without slides, two slides of one name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            try:
                there = sorted(path.iterdir())
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
            inside = [p for p in there if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
            inside = [p for p in inside if p.is_file()]
            if not inside:
                raise DataError(f"{path}: this folder holds no slide ({', '.join(SUFFIXES)})")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        elif path.suffix.lower() in SUFFIXES or is_tiff(path) or scanner(path):
            found.append(path)
        else:
            raise DataError(f"{path}: is of no known type ({', '.join(SUFFIXES)})")
    found = _one_of_each_series(found)
    seen: dict[str, Path] = {}
    for path in found:
        first = seen.setdefault(slide_name(path), path)
        if first is not path:
            raise DataError(f"{path}: has the name of {first} and would overwrite its results: rename one of them")
    return found


def first_level(path: Path) -> Path | None:
    """The file of the finest level of the DICOM slide that a file in the same folder is a part of.

    Not every file of a series is a level: label and overview lie in coordinates of their own. The file itself where
    OpenSlide cannot open it, None where no file of the folder is what OpenSlide takes for the finest level.
    """
    module = openslide_module()
    try:
        with module.OpenSlide(path) as slide:
            instance = slide.properties.get("dicom.SOPInstanceUID")
    except (module.OpenSlideError, OSError):
        return path
    there = sorted(file for file in path.parent.iterdir() if file.is_file())
    return next((file for file in (path, *there) if _instance(file) == instance), None)


_INSTANCE = re.compile(rb"\x02\x00\x03\x00UI(..)", re.DOTALL)
"""Tag and type of MediaStorageSOPInstanceUID, and the length of the value that follows."""


def _instance(path: Path) -> str | None:
    """The SOP instance UID of a DICOM file, as it stands near its beginning; None where there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError:
        return None
    found = _INSTANCE.search(head) if head[128:132] == b"DICM" else None
    if found is None:
        return None
    return head[found.end() :][: int.from_bytes(found[1], "little")].rstrip(b"\0 ").decode("ascii", "replace")


def _one_of_each_series(paths: list[Path]) -> list[Path]:
    """Of files that are one DICOM slide, that of its finest level, or the first where that one is not among them."""
    seen: set[Path] = set()
    kept = []
    for path in paths:
        first = first_level(path) if path.suffix.lower() == ".dcm" else None
        if first is None or first not in seen:
            kept.append(first if first in paths else path)
        seen |= {first} if first else set()
    return kept
