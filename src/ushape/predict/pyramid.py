"""Pyramids of whole slides as OME-TIFF: label maps with class colours, and probabilities.

Tiles of 512, zlib, each level half the one before and kept as SubIFDs, as OME-TIFF 6 has it. Everything streams: a band
of 512 rows is read, its tiles are written, and their halves go to a file beside the result from which the next level is
made. Memory holds some bands, whatever the size of the slide; the disk holds a third more than the map for a while.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ushape import __version__
from ushape.data.classes import IGNORE, Grouping
from ushape.files import replacing
from ushape.predict.colours import palette
from ushape.predict.slides.libraries import tifffile_module
from ushape.predict.store import Grid, Raw
from ushape.threads import cores

TILE = 512
"""Side of a tile in px; halving stops at the first level that fits into one."""

CLASSES, COLOURS, ABOUT = "ushape/classes", "ushape/colours", "ushape/about"
"""Namespaces of the annotations: class index -> name, class index -> #rrggbb, what else is known."""

_CLASSIC = 2**32 - 2**26
"""Bytes that a TIFF with offsets of 32 bits holds, less room for its tables."""

Bytes = NDArray[np.uint8]
Halve = Callable[[Bytes], Bytes]


def save_label_pyramid(path: Path, labels: Grid, mpp: float, grouping: Grouping, about: Mapping[str, Any]) -> None:
    """Write a label map uint8 [H, W] at `mpp` µm per px as a palette image with the grouping's colours and names.

    Labels are class indices or IGNORE (no tissue, not predicted). Level 0 is exact; a pixel of a lower level has the
    label of most of its four pixels, see `majority`. `about` is kept in the file as strings (what is no string, as
    JSON). RunError where the disk is full.
    """
    named = [{"Namespace": CLASSES, **{str(i): name for i, name in enumerate(grouping.classes)}}]
    named += [{"Namespace": COLOURS, **{str(i): _hex(colour) for i, colour in enumerate(grouping.colours)}}]
    described = {"grouping": grouping.id, **about}
    _write(
        path,
        [labels],
        majority,
        mpp,
        IGNORE,
        {"axes": "YX", "Name": path.name, "Channel": {"Name": "class"}, "MapAnnotation": [*named, _about(described)]},
        photometric="palette",
        colormap=palette(grouping).T.astype(np.uint16) * 257,
    )


def save_probability_pyramid(
    path: Path, probabilities: Any, mpp: float, grouping: Grouping, about: Mapping[str, Any]
) -> None:
    """Write probabilities uint8 [C, H, W] (255 = 1) at `mpp` µm per px, a channel a class, halved by their mean."""
    names, colours = list(grouping.classes), [_rgba(colour) for colour in grouping.colours]
    metadata = {"axes": "CYX", "Name": path.name, "Channel": {"Name": names, "Color": colours}}
    described = _about({"grouping": grouping.id, **about})
    layers = [cast(Grid, probabilities[c]) for c in range(len(names))]
    _write(path, layers, mean, mpp, 0, {**metadata, "MapAnnotation": [described]}, photometric="minisblack")


def majority(block: Bytes) -> Bytes:
    """Half a block: the most frequent of each 2 x 2 labels, the lowest where several are; IGNORE is the highest.

    An odd last row or column counts twice.
    """
    a, b, c, d = _quarters(block)
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    a, c = np.minimum(a, c), np.maximum(a, c)
    b, d = np.minimum(b, d), np.maximum(b, d)
    b, c = np.minimum(b, c), np.maximum(b, c)  # sorted: a <= b <= c <= d
    upper = (b == c) | ((c == d) & (a != b))
    return np.where(upper, c, a)


