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

    LiTS' test set has none to be had: where `labelled`, its volumes are passed over. Other files are left alone.
    DataError where a number stands for two files, or labels have no volume.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give one with volume-0.nii, segmentation-0.nii, ...")
    volumes, segmentations = _numbered(folder, "volume"), _numbered(folder, "segmentation")
    if labelled:
        volumes = {n: path for n, path in volumes.items() if n in segmentations or not n.startswith("test-")}
    if not volumes:
        raise DataError(f"{folder}: holds no volume-N.nii or volume-N.nii.gz")
    if alone := sorted(segmentations.keys() - volumes.keys()):
        raise DataError(f"{segmentations[alone[0]]}: has no {_named('volume', alone[0])} beside it")
    if labelled and (missing := sorted(volumes.keys() - segmentations.keys())):
        wanted = _named("segmentation", missing[0])
        raise DataError(f"{volumes[missing[0]]}: has no {wanted}: add it, or leave the volume out")
    return [Case(name, volumes[name], segmentations.get(name)) for name in sorted(volumes, key=_order)]


def find_labels(folder: Path) -> dict[str, Path]:
    """The label files of a folder by the names of their cases; DataError where there is none, or two of one number."""
    found = _numbered(folder, "segmentation") if folder.is_dir() else {}
    if not found:
        raise DataError(f"{folder}: holds no segmentation-N.nii or segmentation-N.nii.gz")
    return found


def _numbered(folder: Path, kind: str) -> dict[str, Path]:
    """The files of a kind in a folder and in those inside it, by the names of their cases; DataError on two of one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        match = _NAME.fullmatch(path.name)
        if match and match["kind"] == kind:
            name = (match["test"] or "") + str(int(match["number"]))
            if name in found:
                raise DataError(f"{path} and {found[name]} are both number {name}: keep one of them")
            found[name] = path
    return found


def _named(kind: str, name: str) -> str:
    """The file of a kind for a case: `test-3` -> `test-volume-3.nii`."""
    test, number = ("test-", name.removeprefix("test-")) if name.startswith("test-") else ("", name)
    return f"{test}{kind}-{number}.nii"


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
    there = open_volume(path, geometry=False)
    if there.image.shape != volume.image.shape:
        sizes = ["x".join(map(str, v.image.shape)) for v in (there, volume)]
        raise DataError(f"{path}: has {sizes[0]} voxels, {volume.path.name} {sizes[1]}: they are no pair")
    return there.placed_as(volume)


def open_prediction(path: Path, volume: Volume, truth: Volume) -> Volume:
    """Predicted labels in the order of a volume's voxels, whatever the order of the file's; `truth`: its own labels.

    DataError where the file's header places them on another grid than those of volume and labels.
    """
    there = open_volume(path, geometry=False)
    for other in (volume, truth):
        if (turned := there.turned_as(other)) is not None:
            return turned.placed_as(volume)
    raise DataError(
        f"{path}: its header places its {'x'.join(map(str, there.image.shape))} voxels elsewhere in space than "
        f"those of {volume.path.name}: write it in the geometry of that volume"
    )


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
