"""Who works in a folder: a lock on it, or a file in it, that the system drops with its holder, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ushape.errors import RunError

try:
    import fcntl
except ImportError:  # no POSIX system: nothing is locked there, and nothing seems to be held
    fcntl = None  # type: ignore[assignment]


@contextmanager
def holding(file: Path, patience: float = 60.0) -> Iterator[None]:
    """Hold a file or folder that exists while the block runs; another holder is waited for, `patience` seconds at most.

    A process that was told to stop needs a moment to save its state. RunError where the other one goes on.
    """
    folder = file.is_dir()
    try:
        number = os.open(file, os.O_RDONLY if folder else os.O_RDWR) if fcntl else None
    except FileNotFoundError:  # or no longer there
        number = None
    if number is None:
        yield
        return
    try:
        deadline = time.monotonic() + patience
        while not _take(number, exclusive=True):
            if time.monotonic() > deadline:
                at = file if folder else file.parent
                raise RunError(f"{at}: another process is at work in it: wait for it, or stop it")
            time.sleep(0.05)
        yield
    finally:
        os.close(number)


def is_held(file: Path) -> bool:
    """Whether a living process, on any machine that shares the disk and its locks, holds the file. Writes nothing."""
    if fcntl is None or not file.exists():
        return False
    with file.open("rb") as opened:
        return not _take(opened.fileno(), exclusive=False)


def _take(number: int, exclusive: bool) -> bool:
    try:
        fcntl.flock(number, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk that knows no locks: nothing seems to be held there
        return True
    return True
