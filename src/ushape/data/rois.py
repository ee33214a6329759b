"""ROIs on disk, and their pixels at the pixel size that a network works at, memory-mapped.

The official BCSS layout: `FOLDER/rgbs_colorNormalized/NAME.png` and `FOLDER/masks/NAME.png`, PNG or TIFF, with
NAME like `TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500`. `images` for the first folder is read as well.
An image is decoded and resampled once (area for images, nearest for masks) into a cache of raw arrays that
every process maps; a hundred large ROIs then need no more memory than the crops cut from them.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ushape.data.classes import CODES
from ushape.data.stain import normalise as normalised
from ushape.errors import DataError
from ushape.files import cache_folder, content_hash, replacing, write_text
from ushape.versions import code_once

IMAGE_FOLDERS = ("rgbs_colorNormalized", "images")
MASK_FOLDER = "masks"
SUFFIXES = (".png", ".tif", ".tiff")
MAX_PIXELS = 2**30
"""Images of more pixels than this are refused as slides or decompression bombs."""

FAR = 4
"""Images whose pixels are more than so many times those of a network are refused: they hold nothing of what it sees."""

_MPP = re.compile(r"_MPP-(\d+(?:\.\d+)?)([_,-]\d+)?")
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Roi:
    """A region of interest: an image and its mask. `mpp`: the file's pixel size in µm."""

    name: str
    image: Path
    mask: Path
    mpp: float

    @property
    def patient(self) -> str:
        return patient_of(self.name)


@dataclass(frozen=True)
class Pixels:
    """A ROI's pixels at one pixel size, memory-mapped: image uint8 [H, W, 3], codes uint8 [H, W]."""

    roi: Roi
    image: Bytes
    codes: Bytes


def patient_of(name: str) -> str:
    """The patient of a ROI name: what stands before its first `_`, of TCGA's names the patient (`TCGA-A1-A0SK`).

    TCGA's, however it is spelt, and names in its form of which a slide (`-DX1`) or sample (`-01Z`) follows.
    """
    found = _BARCODE.match(name)
    return found[0] if found else name.split("_")[0]


_BARCODE = re.compile(
    r"TCGA([-_. ]?)[A-Z0-9]{2}\1[A-Z0-9]{4}(?![A-Z0-9])|[A-Z0-9]{4}-[A-Z0-9]{2}-[A-Z0-9]{4}(?=-(DX|TS|BS|\d\d[A-Z]))",
    re.IGNORECASE,
)
"""Project, site and participant; slide and so on follow."""


def pixel_size(name: str, given: float | None = None) -> float:
    """Pixel size in µm: what the name says (`..._MPP-0.2500`), else `given`; DataError on none and on a wrong one."""
    named = named_pixel_size(name)
    if named is not None:
        return named
    if given is None:
        raise DataError(f"{name}: its name gives no pixel size (`_MPP-0.2500`): pass --mpp with its µm per pixel")
    check_pixel_size(given, name, "correct --mpp")
    return given


def named_pixel_size(name: str) -> float | None:
    """Pixel size in µm that a name gives (`..._MPP-0.2500`), None where it gives none; DataError on a wrong one."""
    match = _MPP.search(name)
    if match is None:
        return None
    if match[2] and "." not in match[1]:
        raise DataError(f"{name}: {match[0][1:]} is no pixel size: write it with a point in the name (_MPP-0.2500)")
    check_pixel_size(float(match[1]), name, "correct the name (_MPP-0.2500)")
    return float(match[1])


def check_pixel_size(size: float, where: str, remedy: str) -> None:
    """DataError unless a pixel size in µm can be one."""
    if not 0.01 <= size <= 100:
        raise DataError(f"{where}: a pixel size of {size:g} µm cannot be right (0.01 to 100): {remedy}")


