"""The layout of LiTS: `volume-N.nii` and `segmentation-N.nii` (or .nii.gz), in a folder or in folders inside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ushape.errors import DataError
from ushape.lits.volumes import Labels, Volume, open_volume

_NAME = re.compile(r"(?P<test>test-)?(?P<kind>volume|segmentation)-(?P<number>\d+)\.nii(\.gz)?")


@dataclass(frozen=True)
class Case:
    """One patient's scan: `name` is `3`, or `test-3` of LiTS' test set; segmentation None where there is none."""

    name: str
    volume: Path
    segmentation: Path | None


def find_cases(folder: Path, labelled: bool = True) -> list[Case]:
    """All cases of a folder, by number; DataError where there is none, and, where `labelled`, where one has no labels.

    Other files are left alone. DataError where a number stands for two files, or labels have no volume.
    """
    found: dict[str, dict[str, Path]] = {"volume": {}, "segmentation": {}}
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give one with volume-0.nii, segmentation-0.nii, ...")
    for path in sorted(folder.rglob("*")):
        if match := _NAME.fullmatch(path.name):
            name = (match["test"] or "") + str(int(match["number"]))
            if name in found[match["kind"]]:
                raise DataError(f"{path} and {found[match['kind']][name]} are both number {name}: keep one of them")
            found[match["kind"]][name] = path
    volumes, segmentations = found["volume"], found["segmentation"]
    if not volumes:
        raise DataError(f"{folder}: holds no volume-N.nii or volume-N.nii.gz")
    if alone := sorted(segmentations.keys() - volumes.keys()):
        raise DataError(f"{segmentations[alone[0]]}: has no volume-{alone[0]}.nii beside it")
    if labelled and (missing := sorted(volumes.keys() - segmentations.keys())):
        raise DataError(f"{volumes[missing[0]]}: has no segmentation-{missing[0]}.nii: add it, or leave the volume out")
    return [Case(name, volumes[name], segmentations.get(name)) for name in sorted(volumes, key=_order)]


def find_labels(folder: Path) -> dict[str, Path]:
    """The label files of a folder by the names of their cases; DataError where there is none."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and match["kind"] == "segmentation":
            found[(match["test"] or "") + str(int(match["number"]))] = path
    if not found:
        raise DataError(f"{folder}: holds no segmentation-N.nii or segmentation-N.nii.gz")
    return found


def labels_name(volume: Path) -> str:
    """The name of a volume's labels: volume-3.nii.gz -> segmentation-3.nii; any other x.nii -> x-segmentation.nii."""
    stem = volume.name.removesuffix(".gz").removesuffix(".nii")
    if _NAME.fullmatch(f"{stem}.nii") and "volume" in stem:
        return stem.replace("volume", "segmentation") + ".nii"
    return f"{stem}-segmentation.nii"


def open_labels(path: Path, volume: Volume) -> Volume:
    """The labels of a volume, voxel for voxel; DataError where their numbers of voxels differ.

    LiTS pairs arrays: where the two headers place them differently in space, the volume's is the one taken.
    """
    there = open_volume(path)
    if there.image.shape != volume.image.shape:
        sizes = ["x".join(map(str, v.image.shape)) for v in (there, volume)]
        raise DataError(f"{path}: has {sizes[0]} voxels, {volume.path.name} {sizes[1]}: they are no pair")
    return there.placed_as(volume)


def label_slice(labels: Volume, z: int) -> Labels:
    """Labels of one slice, uint8 [y, x]; DataError where one is not 0, 1 or 2."""
    values = labels.slice(z)
    made = values.astype(np.uint8)
    if (made != values).any() or made.max(initial=0) > 2:
        wrong = values[(made != values) | (made > 2)][0]
        raise DataError(f"{labels.path}: slice {z} holds the label {wrong:g}; 0, 1 (liver) and 2 (lesion) are known")
    return made


def _order(name: str) -> tuple[bool, int]:
    return name.startswith("test-"), int(name.removeprefix("test-"))
