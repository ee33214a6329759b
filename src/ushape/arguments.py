"""What a text on the command line stands for, or what may be given in its place. Imports nothing that takes time."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ushape.errors import UshapeError, check_seed

if TYPE_CHECKING:
    from ushape.data.splits import Split

MAX_RADIUS, CELL = 256, 4
"""Of the guided filter, in px, as recipes and `ushape.predict.tiling` have it."""

N = TypeVar("N", int, float)


def _number(text: str, kind: Callable[[str], N], holds: Callable[[N], bool], remedy: str) -> N:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not holds(value):
        raise argparse.ArgumentTypeError(f"{text}: give {remedy}")
    return value


def path(text: str) -> Path:
    """A file or folder; an empty text, as of a shell's variable that is not set, is none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: name a file or a folder (`.` for this one)")
    return Path(text)


def seeds(text: str) -> int:
    return _number(text, int, lambda value: 1 <= value <= 1000, "a whole number from 1 to 1000")


def side(text: str) -> int:
    return _number(text, int, lambda value: 1 <= value <= 2**16, "a side in px, up to 65536")


def amount(text: str) -> float:
    return _number(text, float, lambda value: 0 <= value < inf, "a number of 0 or more")


def pixel_size(text: str) -> float:
    return _number(text, float, lambda value: 0.01 <= value <= 100, "µm per pixel, from 0.01 to 100")


def radius(text: str) -> int:
    remedy = f"a multiple of {CELL} from 0 to {MAX_RADIUS}"
    return _number(text, int, lambda value: 0 <= value <= MAX_RADIUS and value % CELL == 0, remedy)


def positive(text: str) -> int:
    return _number(text, int, lambda value: value >= 1, "a whole number of at least 1")


def natural(text: str) -> int:
    return _number(text, int, lambda value: value >= 0, "a whole number of at least 0")


def seed(text: str) -> int:
    try:
        return check_seed(_number(text, int, lambda value: True, "a whole number"))
    except UshapeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def jobs(text: str) -> int | None:
    return None if text == "auto" else positive(text)


def folds(text: str) -> Split:
    return "official" if text == "official" else positive(text)


def fold_of(text: str) -> tuple[int, Split]:
    if text == "official":
        return 1, "official"
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text!r}: write K/N with K from 1 to N, as 1/5, or official")
    return int(number), int(of)
