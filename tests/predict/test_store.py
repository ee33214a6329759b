"""A store: it reads what it wrote, forgets nothing that it called done, and finds a full disk at the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ushape.data.classes import IGNORE
from ushape.errors import RunError
from ushape.predict.store import Raw, Store


@given(st.data())
def test_a_file_is_an_array(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    array = np.full((height, width), 7, np.uint8)
    raw = Raw(tmp_path_factory.mktemp("raw") / "a.raw", height, width, 7)
    for value in range(3):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        block = np.full((data.draw(st.integers(0, height - top)), data.draw(st.integers(0, width - left))), value)
        array[top : top + block.shape[0], left : left + block.shape[1]] = block
        raw.write(top, left, block.astype(np.uint8))
    ends = st.integers(0, 14)
    a, b, c, d = (data.draw(ends) for _ in range(4))
    assert np.array_equal(raw[a:b, c:d], array[a:b, c:d])
    assert np.array_equal(raw[a:b], array[a:b])
    assert np.array_equal(raw[:], array)
    with pytest.raises(IndexError):
        raw[::2]
    raw.close()


def test_what_was_done_is_done_after_it_is_opened_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s", 6, 5, units=4, classes=2, every=1e9)
    assert (store.labels[:] == IGNORE).all()
    block = np.ones((2, 3), np.uint8)
    store.write(1, 2, block, np.stack([block * 9, block * 8]))
    store.mark(2)
    unflushed = Store(tmp_path / "s", 6, 5, units=4, classes=2)
    assert not unflushed.done.any()
    store.flush()
    store.close()
    again = Store(tmp_path / "s", 6, 5, units=4, classes=2)
    assert again.done.tolist() == [False, False, True, False]
    assert (again.labels[1:3, 2:5] == 1).all()
    assert again.labels[:].sum() == 6 + 24 * IGNORE
    assert again.probabilities is not None
    assert (again.probabilities[1, 1:3, 2:5] == 8).all()
    assert again.probabilities[0][:].sum() == 54
    assert again.probabilities.shape == (2, 6, 5)


def test_a_part_that_reaches_outside_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    raw = Raw(tmp_path / "a.raw", 6, 5)
    for top, left in ((5, 0), (0, 4), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="reaches outside"):
            raw.write(top, left, np.ones((2, 2), np.uint8))
    assert not raw[:].any()
    assert (tmp_path / "a.raw").stat().st_size == 30


@pytest.mark.parametrize("lost", ["labels.raw", "probability1.raw", "cells0.raw"])
def test_where_a_file_had_to_be_made_anew_nothing_is_done(tmp_path: Path, lost: str) -> None:
    kind = {"classes": 2, "cells": (1, 2, 2)}
    store = Store(tmp_path / "s", 6, 5, units=4, **kind, every=0)  # type: ignore[arg-type]
    store.mark(2)
    store.close()
    (tmp_path / "s" / lost).write_bytes(b"cut")
    for _ in range(2):
        again = Store(tmp_path / "s", 6, 5, units=4, **kind)  # type: ignore[arg-type]
        assert not again.done.any()
        again.close()


def test_a_disk_without_room_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match=r"cannot write .*labels.raw: No space left on device; free some space"):
        Store(tmp_path / "s", 6, 5, units=4)
    assert not list((tmp_path / "s").iterdir())
