"""Tissue composition of finished predictions, counted anew from their label maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ushape.errors import DataError
from ushape.predict.composition import count, of_counts
from ushape.predict.inside import count_inside, read_annotations
from ushape.predict.job import LABELS, PROVENANCE, WORK
from ushape.predict.label_file import LabelFile


@dataclass(frozen=True)
class Measured:
    """Compositions by (slide, annotation), all of one grouping; annotation "" is the whole slide.

    region: mm² inside each annotation, predicted or not. without_area: points and lines, which were passed over.
    """

    grouping: str
    compositions: dict[tuple[str, str], dict[str, Any]]
    region: dict[tuple[str, str], float]
    without_area: int = 0


def find_predictions(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Folders of finished predictions: the paths themselves, or the folders in them; and those in them not finished.

    DataError where a path is neither, where a prediction that is named itself, or every one in a folder, is not
    finished, or where one is named twice.
    """
    found: list[Path] = []
    unfinished: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise DataError(
                f"{path}: no such folder: name the folder of a prediction, or the --out of `ushape predict`"
            )
        inside = [path] if _begun(path) else [p for p in sorted(path.iterdir()) if p.is_dir() and _begun(p)]
        if not inside:
            raise DataError(f"{path}: holds no prediction ({LABELS}): name what was --out of `ushape predict`")
        done = [folder for folder in inside if (folder / LABELS).is_file() and (folder / PROVENANCE).is_file()]
        if not done:
            missing = f", {LABELS} is missing" if (inside[0] / PROVENANCE).is_file() else ""
            raise DataError(
                f"{inside[0]}: its prediction is not finished{missing}: start the same `ushape predict` again"
            )
        found += done
        unfinished += [folder for folder in inside if folder not in done]
    if doubled := {folder.resolve() for folder in found if [f.resolve() for f in found].count(folder.resolve()) > 1}:
        raise DataError(f"{min(doubled)}: is named twice: name it once")
    return found, unfinished


def measure(
    folders: Sequence[Path], inside: Path | None = None, advance: Callable[[], None] = lambda: None
) -> Measured:
    """Composition of each folder's label map; with `inside`, of each annotation in it.

    inside: a GeoJSON file for a single slide, or a folder of NAME.geojson for slides NAME, in px of level 0.
    DataError where label maps are damaged or of several groupings, or annotations are missing or lie beside the slide.
    """
    files = {folder.name: folder / LABELS for folder in folders}
    if len(files) < len(folders):
        raise DataError("two of these folders have the same name, which rows could not tell apart: measure them apart")
    if inside is not None and not inside.is_dir() and len(folders) > 1:
        raise DataError(f"{inside}: belongs to one slide, not to {len(folders)}: name one, or a folder of NAME.geojson")
    groupings: dict[str, str] = {}
    compositions: dict[tuple[str, str], dict[str, Any]] = {}
    region: dict[tuple[str, str], float] = {}
    without = 0
    for name, path in files.items():
        with LabelFile(path) as labels:
            groupings.setdefault(labels.about.get("grouping", ", ".join(labels.classes)), name)
            if len(groupings) > 1:
                (one, first), (other, second) = groupings.items()
                raise DataError(
                    f"{first} has classes of {one}, {second} of {other}: their numbers do not mean the same: measure "
                    "each grouping's slides apart"
                )
            if inside is None:
                compositions[name, ""] = _composition(path, count(labels), labels)
            else:
                without += _annotated(name, labels, inside, compositions, region)
        advance()
    return Measured(next(iter(groupings)), compositions, region, without)


def _annotated(
    name: str,
    labels: LabelFile,
    inside: Path,
    compositions: dict[tuple[str, str], dict[str, Any]],
    region: dict[tuple[str, str], float],
) -> int:
    """Add each annotation of a slide; the number of features that have no area."""
    path = inside / f"{name}.geojson" if inside.is_dir() else inside
    if "slide_mpp" not in labels.about:
        raise DataError(f"{labels.path}: does not say the slide's pixel size, which annotations need: predict it again")
    annotations, without = read_annotations(path)
    to_slide = labels.mpp / float(labels.about["slide_mpp"])
    x, y = (int(labels.about.get(f"slide_corner_{axis}", 0)) for axis in "xy")
    counts = {each.name: count_inside(labels, each, to_slide, (x, y)) for each in annotations}
    if not any(c.sum() for c in counts.values()):
        raise DataError(f"{path}: no annotation lies on the slide of {labels.path.parent}: is it of another slide?")
    for annotation, found in counts.items():
        compositions[name, annotation] = _composition(labels.path, found, labels)
        region[name, annotation] = round(float(found.sum()) * (labels.mpp / 1000) ** 2, 6)
    return without


def _composition(path: Path, counts: Any, labels: LabelFile) -> dict[str, Any]:
    try:
        return of_counts(counts, labels.mpp, labels.classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _begun(folder: Path) -> bool:
    """Whether a folder is one slide's, finished or not: its work in progress lies in a hidden folder."""
    return any((folder / name).exists() for name in (LABELS, PROVENANCE, WORK))