def check_coarseness(path: Path, size: float, to: float) -> str | None:
    """A note on an image whose pixels of `size` µm are more than twice those that a network sees, `to` µm.

    DataError where they are more than FAR times those.
    """
    if size > FAR * to:
        raise DataError(
            f"{path}: its pixels of {size:g} µm hold nothing of what a network of {to:g} µm per pixel looks at: give a "
            "finer scan, or the true pixel size in its name (_MPP-0.2500) or by --mpp"
        )
    if size > 2 * to:
        return (
            f"{path}: its pixels of {size:g} µm are enlarged {size / to:.1f} times to {to:g} µm: details of that "
            "size are not in it"
        )
    return None


def image_folder(folder: Path) -> Path:
    """The folder of images inside `folder`; DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(f"{folder}: holds no folder of images: expected {IMAGE_FOLDERS[0]}/ and {MASK_FOLDER}/ in it")


def image_files(folder: Path) -> dict[str, Path]:
    """Images of a folder by name without suffix, sorted; hidden files and other types are passed over."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return {p.stem: p for p in files}


def find_rois(folder: Path, mpp: float | None = None) -> list[Roi]:
    """All ROIs of a folder, sorted by name. `mpp`: pixel size where a name does not give it.

    DataError: no such folder, no images, an image without mask, no pixel size. Extra masks are `data check`'s.
    """
    images = image_files(image_folder(folder))
    masks = image_files(folder / MASK_FOLDER) if (folder / MASK_FOLDER).is_dir() else {}
    if not images:
        raise DataError(f"{image_folder(folder)}: holds no image ({', '.join(SUFFIXES)})")
    for name, path in images.items():
        if name not in masks:
            raise DataError(f"{path}: has no mask {folder / MASK_FOLDER / name}.png: add it, or move the image away")
        check_files((path, masks[name]))
    for part in (image_folder(folder), folder / MASK_FOLDER):
        check_names(part)
    for one, other in twice_spelt(images):
        raise DataError(f"{folder}: {one!r} and {other!r} look like one patient spelt two ways: rename the files")
    return [Roi(name, path, masks[name], pixel_size(name, mpp)) for name, path in images.items()]


def check_files(files: Iterable[Path]) -> None:
    """DataError on an image or mask whose name is none, or that is a link to nothing."""
    for file in files:
        if wrong := wrong_name(file):
            raise DataError(f"{printable(file)}: {wrong}")
        if not file.exists():
            raise DataError(f"{file}: is a link to a file that is not there: put it there, or remove the link")


def check_names(folder: Path) -> None:
    """DataError on two image files that differ in their suffix alone."""
    for first, second in same_names(folder):
        raise DataError(f"{second}: {first.name} has the same name: remove one of them")


def wrong_name(file: Path) -> str:
    """What is wrong with the name of an image or mask, and the remedy; empty where nothing is."""
    if any("\ud800" <= letter <= "\udfff" for letter in file.name):  # how Python reads what is no UTF-8
        return "its name is not UTF-8: rename it"
    if not patient_of(file.stem):
        return "its name begins with no patient: write it before the first `_`"
    return ""


def printable(file: Path) -> str:
    """A path as text that can be printed, whatever its bytes are."""
    return str(file).encode(errors="replace").decode()