def mean(block: Bytes) -> Bytes:
    """Half a block: the mean of each 2 x 2, rounded; an odd last row or column counts twice."""
    a, b, c, d = (q.astype(np.uint16) for q in _quarters(block))
    return ((a + b + c + d + 2) // 4).astype(np.uint8)


def _write(
    path: Path, layers: Sequence[Grid], halve: Halve, mpp: float, fill: int, metadata: dict[str, Any], **tags: Any
) -> None:
    tifffile = tifffile_module()
    sizes = _sizes(*layers[0].shape)
    creator = f"ushape {__version__}"
    # an identifier of its own: tifffile's would tell the address of this machine's network card
    about = {"Creator": creator, "UUID": str(uuid4()), **metadata}
    for axis in "XY":
        about |= {f"PhysicalSize{axis}": mpp, f"PhysicalSize{axis}Unit": "µm"}
    tags |= {"tile": (TILE, TILE), "compression": "zlib", "dtype": np.uint8, "software": creator}
    tags |= {"maxworkers": cores(), "buffersize": 2**22, "resolutionunit": "CENTIMETER"}
    large = sum(h * w for h, w in sizes) * len(layers) > _CLASSIC
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        file = stack.enter_context(tifffile.TiffWriter(temporary, bigtiff=large, ome=True))
        for level, size in enumerate(sizes):
            below = [
                stack.enter_context(_scratch(temporary.with_name(f".{path.name}.{level + 1}-{layer}.part"), *lower))
                for lower in sizes[level + 1 : level + 2]
                for layer in range(len(layers))
            ]
            place = {"subfiletype": 1, "metadata": None} if level else {"subifds": len(sizes) - 1, "metadata": about}
            file.write(
                _tiles(layers, below, halve, fill),
                shape=size if metadata["axes"] == "YX" else (len(layers), *size),
                resolution=(1e4 / (mpp * 2**level),) * 2,
                **place,
                **tags,
            )
            layers = below


def _tiles(layers: Sequence[Grid], below: Sequence[Raw], halve: Halve, fill: int) -> Iterator[Bytes]:
    """Tiles [512, 512] of each layer, row after row; their halves are written to the layers `below`, if there are.

    A band is read and halved while the tiles of the one before are compressed.
    """

    def made(index: int, top: int) -> Bytes:
        band: Bytes = layers[index][top : top + TILE, :]
        if below:
            below[index].write(top // 2, 0, halve(band))
        return band

    height, width = layers[0].shape
    places = [(index, top) for index in range(len(layers)) for top in range(0, height, TILE)]
    with ThreadPoolExecutor(1, "band") as ahead:
        bands = [ahead.submit(made, *places[0])]
        for after in [*places[1:], None]:
            band = bands.pop().result()
            if after:
                bands.append(ahead.submit(made, *after))
            for left in range(0, width, TILE):
                tile = np.full((TILE, TILE), fill, np.uint8)
                part = band[:, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of each level: halves, rounded up, until one fits into a tile."""
    sizes = [(height, width)]
    while max(sizes[-1]) > TILE:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def _quarters(block: Bytes) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """The four pixels of each 2 x 2 of a block [h, w], each [ceil(h / 2), ceil(w / 2)]."""
    padded = np.pad(block, ((0, block.shape[0] % 2), (0, block.shape[1] % 2)), mode="edge")
    return padded[::2, ::2], padded[::2, 1::2], padded[1::2, ::2], padded[1::2, 1::2]


@contextmanager
def _scratch(path: Path, height: int, width: int) -> Iterator[Raw]:
    """A file for a level while the next one is made of it."""
    file = Raw(path, height, width)
    try:
        yield file
    finally:
        file.close()
        path.unlink(missing_ok=True)


def _about(about: Mapping[str, Any]) -> dict[str, str]:
    said = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    return {"Namespace": ABOUT, **said}


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _rgba(colour: tuple[int, int, int]) -> int:
    """A colour as OME-XML has it: red, green, blue, alpha in a signed number of 32 bits."""
    return int.from_bytes(bytes((*colour, 255)), "big", signed=True)
