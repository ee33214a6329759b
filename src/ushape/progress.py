"""Progress of long work with an estimate of the time left: a bar on a terminal, else a line every half minute."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """`done` of `total` units of work, with a word on what is at work. All on stderr."""

    def __init__(self, unit: str, total: int, every: float = 30.0) -> None:
        self.unit, self.total, self.every = unit, total, every
        self._done = self._done_at_start = 0
        console = Console(stderr=True)
        columns = (
            MofNCompleteColumn(),
            TextColumn(unit),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self._bars = Bars(*columns, console=console, speed_estimate_period=120) if console.is_terminal else None

    def start(self, done: int = 0) -> None:
        self._done = self._done_at_start = done
        self._began = self._printed = time.monotonic()
        if self._bars:
            self._bars.start()
            self._task = self._bars.add_task("", total=self.total, completed=done, note="")

    def update(self, done: int | None = None, note: str = "", total: int | None = None) -> None:
        """`done` units in all (None: one more) of `total`, where that has changed."""
        self._done = self._done + 1 if done is None else done
        self.total = self.total if total is None else total
        if self._bars:
            self._bars.update(self._task, completed=self._done, total=self.total, note=note)
            return
        now = time.monotonic()
        if now - self._printed >= self.every:
            self._printed = now
            rate = (self._done - self._done_at_start) / (now - self._began)
            left = f"{(self.total - self._done) / rate / 60:.1f} min left" if rate > 0 else "time left unknown"
            print(f"{self._done} of {self.total} {self.unit}, {left} {note}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        if self._bars:
            self._bars.stop()
