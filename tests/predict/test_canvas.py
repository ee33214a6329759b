"""Tiles laid together: for any sizes what a network makes of the whole, also after interruptions, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from ushape.data.classes import IGNORE
from ushape.predict import canvas
from ushape.predict.canvas import Blended, Canvas, Crop, Part
from ushape.predict.store import Store
from ushape.predict.tiling import Blend, plan

CLASSES = 3
REACH = 3
Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]


class Image:
    """An array as a source, which counts what is read."""

    def __init__(self, array: Bytes) -> None:
        self.array = array
        self.height, self.width = array.shape[:2]

    def read(self, top: int, left: int, height: int, width: int) -> Bytes:
        part = self.array[top : top + height, left : left + width]
        assert part.shape == (height, width, 3)
        return part


class Mask:
    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask

    def touches(self, *where: int) -> bool:
        return bool(self.crop(*where).any())

    def crop(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
        return self.mask[top : top + height, left : left + width]


def local(tile: Bytes) -> Float:
    """A network that looks `REACH` px far: softmax over means of the channels. The tile's edge is seen as reflected."""
    means = uniform_filter(tile.astype(np.float64), (2 * REACH + 1, 2 * REACH + 1, 1), mode="mirror")
    scores = np.exp(means.transpose(2, 0, 1) / 20)
    return (scores / scores.sum(0)).astype(np.float32)


def wide(tile: Bytes) -> Float:
    """One that sees all of its tile."""
    light = tile.transpose(2, 0, 1) / 255 + tile.mean((0, 1))[:, None, None] / 255
    return (light / light.sum(0)).astype(np.float32)


def whole(array: Bytes) -> Float:
    """`local` on an image that is mirrored beyond its border."""
    pad = [(2 * REACH, 2 * REACH)] * 2 + [(0, 0)]
    return local(np.pad(array, pad, "reflect"))[:, 2 * REACH : -2 * REACH, 2 * REACH : -2 * REACH]


def paint(made: Canvas, store: Store, net: Any, stop: int = 10**9) -> int:
    """Compute all parts, or `stop` of them as if killed then; how many."""
    made.open(store)
    done = 0
    for part in made.parts():
        if done == stop:
            return done
        result = net(made.tile(part))
        made.put(part, result if made.wants == "probabilities" else result.argmax(0).astype(np.uint8))
        done += 1
    made.close()
    store.flush()
    return done


@st.composite
def slides(draw: st.DrawFn) -> tuple[Bytes, NDArray[np.bool_]]:
    height, width = draw(st.integers(8, 70)), draw(st.integers(8, 70))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 3))):
        y, x = rng.integers(height), rng.integers(width)
        mask[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] = True
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), mask | draw(st.booleans())


@settings(max_examples=30, deadline=None)
@given(slides(), st.sampled_from([(16, 4), (20, 8), (24, 4), (36, 8)]), st.booleans(), st.integers(0, 9))
def test_cores_of_any_tiles_are_what_the_whole_gives(
    tmp_path_factory: pytest.TempPathFactory,
    slide: tuple[Bytes, NDArray[np.bool_]],
    tiles: tuple[int, int],
    probabilities: bool,
    cut: int,
) -> None:
    array, mask = slide
    layout = plan(*array.shape[:2], *tiles, grid=4)

    def begin() -> tuple[Canvas, Store]:
        made = Crop(layout, Image(array), Mask(mask), probabilities)
        return made, Store(folder, *mask.shape, made.units, CLASSES if probabilities else 0, every=-1)

    folder = tmp_path_factory.mktemp("crop")
    first = paint(*begin(), local, stop=cut)
    made, store = begin()
    second = paint(made, store, local)
    assert first + second == sum(Mask(mask).touches(*made._core(c)) for c in layout.corners)  # none twice
    right = whole(array)
    assert np.array_equal(store.labels[:], np.where(mask, right.argmax(0), IGNORE))
    if probabilities:
        assert store.probabilities is not None
        for c in range(CLASSES):
            assert np.abs(store.probabilities[c][:] / 255 - np.where(mask, right[c], 0)).max() <= 0.51 / 255


@settings(max_examples=30, deadline=None)
@given(slides(), st.sampled_from([(16, 4), (20, 8), (24, 4)]), st.integers(0, 9), st.integers(1, 4))
def test_rows_of_blended_tiles_are_what_blending_all_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory,
    slide: tuple[Bytes, NDArray[np.bool_]],
    tiles: tuple[int, int],
    cut: int,
    wide_stripes: int,
) -> None:
    array, mask = slide
    layout = plan(*array.shape[:2], *tiles, grid=4)
    folder = tmp_path_factory.mktemp("blend")
    for stop in (cut, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            step = layout.size - 2 * layout.margin
            patch.setattr(canvas, "STRIPE", (CLASSES + 1) * 4 * layout.size * step * wide_stripes)
            made = Blended(layout, Image(array), Mask(mask), CLASSES)
        store = Store(folder, *mask.shape, made.units, CLASSES, every=-1)
        paint(made, store, wide, stop)
    blend = Blend(layout, CLASSES)
    for corner in layout.corners:
        blend.add(corner, wide(made.tile(Part(0, corner))))
    right = blend.mean()
    sure = np.sort(right, 0)[-1] - np.sort(right, 0)[-2] > 1e-5  # sums in another order may tip what is even
    expected = np.where(mask, right.argmax(0), IGNORE)
    assert np.array_equal(store.labels[:][sure | ~mask], expected[sure | ~mask])
    assert store.probabilities is not None
    for c in range(CLASSES):
        assert np.abs(store.probabilities[c][:] / 255 - np.where(mask, right[c], 0)).max() <= 0.51 / 255


def test_finished_rows_are_not_computed_again(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (60, 20, 3), dtype=np.uint8)
    everywhere = Mask(np.ones((60, 20), bool))
    made = Blended(plan(60, 20, 16, 4, grid=4), Image(array), everywhere, CLASSES)
    store = Store(tmp_path, 60, 20, made.units, every=-1)
    total = paint(made, store, wide)
    assert total == len(made.plan.corners)
    assert paint(Blended(made.plan, Image(array), everywhere, CLASSES), store, wide) == 0
    store.done[5:] = False
    again = paint(Blended(made.plan, Image(array), everywhere, CLASSES), store, wide)
    assert again == (len(made.rows) - 4) * len(made.columns)  # row 4 reaches into row 5, and is computed for that


def test_rows_without_tissue_are_not_waited_for(tmp_path: Path) -> None:
    """Glass above and below the tissue: rows of which nothing is computed cannot be done, nor are they left to do."""
    array = np.random.default_rng(0).integers(0, 256, (60, 20, 3), dtype=np.uint8)
    mask = np.zeros((60, 20), bool)
    mask[24:40] = True
    made = Blended(plan(60, 20, 16, 4, grid=4), Image(array), Mask(mask), CLASSES)
    store = Store(tmp_path, 60, 20, made.units, every=-1)
    total = paint(made, store, wide)
    assert 0 < total < len(made.plan.corners)
    again = Blended(made.plan, Image(array), Mask(mask), CLASSES)
    again.open(store)
    assert list(again.parts()) == []
