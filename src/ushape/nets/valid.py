"""Sizes that a U of unpadded 3x3 convolutions can take (Ronneberger et al. 2015, section 2). Imports no torch."""

from __future__ import annotations

from ushape.errors import SpecError


def valid_output(size: int, levels: int, depth: int) -> int | None:
    """What is left of `size` pixels; None where a level would have to halve an odd size, or nothing is left."""
    for _ in range(levels - 1):
        size -= 2 * depth
        if size <= 0 or size % 2:
            return None
        size //= 2
    size -= 2 * depth
    if size <= 0:
        return None
    for _ in range(levels - 1):
        size = 2 * size - 2 * depth
    return size if size > 0 else None


def lost(levels: int, depth: int) -> int:
    """Pixels that the output is smaller by: 184 for 5 levels of depth 2."""
    size = smallest(levels, depth)
    left = valid_output(size, levels, depth)
    assert left is not None
    return size - left


def smallest(levels: int, depth: int) -> int:
    """The smallest image size that gives an output."""
    size = 1
    while valid_output(size, levels, depth) is None:
        size += 1
    return size


def check_valid(height: int, width: int, levels: int, depth: int) -> None:
    """SpecError naming the next valid sizes where height or width is none."""
    for what, size in (("height", height), ("width", width)):
        if valid_output(size, levels, depth) is None:
            first, step = smallest(levels, depth), 2 ** (levels - 1)
            above = max(first, first + -(-(size - first) // step) * step)
            near = f"{above - step} or {above}" if above > first else f"{above}"
            raise SpecError(
                f"an image {what} of {size} leaves a remainder, or nothing, after {levels} unpadded levels: "
                f"give {near} (any {first} + {step}k), or padding=same"
            )
