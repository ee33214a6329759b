"""Lanes: results in order, errors passed on, one computing thread each, never too much at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ushape.threads import Lanes, cores


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0 and count > 1:
            assert first_may_end.wait(20)  # the first item ends after the second
        elif item == 1:
            first_may_end.set()
        return item * item

    with Lanes(count) as lanes:
        assert list(lanes.map(work, range(20))) == [i * i for i in range(20)]


def test_two_lanes_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=20)
    with Lanes(2) as lanes:
        assert len(list(lanes.map(lambda _: meeting.wait(), range(2)))) == 2


def test_one_lane_is_the_calling_thread() -> None:
    with Lanes(1) as lanes:
        assert set(lanes.map(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}
    with Lanes(0) as lanes:
        assert lanes.count == 1


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_an_item_reaches_the_caller_after_the_results_before_it(count: int) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    seen: list[int] = []
    with Lanes(count) as lanes, pytest.raises(ValueError, match="item 3"):
        seen.extend(lanes.map(work, range(100)))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_lanes_go_on_after_an_error(count: int) -> None:
    with Lanes(count) as lanes:
        with pytest.raises(ZeroDivisionError):
            list(lanes.map(lambda x: 1 // x, [1, 0]))
        assert list(lanes.map(abs, [-1, 2])) == [1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_every_lane_computes_with_one_thread(count: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with Lanes(count) as lanes:
            assert torch.get_num_threads() == 1
            assert set(lanes.map(lambda _: torch.get_num_threads(), range(8))) == {1}
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_items_are_taken_only_as_they_are_needed(count: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    with Lanes(count) as lanes:
        for done, _ in enumerate(lanes.map(str, items())):
            assert taken - done <= 2 * count
    assert taken == 50


def test_a_caller_who_stops_early_leaves_no_work_behind() -> None:
    done: list[int] = []
    with Lanes(2) as lanes:
        results = lanes.map(done.append, range(1000))
        next(results)
        del results
    assert len(done) <= 5


def test_cores_are_those_that_this_process_may_use() -> None:
    assert cores() >= 1
