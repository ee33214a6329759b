"""What size a compressed tile says it has, without decoding it: a tile of some kilobytes may claim gigabytes."""

from __future__ import annotations

_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Markers among those of JPEG frames that mean something else: Huffman tables, an extension, arithmetic coding."""


def declared_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header of JPEG or JPEG 2000 data; None where it is neither or the header is damaged."""
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)  # a codestream, bare or in its box
    if start >= 0 and len(data) >= start + 24:
        right, bottom, left, top = (int.from_bytes(data[start + at : start + at + 4]) for at in (8, 12, 16, 20))
        return right - left, bottom - top
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
