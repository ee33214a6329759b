"""The 22 codes of a BCSS mask, and groupings: named, versioned maps from codes to classes.

Source of codes and the official grouping: Amgad et al., Bioinformatics 2019 (10.1093/bioinformatics/btz083).
Code 0 lies outside the annotated region. It is not a class: it has no weight in any loss or metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.errors import DataError, nearest

CODES: dict[int, str] = {
    0: "outside_roi", 1: "tumor", 2: "stroma", 3: "lymphocytic_infiltrate", 4: "necrosis_or_debris",
    5: "glandular_secretions", 6: "blood", 7: "exclude", 8: "metaplasia_NOS", 9: "fat", 10: "plasma_cells",
    11: "other_immune_infiltrate", 12: "mucoid_material", 13: "normal_acinus_or_duct", 14: "lymphatics",
    15: "undetermined", 16: "nerve", 17: "skin_adnexa", 18: "blood_vessel", 19: "angioinvasion", 20: "dcis",
    21: "other",
}  # fmt: skip

IGNORE = 255
"""Label of a pixel that counts nowhere."""

UNKNOWN = 254
"""Entry of a grouping's table for codes that BCSS does not define; reading a mask refuses them."""


@dataclass(frozen=True)
class Grouping:
    """A map from mask codes to classes.

    `classes[i]` is the name of class i, `colours[i]` its colour (RGB, 0-255) in every picture, and
    `groups[i]` the codes that belong to it. Codes in `ignored` count nowhere. Every one of the 22 codes
    stands in exactly one place.
    """

    name: str
    version: int
    classes: tuple[str, ...]
    groups: tuple[frozenset[int], ...]
    ignored: frozenset[int]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        placed = [code for group in (*self.groups, self.ignored) for code in group]
        if sorted(placed) != sorted(CODES) or not len(self.groups) == len(self.classes) == len(self.colours):
            raise DataError(f"grouping {self.name!r}: every code 0-21 must stand in exactly one group")

    @property
    def id(self) -> str:
        """Name and version, as printed in every report: `bcss-5@1`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Look-up table, uint8 [256]: code -> class index, IGNORE or UNKNOWN."""
        table = np.full(256, UNKNOWN, np.uint8)
        for index, group in enumerate(self.groups):
            table[list(group)] = index
        table[list(self.ignored)] = IGNORE
        return table

    def labels(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mask codes, uint8 of any shape -> class indices 0..classes-1 or IGNORE, same shape."""
        labels: NDArray[np.uint8] = self.table[codes]
        return labels

    def count(self, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Mask codes, uint8 of any shape -> pixels of each class, int64 [classes]; ignored ones are in none."""
        by_label = np.zeros(256, np.int64)
        np.add.at(by_label, self.table, np.bincount(codes.ravel(), minlength=256))
        return by_label[: len(self.classes)]

    def describe(self) -> dict[str, Any]:
        """Plain data for a report or a weights file."""
        return {
            "id": self.id,
            "classes": list(self.classes),
            "codes": {c: sorted(g) for c, g in zip(self.classes, self.groups, strict=True)},
            "ignored": sorted(self.ignored),
            "colours": [list(c) for c in self.colours],
        }


FIVE = ("tumor", "stroma", "inflammatory", "necrosis", "other")
FIVE_COLOURS = ((213, 62, 79), (102, 194, 165), (94, 79, 162), (254, 224, 97), (158, 158, 158))


def _five(name: str, version: int, tumor: set[int], inflammatory: set[int], ignored: set[int]) -> Grouping:
    """Five classes: the sets given, stroma {2}, necrosis {4}, and every code left over as `other`."""
    other = set(CODES) - tumor - inflammatory - ignored - {2, 4}
    groups = tuple(map(frozenset, (tumor, {2}, inflammatory, {4}, other)))
    return Grouping(name, version, FIVE, groups, frozenset(ignored), FIVE_COLOURS)


GROUPINGS: dict[str, Grouping] = {
    g.name: g
    for g in (
        # The official grouping of the BCSS paper.
        _five("bcss-5", 1, {1, 19, 20}, {3, 10, 11}, {0}),
        # In use elsewhere: lymphatics counted as inflammatory.
        _five("bcss-5-lymphatics", 1, {1, 19, 20}, {3, 10, 11, 14}, {0}),
        # In use elsewhere: `exclude` and `undetermined` are ignored instead of `other`.
        _five("bcss-5-certain", 1, {1, 19, 20}, {3, 10, 11}, {0, 7, 15}),
        # The author's experiments (UNET_modifications): outside_roi counts as `other`.
        _five("bcss-5-seed", 1, {1}, {3, 10}, set()),
    )
}


def grouping(name: str) -> Grouping:
    """The grouping called `name` (`bcss-5`) or `name@version`; DataError where there is none."""
    bare, _, version = name.partition("@")
    if bare not in GROUPINGS:
        known = list(GROUPINGS)
        raise DataError(f"unknown grouping {name!r}{nearest(bare, known)} (known: {', '.join(known)})")
    found = GROUPINGS[bare]
    if version and version != str(found.version):
        raise DataError(f"grouping {bare!r} is at version {found.version} here, not {version}: use {found.id!r}")
    return found
