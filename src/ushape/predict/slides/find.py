"""Which files are slides, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ushape.errors import DataError

IMAGES = (".png", ".jpg", ".jpeg")
TIFFS = (".tif", ".tiff", ".btf", ".tf8")
SCANNERS = (".svs", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".dcm", ".czi")
SUFFIXES = (*SCANNERS, *TIFFS, *IMAGES)


def slide_name(path: Path) -> str:
    """The name of a slide: that of its file without suffix, and without the `.ome` of an OME-TIFF."""
    return path.stem.removesuffix(".ome").removesuffix(".OME")


def find_slides(paths: Sequence[Path]) -> list[Path]:
    """The slides among files and folders, in the order given, those of a folder sorted.

    DataError: no such file, a file of unknown type, a folder without slides, two slides of one name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            inside = [p for p in inside if p.is_file()]
            if not inside:
                raise DataError(f"{path}: this folder holds no slide ({', '.join(SUFFIXES)})")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        else:
            found.append(path)
    seen: dict[str, Path] = {}
    for path in found:
        first = seen.setdefault(slide_name(path), path)
        if first is not path:
            raise DataError(f"{path}: has the name of {first} and would overwrite its results: rename one of them")
    return found
