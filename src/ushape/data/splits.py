"""Folds that never cut through a patient and that share out every class's pixels; the official split of BCSS.

Few patients hold a rare class; a random split often leaves a fold without it. Folds here minimise, over classes
and folds, the squared difference between a fold's share of the class's pixels and an even share, by exchanging
patients from several random starts. The result depends on the pixel counts and the seed alone.

Such folds mix institutes. The official split of BCSS (Amgad et al. 2019, 10.1093/bioinformatics/btz083) tests on whole
institutes, of which no ROI is trained on, and is one fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import Grouping
from ushape.data.rois import Pixels, site_of
from ushape.errors import DataError

Counts = NDArray[np.int64]

Split = int | Literal["official"]
"""How many folds, or the official one."""

TEST_SITES = ("OL", "LL", "E2", "EW", "GM", "S3")
"""Tissue source sites of TCGA, the second part of a patient's name: the official test set, 45 of the 151 ROIs."""

VALIDATION_SITES = ("BH", "C8", "A8", "A1", "E9")
"""Held back of the others where something is chosen by validation patients, as is common: 30 ROIs."""


@dataclass(frozen=True)
class Fold:
    """Patients of one fold. No patient stands in two of the three."""

    test: tuple[str, ...]
    validation: tuple[str, ...]
    train: tuple[str, ...]

    def to_dict(self) -> dict[str, list[str]]:
        return {part: list(patients) for part, patients in asdict(self).items()}


def class_counts(pixels: Sequence[Pixels], grouping: Grouping) -> dict[str, Counts]:
    """Pixels of each class per patient: {patient: int64 [classes]}, sorted by patient."""
    counts: dict[str, Counts] = {}
    for each in pixels:
        total = counts.setdefault(each.roi.patient, np.zeros(len(grouping.classes), np.int64))
        total += grouping.count(each.codes)
    return dict(sorted(counts.items()))


def split(
    counts: Mapping[str, Counts], grouping: Grouping, how: Split, seed: int = 0, validation: bool = True
) -> list[Fold]:
    """`make_folds`, or the official fold alone."""
    if how == "official":
        return [official_fold(counts, grouping, validation)]
    return make_folds(counts, grouping, how, seed, validation)


def told_split(how: Split, folds: Sequence[Fold], seed: int) -> str:
    """A split in words, as reports name it."""
    if how == "official":
        tested, held = (sorted({_site(p) for p in patients}) for patients in (folds[0].test, folds[0].validation))
        part = "" if len(tested) == len(TEST_SITES) else f" of {', '.join(TEST_SITES)}"
        validated = f"; {', '.join(held)} held back for validation" if held else ""
        return f"bcss-official@1 (tested on the institutes {', '.join(tested)}{part}{validated})"
    return f"{how} patient-level folds balanced by class pixels, seed {seed}"


def official_fold(counts: Mapping[str, Counts], grouping: Grouping, validation: bool = True) -> Fold:
    """Patients of `TEST_SITES` are tested; with `validation` those of `VALIDATION_SITES` are held back.

    DataError where a patient's name is not TCGA's, a part is empty, or training patients hold no pixel of a class that
    the data has.
    """
    parts: dict[str, list[str]] = {"test": [], "validation": [], "train": []}
    for patient in sorted(counts):
        if site_of(patient) is None:
            raise DataError(
                f"patient {patient}: the official split goes by the institutes in TCGA's names (TCGA-A1-A0SK): give a "
                "number of folds"
            )
        site = _site(patient)
        held = site in VALIDATION_SITES and validation
        parts["test" if site in TEST_SITES else "validation" if held else "train"].append(patient)
    for part, sites in (("test", TEST_SITES), ("validation", VALIDATION_SITES), ("train", ())):
        if not parts[part] and (part != "validation" or validation):
            of = f" (institutes {', '.join(sites)})" if sites else ""
            raise DataError(f"the official split has no {part} patient among these{of}: give a number of folds")
    _check_classes(counts, grouping, parts["train"], "the official split", "use")
    return Fold(*(tuple(parts[part]) for part in ("test", "validation", "train")))


def _site(patient: str) -> str:
    """The institute in a name of TCGA, spelt as the two lists spell it where one has it: `tcga-0l-a0sk` -> `OL`."""
    spelt = {site.replace("O", "0"): site for site in (*TEST_SITES, *VALIDATION_SITES)}
    site = site_of(patient) or ""
    return spelt.get(site, site)