def twice_spelt(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of patients that differ only in case, kind of separator, or O for 0 and I for 1: one patient, probably.

    Of TCGA's names the first ten letters and digits are compared, whatever stands between them.
    """
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        first = seen.setdefault(patient_key(name), patient_of(name))
        if first != patient_of(name) and (first, patient_of(name)) not in pairs:
            pairs.append((first, patient_of(name)))
    return pairs


def patient_key(name: str) -> str:
    """What the spellings of one patient have in common (see `twice_spelt`), from a patient's or a ROI's name."""
    barcode = _SPELT.match(name.upper())
    return _plain(barcode[0]) if barcode else _plain(patient_of(name), "-")


def site_of(name: str) -> str | None:
    """The institute in a name of TCGA, with O as 0 and I as 1: `tcga-ol-a0sk` -> `0L`; None in another name."""
    barcode = _SPELT.match(name.upper())
    return _plain(barcode[1]) if barcode else None


_SPELT = re.compile(r"TCGA[\W_]*([A-Z0-9]{2})[\W_]*[A-Z0-9]{4}(?=DX|TS|BS|\d\d[A-Z]|[\W_]|$)")
"""Project, site and participant, with anything between them, before the slide, the sample or the end."""


def in_both(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """The patients of some names who are among those of others too, however they are spelt there; sorted.

    names, others: of patients or ROIs.
    """
    keys = {patient_key(other) for other in others}
    return sorted({patient_of(name) for name in names if patient_key(name) in keys})


def _plain(name: str, between: str = "") -> str:
    return re.sub(r"[\W_]+", between, name.upper()).translate(str.maketrans("OI", "01"))


def same_names(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of image files that differ in their suffix alone."""
    seen: dict[str, Path] = {}
    pairs = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")):
        first = seen.setdefault(path.stem, path)
        if first != path:
            pairs.append((first, path))
    return pairs


def read_image(path: Path, max_pixels: int | None = None, remedy: str = "cut it into ROIs") -> Image.Image:
    """An RGB image, decoded; DataError naming the file where it is damaged, not RGB, or too large.

    max_pixels: MAX_PIXELS unless given. remedy: for an image of more.
    """
    image = _decode(path, max_pixels, remedy)
    if image.mode == "RGBA":
        if image.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{path}: has transparent pixels: flatten it to RGB (what lies below is not tissue)")
        image = image.convert("RGB")
    if image.mode != "RGB":
        raise DataError(f"{path}: is {_mode(image)}, not 8-bit RGB: convert it to RGB")
    return image


def read_mask(path: Path) -> Image.Image:
    """A mask of BCSS codes, decoded; DataError where it is damaged, not 8-bit, or has an unknown code."""
    mask = _decode(path)
    if mask.mode not in ("L", "P"):
        raise DataError(f"{path}: is {_mode(mask)}; a mask holds one 8-bit code a pixel: convert it")
    codes = np.asarray(mask)
    present = np.flatnonzero(np.bincount(codes.ravel(), minlength=256))
    _check_palette(path, mask, present)
    unknown = [int(code) for code in present if int(code) not in CODES]
    if unknown:
        y, x = np.argwhere(codes == unknown[0])[0]
        raise DataError(
            f"{path}: code {unknown[0]} at x={x}, y={y} is no BCSS code (0 to {max(CODES)}): relabel it, "
            "or set it to 0 to have it ignored"
        )
    return Image.fromarray(codes)


def _check_palette(path: Path, mask: Image.Image, present: NDArray[np.intp]) -> None:
    """DataError on a palette image that shows its codes as greys of other numbers, as programs that shrink files do."""
    if mask.mode != "P":
        return
    shown = np.asarray(mask.getpalette("RGB")).reshape(-1, 3)
    used = [int(code) for code in present if code < len(shown)]
    greys = [int(shown[code][0]) for code in used if len(set(shown[code])) == 1]
    if len(greys) == len(used) and greys != used and all(grey in CODES for grey in greys):
        code, grey = next(pair for pair in zip(used, greys, strict=True) if pair[0] != pair[1])
        raise DataError(
            f"{path}: a palette image whose number {code} is shown as grey {grey}: which is the code? convert it to "
            "8-bit grey"
        )


def open_pixels(roi: Roi, mpp: float, normalise: str = "none") -> Pixels:
    """The ROI at `mpp` µm per pixel, memory-mapped from the cache; decoded and resampled on first use.

    `normalise`: see `prepare`. DataError where a file is damaged or image and mask differ in size.
    """
    files = _cache_files(roi, mpp, normalise)
    if not all(f.is_file() for f in files):
        image, mask = read_image(roi.image), read_mask(roi.mask)
        if image.size != mask.size:
            raise DataError(f"{roi.mask}: is {_size(mask)} px but its image is {_size(image)} px: export both again")
        arrays = prepare(image, roi.mpp, mpp, normalise), resample_mask(mask, roi.mpp, mpp)
        for path, array in zip(files, arrays, strict=True):
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)
    image_array, codes = (cast(Bytes, np.load(f, mmap_mode="r")) for f in files)
    return Pixels(roi, image_array, codes)


