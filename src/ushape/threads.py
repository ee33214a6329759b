"""Threads that cannot fight: one computing thread a lane, lanes as many as there are free cores.

OpenMP threads spin at barriers: two processes with two threads each on two cores run many times slower than one.
So no operation here uses more than one thread. Parallel work is cut into independent pieces (shards of a batch,
tiles of an image), and a pool of plain threads, the lanes, takes one piece after another. A busy core then slows
its lane's piece only, and results do not depend on the number of lanes, because each piece is computed alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class Lanes:
    """A pool of threads whose torch operations are single-threaded; with one lane, the calling thread itself.

    Use as a context manager. Making one sets torch's threads to 1 for the whole process.
    """

    def __init__(self, count: int) -> None:
        import torch

        torch.set_num_threads(1)
        self.count = max(1, count)
        self._pool = (
            ThreadPoolExecutor(self.count, "lane", initializer=torch.set_num_threads, initargs=(1,))
            if self.count > 1
            else None
        )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """function(item) for each item, in order; at most 2 x count items are in work or waiting to be taken."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting = []
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= 2 * self.count:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
