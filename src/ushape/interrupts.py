"""Ctrl-C and SIGTERM that wait for the end of a step, so that no state is ever torn."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Deferred:
    """While in this context, SIGINT and SIGTERM are noted only; `check()` raises KeyboardInterrupt for them.

    Outside the main thread, where Python allows no handlers, it does nothing. Leaving it puts the handlers back and
    raises for a signal that no `check` has answered yet.
    """

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raise KeyboardInterrupt where a signal has come."""
        if self.asked:
            self.asked = False
            raise KeyboardInterrupt

    def __enter__(self) -> Deferred:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self.check()
