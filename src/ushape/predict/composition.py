"""How much of a slide is which tissue: areas, shares, and two ratios that pathologists use.

Conventions, over all predicted pixels (IGNORE is neither counted nor part of any denominator):

- share of a class: its area / area of all classes, `other` included;
- tumour-stroma ratio: tumor / (tumor + stroma). The stroma percentage of Mesker et al. 2007 is 1 less this, but theirs
  is read by eye in the one field with most stroma, and this is the whole map;
- inflammatory share of stroma: inflammatory / (inflammatory + stroma), since an infiltrate lies in the stroma and is
  part of the stromal area that Salgado et al. 2015 (10.1093/annonc/mdu450) relate it to. It is an area of infiltrate
  over the whole map and not their sTIL score, which is read by eye within the tumour's borders.

A grouping without the classes of a ratio has none; where a denominator is 0 a value is none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import IGNORE, Grouping
from ushape.errors import DataError
from ushape.files import write_text
from ushape.predict.store import Grid

BAND = 512
"""Rows of a label map that are read at a time: those of its file's tiles."""

_PIECE = 2**20
"""Pixels that are counted at a time, since numpy makes eight bytes of each."""

RATIOS = {
    "tumor_stroma_ratio": ("tumor", "stroma"),
    "inflammatory_share_of_stroma": ("inflammatory", "stroma"),
}
"""Each ratio is the first class / (the first + the second)."""


def count(labels: Grid) -> NDArray[np.int64]:
    """Pixels of each label of a map uint8 [H, W], int64 [256]; read band by band."""
    counts = np.zeros(256, np.int64)
    for top in range(0, labels.shape[0], BAND):
        pixels = labels[top : top + BAND, :].ravel()
        for start in range(0, pixels.size, _PIECE):
            counts += np.bincount(pixels[start : start + _PIECE], minlength=256)
    return counts


def composition(labels: Grid, mpp: float, grouping: Grouping) -> dict[str, Any]:
    """The composition of a label map at `mpp` µm per px; see `of_counts`."""
    return of_counts(count(labels), mpp, grouping.classes)


def of_counts(counts: NDArray[np.int64], mpp: float, classes: Sequence[str]) -> dict[str, Any]:
    """Composition from the pixels of each label, int64 [256]; DataError where there are labels that are no class.

    `{tissue_mm2, classes: {name: {mm2, share}}, tumor_stroma_ratio, inflammatory_share_of_stroma}`.
    """
    foreign = np.flatnonzero(counts[len(classes) : IGNORE])
    if len(foreign):
        raise DataError(
            f"a label map of {len(classes)} classes has label {foreign[0] + len(classes)}: it was changed after "
            "prediction, or has another grouping: predict the slide again"
        )
    areas = {name: float(counts[i]) * (mpp / 1000) ** 2 for i, name in enumerate(classes)}
    tissue = sum(areas.values())
    made: dict[str, Any] = {"tissue_mm2": round(tissue, 6)}
    made["classes"] = {name: {"mm2": round(a, 6), "share": _share(a, tissue)} for name, a in areas.items()}
    for ratio, (part, rest) in RATIOS.items():
        known = part in areas and rest in areas
        made[ratio] = _share(areas[part], areas[part] + areas[rest]) if known else None
    return made


def row(composition: Mapping[str, Any]) -> dict[str, Any]:
    """A composition as one flat row: `tissue_mm2`, `NAME_mm2` and `NAME_share` of each class, the ratios."""
    flat: dict[str, Any] = {"tissue_mm2": composition["tissue_mm2"]}
    for name, entry in composition["classes"].items():
        flat |= {f"{name}_mm2": entry["mm2"], f"{name}_share": entry["share"]}
    return flat | {ratio: composition[ratio] for ratio in RATIOS}


def write_composition_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV, `slide` first where they have it; what is none is left empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None
