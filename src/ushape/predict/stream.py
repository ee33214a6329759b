"""Many slides through one network: reading, computing and writing overlap, each a few tiles ahead of the next.

    readers --tiles--> lanes --results--> the calling thread, which writes    and one thread that finishes slides

Tiles of all slides are one stream, so that many small images keep all lanes busy. What is in flight is bounded: a few
tiles being read, two for each lane computed or waiting, one slide being finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ushape.errors import RunError, UshapeError
from ushape.interrupts import Deferred
from ushape.predict.canvas import Part
from ushape.threads import Lanes

Tile = NDArray[np.uint8]


class Job(Protocol):
    """One slide: opened, predicted part by part, then finished or abandoned."""

    name: str

    def open(self) -> None:
        """UshapeError where this slide cannot be predicted."""

    def parts(self) -> Iterator[Part]: ...

    def tile(self, part: Part) -> Tile: ...

    def compute(self, tile: Tile) -> NDArray[Any]: ...

    def put(self, part: Part, result: NDArray[Any]) -> None: ...

    def keep(self) -> None:
        """Bring to disk what was put, and let go of the slide."""

    def finish(self) -> None:
        """Write what is asked for, from what was put; in a thread of its own."""

    def abandon(self) -> None:
        """Have `finish`, which another thread is at, end with an error as soon as may be."""


Report = Callable[[Job, Part | None], None]
"""Told of each part that was put, and with None of each slide that is open."""


def stream(jobs: Sequence[Job], lanes: Lanes, report: Report) -> dict[str, UshapeError]:
    """Predict all slides; those that could not be, by name, with the reason: the others go on.

    A full disk (RunError in writing) ends all of it. Ctrl-C and SIGTERM end it after the tile at work, or what is being
    looked over or written of a slide; what was computed is kept then, as after any error.
    """
    failed: dict[str, UshapeError] = {}

    def tasks() -> Iterator[tuple[Job, Part | None]]:
        for job in jobs:
            try:
                job.open()
            except RunError:
                raise
            except UshapeError as error:
                failed[job.name] = _bare(error)
                continue
            report(job, None)
            for part in job.parts():
                if job.name in failed:
                    break
                yield job, part
            yield job, None

    def compute(task: tuple[Job, Part | None, Future[Tile] | None]) -> tuple[Job, Part | None, Any]:
        job, part, tile = task
        if part is None or tile is None:
            return job, None, None
        try:
            return job, part, job.compute(tile.result())
        except UshapeError as error:
            return job, part, _bare(error)

    with ThreadPoolExecutor(lanes.count + 1, "reader") as readers, _Finisher() as finisher, Deferred() as signals:
        ahead = _read_ahead(readers, tasks(), 2 * lanes.count)
        current: Job | None = None
        try:
            for job, part, result in lanes.map(compute, ahead):
                current = job
                if part is None:
                    if job.name in failed:
                        job.keep()
                    else:
                        finisher.finish(job, signals.check)
                    current = None
                elif isinstance(result, UshapeError):
                    failed[job.name] = result
                elif job.name not in failed:
                    job.put(part, result)
                    report(job, part)
                signals.check()
        except BaseException:
            readers.shutdown(cancel_futures=True)  # none is left in a slide that is let go of
            if current is not None:
                current.keep()
            raise
    return failed | finisher.failed


def _bare(error: UshapeError) -> UshapeError:
    """Without what holds on to the slide: the frames that it came through, and the error before it."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class _Finisher:
    """One thread that finishes slides; each waits until the one before is done. When interrupted it is abandoned."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "finisher")
        self._waiting: tuple[Job, Future[None]] | None = None
        self.failed: dict[str, UshapeError] = {}

    def finish(self, job: Job, check: Callable[[], None]) -> None:
        """`check` is called while the one before is waited for; what it raises ends that."""
        self._settle(check)
        self._waiting = job, self._pool.submit(job.finish)

    def _settle(self, check: Callable[[], None] = lambda: None) -> None:
        if self._waiting is None:
            return
        job, future = self._waiting
        try:
            while not wait([future], 0.2).done:
                check()
        except BaseException:
            job.abandon()
            raise
        self._waiting = None
        try:
            future.result()
        except RunError:
            raise
        except UshapeError as error:
            self.failed[job.name] = _bare(error)

    def __enter__(self) -> _Finisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
            elif self._waiting is not None:
                self._waiting[0].abandon()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _read_ahead(
    readers: ThreadPoolExecutor, tasks: Iterable[tuple[Job, Part | None]], count: int
) -> Iterator[tuple[Job, Part | None, Future[Tile] | None]]:
    """Tasks with their tiles in the making, `count` of them ahead."""
    waiting: deque[tuple[Job, Part | None, Future[Tile] | None]] = deque()
    for job, part in tasks:
        waiting.append((job, part, None if part is None else readers.submit(job.tile, part)))
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
