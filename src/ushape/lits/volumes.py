"""NIfTI volumes: read a slice at a time in one orientation, written back in the file's own.

An uncompressed file is memory-mapped, a compressed one first unpacked to a temporary file that is: either way only the
slices asked for are read.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError
from ushape.files import replacing

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]

PLAUSIBLE = (0.05, 30.0)
"""mm: voxel sides outside of this are no CT's, but a header in another unit, or none."""

_UNREADABLE = (OSError, ValueError, EOFError, zlib.error)


@dataclass(frozen=True)
class Volume:
    """A volume of numbers, as the file has them, seen as [z, y, x].

    stored: the mapped file, its own order of axes. raw: a view of it as [z, y, x]. spacing: mm between voxels along
    (z, y, x). slope, intercept: number = raw x slope + intercept. image: what nibabel made of the header.
    """

    path: Path
    stored: NDArray[Any]
    raw: NDArray[Any]
    spacing: tuple[float, float, float]
    slope: float
    intercept: float
    image: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        depth, height, width = self.raw.shape
        return depth, height, width

    def slice(self, z: int) -> Float:
        """Numbers of one slice, float32 [y, x]; DataError where one of them is not finite."""
        values = self.raw[z].astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        if not np.isfinite(values).all():
            raise DataError(
                f"{self.path}: slice {z} holds numbers that are not finite: repair or leave out this volume"
            )
        return values

    def placed_as(self, other: Volume) -> Volume:
        """These numbers with the geometry of another volume of the same shape, voxel for voxel in the files' order."""
        return replace(self, raw=_seen(self.stored, other.image.affine), spacing=other.spacing)

    def turned_as(self, other: Volume) -> Volume | None:
        """These numbers in the other's order and direction of axes; None where the two are not one grid in space.

        Corners may lie a tenth of a voxel apart, as headers round.
        """
        nibabel = nibabel_module()
        mine, its = self.image.affine, other.image.affine
        if self.stored.shape == other.stored.shape and np.array_equal(mine, its):
            return self
        if not all(np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]) for affine in (mine, its)):
            return None
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(mine), nibabel.io_orientation(its))
        stored = nibabel.apply_orientation(self.stored, turn)
        if stored.shape != other.stored.shape:
            return None
        turned = mine @ nibabel.orientations.inv_ornt_aff(turn, self.stored.shape)
        corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in stored.shape))])
        apart = np.abs(corners @ (turned - its).T).max()
        return replace(self, stored=stored) if apart <= nibabel.affines.voxel_sizes(its).min() / 10 else None


def is_placed(path: Path) -> bool:
    """Whether a volume's header places it in space; twenty of LiTS have voxels of 1 mm at the origin instead."""
    return not np.array_equal(nibabel_module().load(path).affine, np.eye(4))


