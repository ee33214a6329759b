"""Ctrl-C and SIGTERM that wait for the end of a step, so that no state is ever torn; an end with the parent's."""

from __future__ import annotations

import os
import signal
import threading
import time
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


PARENT = "USHAPE_PARENT"
"""Environment variable: the process that started a job, said by that process itself."""


def stop_with_parent(interval: float = 0.5, again: float = 10.0) -> None:
    """From now on, interrupt the main thread as Ctrl-C does once the process that started this one is gone.

    That process is $USHAPE_PARENT where it said so, which holds also if it died before this call. The interrupt comes
    again every `again` seconds, in case it fell where Python drops exceptions.
    """
    # a shell that starts a study in the background has it, and its children, ignore the signal that asks to save;
    # Ray has them block it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent, main = int(os.environ.get(PARENT) or os.getppid()), threading.main_thread()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        while main.is_alive() and main.ident is not None:
            signal.pthread_kill(main.ident, signal.SIGINT)
            time.sleep(again)

    threading.Thread(target=watch, name="parent", daemon=True).start()