def prepare(image: Image.Image, mpp: float, to: float, normalise: str) -> Bytes:
    """What a network sees of an RGB image at `mpp`: resampled to `to`, its stain brought to a common strength.

    `normalise`: `stain` (see `ushape.data.stain.normalise`) or `none`.
    """
    array = resample_image(image, mpp, to)
    return normalised(array) if normalise == "stain" else array


def resample_image(image: Image.Image, mpp: float, to: float) -> Bytes:
    """RGB image at `mpp` -> uint8 [H, W, 3] at `to`: mean over the area when coarser, bilinear when finer."""
    size = resampled_size(image.size, mpp, to)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BOX if to > mpp else Image.Resampling.BILINEAR)
    return np.asarray(image)


def resample_mask(mask: Image.Image, mpp: float, to: float) -> Bytes:
    """Mask at `mpp` -> uint8 [H, W] at `to`: nearest neighbour."""
    size = resampled_size(mask.size, mpp, to)
    return np.asarray(mask.resize(size, Image.Resampling.NEAREST) if size != mask.size else mask)


def fingerprint(rois: Sequence[Roi]) -> str:
    """SHA-256 over names and file contents of images and masks: two folders with equal ROIs have equal ones.

    Kept in the cache: files are read again only when one of them has changed.
    """
    stats = [(roi.name, path.resolve(), path.stat()) for roi in rois for path in (roi.image, roi.mask)]
    told = [(name, str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, path, s in stats]
    kept = cache_folder() / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:24]}-fingerprint.txt"
    if not kept.is_file():
        digest = hashlib.sha256()
        for roi in rois:
            digest.update(roi.name.encode())
            for path in (roi.image, roi.mask):
                digest.update(bytes.fromhex(content_hash(path)))
        write_text(kept, digest.hexdigest())
    return kept.read_text()


def _cache_files(roi: Roi, mpp: float, normalise: str) -> tuple[Path, Path]:
    key = cache_key([roi.image, roi.mask], f"{roi.mpp:.6g}", f"{mpp:.6g}", normalise)
    return cache_folder() / f"{key}-image.npy", cache_folder() / f"{key}-codes.npy"


def cache_key(files: Iterable[Path], *how: str) -> str:
    """Of what is made of files as they are now, in a way that is told by words, by this code and this Pillow."""
    parts = [PIL.__version__, code_once("data"), *how]
    for path in files:
        stat = path.stat()
        parts += [str(path.resolve()), str(stat.st_size), str(stat.st_mtime_ns), str(stat.st_ctime_ns)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _decode(path: Path, max_pixels: int | None = None, remedy: str = "cut it into ROIs") -> Image.Image:
    most = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning), of_any_size(), Image.open(path) as image:
            if image.width * image.height > most:
                raise DataError(f"{path}: is {_size(image)} px, over the limit of {most} pixels: {remedy}")
            if image.mode == "L" and any(bits in str(tile[3]) for tile in image.tile for bits in ("L;2", "L;4")):
                raise DataError(f"{path}: is 2-bit or 4-bit grey, which programs read in two ways: convert it to 8-bit")
            image.load()
            return image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is no PNG or TIFF image, or damaged: write it again") from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is truncated or damaged ({error}): write it again") from error


@contextmanager
def of_any_size() -> Iterator[None]:
    """Pillow opens images of any size meanwhile: what may be decoded is ours to say, see `MAX_PIXELS`."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def resampled_size(size: tuple[int, int], mpp: float, to: float) -> tuple[int, int]:
    """Width and height in px at `to` µm per pixel of an image of `size` at `mpp`."""
    if abs(mpp / to - 1) < 0.01:  # within 1%: the rounding of a name
        return size
    return max(1, round(size[0] * mpp / to)), max(1, round(size[1] * mpp / to))


def _mode(image: Image.Image) -> str:
    depth = {
        "1": "1-bit",
        "L": "8-bit grey",
        "P": "8-bit palette",
        "RGB": "8-bit RGB",
        "I": "32-bit",
        "F": "float",
    }
    return "16-bit" if image.mode.startswith("I;16") else depth.get(image.mode, image.mode)


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"
