"""The filter of a slide, part by part, against the filter of the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ushape.data.classes import IGNORE
from ushape.predict.filtering import filter_cells
from ushape.predict.guided import GUIDES, cells, guided
from ushape.predict.invented import invented_tissue
from ushape.predict.store import Store
from ushape.predict.tiling import CELL
from ushape.predict.tissue import Tissue
from ushape.threads import Lanes

CLASSES = 3


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    with Lanes(2) as made:
        yield made


def likely(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).dirichlet((0.3,) * CLASSES, (height, width))
    return np.ascontiguousarray(made.transpose(2, 0, 1).astype(np.float32))


def stored(folder: Path, told: NDArray[np.float32], height: int, width: int) -> Store:
    store = Store(folder, height, width, 1, CLASSES, told.shape)
    assert store.cells is not None
    store.cells.write(0, 0, told)
    return store


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 4), st.integers(3, 40), st.integers(0, 99))
def test_parts_of_any_size_make_what_filtering_the_whole_makes(
    tmp_path_factory: pytest.TempPathFactory, lanes: Lanes, height: int, width: int, radius: int, part: int, seed: int
) -> None:
    p, image = likely(height, width, seed), np.ascontiguousarray(invented_tissue(256)[:height, :width])
    store = stored(tmp_path_factory.mktemp("store"), cells(p, image), height, width)
    filter_cells(store, Tissue(np.ones((height, width), bool), (1, 1), 0.0), radius * CELL, lanes, part=part)
    right = guided(p, image, radius * CELL)
    assert store.probabilities is not None
    for c in range(CLASSES):
        assert np.abs(store.probabilities[c][:] / 255 - right[c]).max() <= 0.51 / 255
    sure = np.sort(right, 0)[-1] - np.sort(right, 0)[-2] > 1e-5
    assert np.array_equal(store.labels[:][sure], right.argmax(0)[sure])


def test_what_holds_no_tissue_or_was_not_read_changes_nothing_and_is_nothing(tmp_path: Path, lanes: Lanes) -> None:
    mask, broken = np.zeros((120, 160), bool), (40, 60, 20, 16)
    mask[:, :100] = True
    told = cells(likely(120, 160), np.ascontiguousarray(invented_tissue(256)[:120, :160]))
    made = []
    for number, value in enumerate((0.0, 5.0)):
        told[:, :, 25:] = told[:, 10:15, 15:19] = value
        store = stored(tmp_path / str(number), told, 120, 160)
        filter_cells(store, Tissue(mask, (1, 1), 0.0), 16, lanes, [broken], part=12)
        made.append(store.labels[:])
        assert store.probabilities is not None
        assert (store.labels[:, 100:] == IGNORE).all()
        assert not any(store.probabilities[c][:, 100:].any() for c in range(CLASSES))
    assert np.array_equal(*made)
    assert len(np.unique(made[0][:, :100])) == CLASSES


def test_glass_is_not_even_read(tmp_path: Path, lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.full((CLASSES + GUIDES, 30, 30), np.nan, np.float32)
    told[:, :12, :12] = cells(likely(48, 48), np.ascontiguousarray(invented_tissue(256)[:48, :48]))
    mask = np.zeros((120, 120), bool)
    mask[:20, :20] = True
    store = stored(tmp_path, told, 120, 120)
    read, seen = store.cells.read, []
    monkeypatch.setattr(store.cells, "read", lambda *box: (seen.append(box[:2]), read(*box))[1])
    filter_cells(store, Tissue(mask, (1, 1), 0.0), 4, lanes, part=6)
    assert len(seen) == 1
    assert (store.labels[:20, :20] < CLASSES).all()
    assert (store.labels[20:] == IGNORE).all()