def open_volume(path: Path, geometry: bool = True) -> Volume:
    """Map a NIfTI file; DataError naming the file where it is none, is damaged, or its header cannot be right.

    geometry: whether it says where voxels lie; else it is looked at in the file's own order, until `placed_as`.
    """
    nibabel = nibabel_module()
    unpacked = None
    try:
        unpacked = _unpack(path) if path.suffix == ".gz" else None
        image: Any = nibabel.load(unpacked or path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise DataError(f"{path}: is no NIfTI: write it as .nii or .nii.gz")
        raw, proxy = image.dataobj.get_unscaled(), image.dataobj
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (*_UNREADABLE, nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise DataError(f"{path}: cannot be read as NIfTI ({' '.join(str(error).split())[:120]})") from error
    finally:
        if unpacked is not None:
            unpacked.unlink()  # a mapped file stays until it is let go
    _check(path, raw)
    if geometry:
        _check_geometry(path, image)
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise DataError(f"{path}: its scale is {slope:g} x + {intercept:g}: correct scl_slope and scl_inter")
    if not geometry:
        return Volume(path, raw, raw, (1.0, 1.0, 1.0), slope, intercept, image)
    sides = nibabel.affines.voxel_sizes(image.affine)
    axes = nibabel.io_orientation(image.affine)[:, 0].astype(int)  # file axis -> world axis
    spacing = [float(sides[list(axes).index(world)]) for world in (2, 1, 0)]
    return Volume(path, raw, _seen(raw, image.affine), (spacing[0], spacing[1], spacing[2]), slope, intercept, image)


@contextmanager
def new_labels(path: Path, like: Volume) -> Iterator[Labels]:
    """Write a label file in the geometry of `like`: gives its voxels as [z, y, x], all 0, mapped.

    Header, orientation and order of axes are those of `like`, numbers 8-bit. The file appears when the block ends well.
    """
    header = like.image.header.copy()
    header.extensions.clear()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    if header["magic"].item()[:2] == b"ni":  # a pair of files; ours is a single one
        header["magic"] = b"n+1"
    header.set_data_offset(header.single_vox_offset)
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            header.write_to(file)
            file.truncate(header.get_data_offset() + int(np.prod(like.image.shape)))
        raw = np.memmap(temporary, np.uint8, "r+", header.get_data_offset(), like.image.shape, "F")
        yield _seen(raw, like.image.affine)
        raw.flush()


def _seen(raw: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """A view of the file's voxels as [z to the head, y to the back, x to the left]; nothing is read."""
    nibabel = nibabel_module()
    orientation = nibabel.io_orientation(affine)
    turn = nibabel.orientations.ornt_transform(orientation, nibabel.orientations.axcodes2ornt(("L", "P", "S")))
    seen: NDArray[Any] = nibabel.apply_orientation(raw, turn).transpose(2, 1, 0)
    return seen


def _check(path: Path, raw: NDArray[Any]) -> None:
    if raw.ndim != 3 or not raw.size:
        raise DataError(
            f"{path}: has the shape {'x'.join(map(str, raw.shape))}; a volume of three dimensions is needed"
        )
    if raw.dtype.kind not in "iuf":
        raise DataError(f"{path}: holds numbers of type {raw.dtype}; whole or real numbers are needed")


def _check_geometry(path: Path, image: Any) -> None:
    affine = image.affine
    if affine is None or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(
            f"{path}: its affine does not say where voxels lie (singular or not finite): correct the header"
        )
    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError:
        code = int(image.header["xyzt_units"])
        raise DataError(f"{path}: its unit of length has the code {code}, which NIfTI has not: write mm (2)") from None
    if unit not in ("mm", "unknown"):
        raise DataError(f"{path}: its lengths are in {unit}; write them in mm")
    sides = nibabel_module().affines.voxel_sizes(affine)
    low, high = PLAUSIBLE
    if sides.min() < low or sides.max() > high:
        raise DataError(f"{path}: voxels of {_by(sides)} mm are outside of {low:g} to {high:g} mm: correct the header")
    zooms = np.asarray(image.header.get_zooms()[:3], float)
    if not np.allclose(zooms, sides, rtol=0.01):
        raise DataError(
            f"{path}: its header contradicts itself, voxels of {_by(zooms)} mm by pixdim, {_by(sides)} mm by affine: "
            "correct one of them"
        )


def _by(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{v:.4g}" for v in values)


def _unpack(path: Path) -> Path:
    with tempfile.NamedTemporaryFile(suffix=".nii", delete=False) as target:
        try:
            with gzip.open(path) as source:
                shutil.copyfileobj(source, target, 1 << 20)
        except BaseException:
            Path(target.name).unlink()
            raise
    return Path(target.name)


def nibabel_module() -> Any:
    """nibabel, or a DataError that says how to get it."""
    try:
        import nibabel
    except ImportError:
        raise DataError("reading NIfTI volumes needs nibabel: pip install 'ushape[volumes]'") from None
    return nibabel
