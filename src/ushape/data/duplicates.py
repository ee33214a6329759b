"""The same tissue under two patients' names: images that look alike, by perceptual hashes of windows on their content.

A window is centred where a blob of about two nuclei stands out most from what surrounds it, so that it lies on the
same tissue wherever an image was cut. Its hash is the sign of the 63 lowest frequencies of its cosine transform (Zauner
2010, "Implementation and benchmarking of perceptual image hash functions", chapter 3.2.1, with signs for the median):
what brightness, contrast, mild recolouring, JPEG and resampling leave alone, and what mirroring and quarter turns
change in a known way. Two images look alike where several windows have nearly equal hashes and all of them tell the
same displacement. Both are done twice: at one pixel size in µm, and with all images brought to one area.

Found are copies that were re-encoded, brightened, resized (whether or not the pixel size says so), mirrored or turned
by quarters, cropped, and other cuts of the same slide, as far as some 400 µm square of tissue is in both. Not found
are turns by other angles (but for a few degrees), stretching, a resized copy with a wrong pixel size that was also
cropped by more than about a tenth, smaller overlaps, neighbouring sections of a block, another stain, and images so
even that nothing stands out in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from scipy.ndimage import gaussian_laplace, maximum_filter

MPP = 2.4
"""Pixel size in µm at which windows are cut first."""
SIDE = 384
"""Side in px of the square to whose area images are brought the second time."""
WINDOW = 64
"""Side of a window in px, 154 µm at MPP; hashed at half of that."""
BLOB, APART = 5.0, 12
"""Standard deviation in px of the blobs that windows lie on; the strongest within this distance in px counts."""
FAINT = 0.3
"""Blobs weaker than this (Laplacian of a grey image of 0 to 255) are noise."""

BITS = 10
"""Hashes that differ in at most this many of 63 bits may be of one piece of tissue."""
NEAR = 3
"""How far in px displacements may lie apart that count as the same one."""
AGREEING = 4
"""Windows that have to agree. Of ten real ROIs of ten patients, no two have more than 1; copies have 7 to 200."""
MOST = 20_000
"""Windows hashed in all; where there would be more, each image keeps its strongest (at least LEAST)."""
LEAST = 24

_COSINES: NDArray[np.float32] = dct(np.eye(32, dtype=np.float32), norm="ortho", axis=0)[:8]  # [8, 32]
_ODD = np.arange(8) % 2 == 1
_BLOCK = 1024


@dataclass(frozen=True)
class Windows:
    """At one scale: centres int64 [n, 2] (y, x) in px, and signs bool [n, 8, 8] by frequency down and across.

    Strongest first. The sign of the mean, [0, 0], is always False.
    """

    centres: NDArray[np.int64]
    signs: NDArray[np.bool_]


Signature = tuple[Windows, Windows]
"""Of an image: at MPP (no windows where the pixel size is not known), and at the area of SIDE squared."""


@dataclass(frozen=True)
class Alike:
    """Two images, by name, that look like the same tissue: `windows` agree."""

    one: str
    other: str
    windows: int


def signature(image: NDArray[np.uint8], mpp: float | None) -> Signature:
    """The windows of an RGB image [H, W, 3] whose pixels are `mpp` µm wide (None: unknown)."""
    nothing = Windows(np.zeros((0, 2), np.int64), np.zeros((0, 8, 8), bool))
    whole = SIDE / float(np.sqrt(image.shape[0] * image.shape[1]))
    return nothing if mpp is None else _windows(image, mpp / MPP), _windows(image, whole)


def look_alike(signatures: Mapping[str, Signature], patients: Mapping[str, str]) -> list[Alike]:
    """Pairs of images of different patients that look like the same tissue, in the order of the names given."""
    names = list(signatures)
    numbered = {patient: i for i, patient in enumerate(dict.fromkeys(patients[name] for name in names))}
    owners = np.array([numbered[patients[name]] for name in names], np.int64)
    found: dict[tuple[int, int], int] = {}
    for scale in range(2):
        for pair, windows in _agreeing([signatures[name][scale] for name in names], owners):
            found[pair] = max(windows, found.get(pair, 0))
    return [Alike(names[i], names[j], windows) for (i, j), windows in sorted(found.items())]


def _windows(image: NDArray[np.uint8], scale: float) -> Windows:
    """The windows of an image resized by `scale`: those that lie in it as a whole."""
    grey = Image.fromarray(image).convert("L")
    size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
    light = np.asarray(grey.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR), np.float32)
    height, width, half = *light.shape, WINDOW // 2
    strength = np.abs(gaussian_laplace(light, BLOB, mode="nearest"))
    peaks = (strength == maximum_filter(strength, 2 * APART + 1)) & (strength > FAINT)
    y, x = np.nonzero(peaks)
    inside = (y >= half) & (y <= height - half) & (x >= half) & (x <= width - half)
    y, x = y[inside], x[inside]
    order = np.argsort(-strength[y, x], kind="stable")[:MOST]
    centres = np.stack([y, x], 1)[order].astype(np.int64)
    signs = np.zeros((len(centres), 8, 8), bool)
    for number, (top, left) in enumerate(centres - half):
        cut = light[top : top + WINDOW, left : left + WINDOW].reshape(32, 2, 32, 2).mean((1, 3))
        signs[number] = _COSINES @ cut @ _COSINES.T > 0
    signs[:, 0, 0] = False
    return Windows(centres, signs)


def _agreeing(images: list[Windows], owners: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], int]]:
    """Pairs (i, j) of images of different owners, i < j, and how many of their windows agree: AGREEING or more."""
    total = sum(len(each.centres) for each in images)
    if not total:
        return
    cap = MOST if total <= MOST else max(LEAST, MOST // len(images))
    image = np.concatenate([np.full(len(w.centres[:cap]), i) for i, w in enumerate(images)])
    centres = np.concatenate([w.centres[:cap] for w in images])
    signs = np.concatenate([w.signs[:cap] for w in images])
    hashes = _packed(signs)
    most: dict[tuple[int, int], int] = {}
    for turn in range(8):
        turned, moved = _packed(_turned(signs, turn)), _moved(centres, turn)
        matches = []
        for start in range(0, len(hashes), _BLOCK):
            block = slice(start, start + _BLOCK)
            later = int(np.searchsorted(image, image[start], "right"))  # images that come after
            one, other = np.nonzero(np.bitwise_count(hashes[block, None] ^ turned[None, later:]) <= BITS)
            one, other = one + start, other + later
            kept = (image[one] < image[other]) & (owners[image[one]] != owners[image[other]])
            matches.append(np.stack([one[kept], other[kept]], 1))
        one, other = np.concatenate(matches).T
        order = np.lexsort((image[other], image[one]))
        one, other = one[order], other[order]
        pairs = np.stack([image[one], image[other]], 1)
        edges = [0, *(np.flatnonzero((pairs[1:] != pairs[:-1]).any(1)) + 1).tolist(), len(pairs)] if len(pairs) else []
        for first, last in pairwise(edges):
            if last - first < AGREEING:
                continue
            count = _votes(one[first:last], other[first:last], centres, moved)
            pair = int(pairs[first, 0]), int(pairs[first, 1])
            if count >= AGREEING:
                most[pair] = max(count, most.get(pair, 0))
    yield from most.items()


def _votes(
    one: NDArray[np.int64], other: NDArray[np.int64], centres: NDArray[np.int64], moved: NDArray[np.int64]
) -> int:
    """Most matches of two images that tell the same displacement, each window counted once."""
    shift = centres[one] - moved[other]
    best = 0
    for each in shift:
        near = np.abs(shift - each).max(1) <= NEAR
        best = max(best, min(len(np.unique(one[near])), len(np.unique(other[near]))))
    return best


def _packed(signs: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[n, 8, 8] -> [n]"""
    bits = np.packbits(signs.reshape(-1, 64), axis=1)
    packed: NDArray[np.uint64] = np.ascontiguousarray(bits).view(np.uint64).ravel()
    return packed


def _turned(signs: NDArray[np.bool_], turn: int) -> NDArray[np.bool_]:
    """Signs of the windows transposed (turn & 1), then turned upside down (2), then left to right (4).

    Mirroring changes the sign of odd frequencies and of nothing else.
    """
    turned = signs.transpose(0, 2, 1) if turn & 1 else signs
    if turn & 2:
        turned = turned ^ _ODD[:, None]
    return turned ^ _ODD if turn & 4 else turned


def _moved(centres: NDArray[np.int64], turn: int) -> NDArray[np.int64]:
    """Where the centres lie after a turn, but for a displacement that they share."""
    moved = centres[:, ::-1] if turn & 1 else centres
    return moved * np.array([-1 if turn & 2 else 1, -1 if turn & 4 else 1])
