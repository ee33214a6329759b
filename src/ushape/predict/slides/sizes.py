"""The pixel size of a slide: from its file, from its name, or from the flag; contradictions are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ushape.data.rois import check_pixel_size, named_pixel_size
from ushape.errors import DataError

PLAUSIBLE = (0.05, 20.0)
"""µm per px of scanned tissue; what a file says beyond these (72 dpi are 353 µm) was never measured."""

SQUARE = 0.02
SAME = 0.01


@dataclass(frozen=True)
class Claim:
    """What a file says of its pixel size: µm along x and y. sure: not merely the resolution that TIFF tags give."""

    x: float
    y: float
    sure: bool
    source: str


def choose_mpp(path: Path, claim: Claim | None, flag: float | None) -> tuple[float, str]:
    """µm per px and where it stands.

    DataError where nothing says it, one cannot be right, two contradict, or pixels are not square.

    The file comes first, then `_MPP-0.2500` in its name, then the flag. A name may correct the tags of a plain TIFF,
    which many programs fill with the size of a print; nothing may correct a scanner.
    """
    if claim is not None and not all(PLAUSIBLE[0] <= size <= PLAUSIBLE[1] for size in (claim.x, claim.y)):
        claim = None
    name = named_pixel_size(path.name)
    if name is not None and claim is not None and not claim.sure:
        claim = None
    if flag is not None:
        check_pixel_size(flag, f"--mpp {flag:g}", "correct it")
    said: list[tuple[float, str]] = []
    if claim is not None:
        if abs(claim.x / claim.y - 1) > SQUARE:
            raise DataError(
                f"{path}: its pixels are {claim.x:g} x {claim.y:g} µm ({claim.source}), not square: resample it first"
            )
        said.append(((claim.x + claim.y) / 2, claim.source))
    if name is not None:
        said.append((name, "its name"))
    if flag is not None:
        said.append((flag, "--mpp"))
    if not said:
        raise DataError(
            f"{path}: neither the file nor its name (`_MPP-0.2500`) gives a pixel size: pass --mpp with its µm per px"
        )
    for size, source in said[1:]:
        if abs(size / said[0][0] - 1) > SAME:
            remedy = "leave out --mpp" if source == "--mpp" else "correct the name"
            raise DataError(
                f"{path}: its pixels are {said[0][0]:g} µm by {said[0][1]} but {size:g} µm by {source}: {remedy}"
            )
    return said[0]