def _check_classes(
    counts: Mapping[str, Counts], grouping: Grouping, train: Sequence[str], what: str, remedy: str
) -> None:
    held, learnt = (np.sum([counts[p] for p in patients], axis=0) for patients in (list(counts), train))
    if empty := [c for c, n, h in zip(grouping.classes, learnt, held, strict=True) if h and not n]:
        raise DataError(
            f"{what}: no training patient has a pixel of {', '.join(empty)} ({grouping.id}): {remedy} a grouping "
            "without it"
        )


def make_folds(
    counts: Mapping[str, Counts], grouping: Grouping, folds: int, seed: int = 0, validation: bool = True
) -> list[Fold]:
    """`folds` folds over the patients of `counts`; each patient is tested in exactly one.

    Validation patients (a tenth of the patients, at least one) come from outside the fold's test patients, chosen
    so that the training patients keep their share of every class; without `validation` there are none, and they train.
    DataError where there are too few patients, or where a fold's training patients would hold no pixel of a class
    that the data has.
    """
    patients = sorted(counts)
    if not (folds >= 2 and len(patients) >= max(folds, 3)):
        raise DataError(
            f"{folds} folds over {len(patients)} patients: give 2 to {len(patients)} folds and at least 3 patients"
        )
    table = np.stack([counts[p] for p in patients]).astype(float)  # [patients, classes]
    held = table.sum(axis=0)
    shares = table / np.where(held > 0, held, 1)  # each patient's share of each class
    rng = np.random.default_rng(seed)
    best = min((_exchange(shares, folds, rng) for _ in range(16)), key=lambda a: _cost(shares, a, folds))
    made = []
    for fold in range(folds):
        test = np.flatnonzero(best == fold)
        rest = np.flatnonzero(best != fold)
        held_back = rest[_validation(shares[rest], max(1, round(len(patients) / 10)))] if validation else rest[:0]
        train = np.setdiff1d(rest, held_back)
        if not len(train):
            raise DataError(f"{folds} folds over {len(patients)} patients leave none to train on: use more folds")
        _check_classes(counts, grouping, [patients[i] for i in train], f"fold {fold + 1}/{folds}", "use more folds, or")
        names = [tuple(patients[i] for i in part) for part in (test, held_back, train)]
        made.append(Fold(*names))
    return made


def _exchange(shares: NDArray[np.float64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A balanced random assignment [patients] -> fold, improved by exchanges of two patients until none helps."""
    order = rng.permutation(len(shares))
    assignment = np.empty(len(shares), np.int64)
    assignment[order] = np.arange(len(shares)) % folds
    sums = np.zeros((folds, shares.shape[1]))
    np.add.at(sums, assignment, shares)
    improved = True
    while improved:
        improved = False
        for a in range(len(shares)):
            for b in range(a + 1, len(shares)):
                fa, fb = assignment[a], assignment[b]
                if fa == fb:
                    continue
                moved = shares[b] - shares[a]
                # change of sum of squares when a and b exchange folds
                change = np.sum(2 * moved * (sums[fa] - sums[fb]) + 2 * moved**2)
                if change < -1e-12:
                    sums[fa] += moved
                    sums[fb] -= moved
                    assignment[a], assignment[b] = fb, fa
                    improved = True
    return assignment


def _cost(shares: NDArray[np.float64], assignment: NDArray[np.int64], folds: int) -> float:
    sums = np.zeros((folds, shares.shape[1]))
    np.add.at(sums, assignment, shares)
    return float(np.sum((sums - 1 / folds) ** 2))


def _validation(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """`count` of the patients whose class shares come nearest to an even part, chosen one after another."""
    target = count / len(shares) * shares.sum(axis=0)
    chosen: list[int] = []
    for _ in range(count):
        left = [i for i in range(len(shares)) if i not in chosen]
        # the last patients of a rare class stay in training where others can validate
        spared = [
            i
            for i in left
            if np.all((np.delete(shares, [*chosen, i], axis=0) > 0).any(axis=0) | (shares.sum(axis=0) == 0))
        ]
        left = spared or left
        left = [i for i in left if shares[i].any()] or left  # who has no counted pixel can choose nothing
        chosen.append(min(left, key=lambda i: float(np.sum((shares[[*chosen, i]].sum(axis=0) - target) ** 2))))
    return np.array(sorted(chosen))
