"""How large a study must be to see a difference, from what the runs of one that is finished tell.

Variance components of the difference to the first arm in pooled macro Dice, averaged over the other arms; of an
ablation those of its effects. The level is 5% divided by their number: what Holm asks of the first of them, so that
the answer is on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from ushape.errors import RunError
from ushape.files import read_json
from ushape.study.design import folder_of
from ushape.study.factorial import make_design
from ushape.study.folder import read_question
from ushape.study.runner import RESULT
from ushape.study.statistics import Components, detectable_difference, patients_needed, power
from ushape.study.statistics.components import components
from ushape.study.statistics.evidence import gather
from ushape.study.status import read_status

METRIC, AGGREGATION = "macro_dice", "pooled"
SEEDS = (2, 3, 5)


@dataclass(frozen=True)
class Row:
    """A study of so many seeds. `visible`: patients -> smallest difference seen; `needed`: patients for the one asked
    for, None where no number of them is enough."""

    seeds: int
    visible: dict[int, float]
    needed: int | None


@dataclass(frozen=True)
class Outlook:
    """What a study, and larger ones like it, can see. Differences are shares (0.01 is a point).

    `contrasts`: how many arms are compared with the first, or effects estimated (`of_effects`).
    With one seed `parts` is None, there are no rows, `chance` is None, and `visible` is what would be seen if it made
    no difference which run one has: the true one is larger.
    """

    patients: int
    folds: int
    seeds: int
    contrasts: int
    of_effects: bool
    difference: float
    wanted: float
    parts: Components | None
    visible: float
    chance: float | None
    rows: tuple[Row, ...] = ()


def outlook(folder: Path, difference: float, wanted: float) -> Outlook:
    """The outlook of a finished study: for a true `difference` (a share) to be seen with a power of `wanted`.

    RunError where runs are missing, where difference or power is out of range, or where each patient is alone in its
    fold, so that the luck of a run cannot be told from a patient.
    """
    if not 0 < difference < 1:
        raise RunError(f"--difference {100 * difference:g}: give points above 0 and below 100, say 2")
    evidence, effects = gather(*_matrices(folder)), _effects(folder)
    values = evidence.pseudovalues()  # [arms, seeds, patients]
    others = np.eye(len(values))[1:] - np.eye(len(values))[0]
    found = np.tensordot(others if effects is None else effects, values, 1)  # [contrasts, seeds, patients]
    contrasts, seeds, patients = found.shape
    folds, alpha = len(set(evidence.folds.tolist())), 0.05 / contrasts
    if not alpha < wanted < 1:
        raise RunError(f"--power {wanted:g}: give a share between {alpha:g} and 1, say 0.8")
    asked = (patients, folds, seeds, contrasts, effects is not None, difference, wanted)
    if seeds == 1:
        spread = float(np.sqrt(found[:, 0].var(-1, ddof=1).mean()))
        return Outlook(*asked, None, _without_luck(spread, patients, wanted, alpha), None)
    each_of = [components(each, evidence.folds) for each in found]
    parts = Components(*(float(np.mean([getattr(e, k) for e in each_of])) for k in ("patient", "seed", "rest")))
    rows = []
    for each in SEEDS:
        visible = {
            n: detectable_difference(parts, patients=n, seeds=each, folds=folds, wanted=wanted, alpha=alpha)
            for n in (patients, 2 * patients, 4 * patients, 10 * patients)
        }
        needed = patients_needed(parts, difference, seeds=each, folds=folds, wanted=wanted, alpha=alpha)
        rows.append(Row(each, visible, needed))
    here = detectable_difference(parts, patients=patients, seeds=seeds, folds=folds, wanted=wanted, alpha=alpha)
    chance = power(parts, difference, patients=patients, seeds=seeds, folds=folds, alpha=alpha)
    return Outlook(*asked, parts, here, chance, tuple(rows))


def _without_luck(spread: float, patients: int, wanted: float, alpha: float) -> float:
    """The difference that a paired t test sees with power `wanted`, where values of patients spread by `spread`.

    Power by the noncentral t distribution (Cohen 1988, section 2.2).
    """
    if not spread:
        return 0.0
    freedom = patients - 1
    reach = stats.t.isf(alpha / 2, freedom)
    shift = optimize.brentq(lambda x: stats.nct.sf(reach, freedom, x) - wanted, 0.0, 100.0 + 10 * reach)
    return float(shift * spread / np.sqrt(patients))


def _effects(folder: Path) -> NDArray[np.float64] | None:
    """The weights of an ablation's effects [effects, arms]; None for a study without a design."""
    design = read_question(folder).get("design")
    return np.array([e.weights for e in make_design(**design).effects]) if design else None


def _matrices(folder: Path) -> tuple[list[NDArray[np.int64]], str, str, list[int]]:
    """Of each arm [seeds, patients, classes, classes]; metric and aggregation; the fold of each patient, by name."""
    status = read_status(folder)
    missing = [part.folder for part in status.parts if not part.is_search and part.state != "finished"]
    if missing:
        raise RunError(f"{folder}: {len(missing)} runs are not finished ({missing[0]}): `ushape study resume {folder}`")
    fold_of: dict[str, int] = {}
    held: dict[str, dict[str, dict[str, NDArray[np.int64]]]] = {arm: {} for arm in status.arms}
    for part in status.parts:
        if part.is_search:
            continue
        fold, seed = part.folder.name.split("-")
        path = folder / part.folder / RESULT
        try:
            for entry in read_json(path).values():
                patient, matrix = entry["patient"], np.array(entry["confusion"], np.int64)
                by_patient = held[part.arm].setdefault(seed, {})
                by_patient[patient] = by_patient.get(patient, np.int64(0)) + matrix
                fold_of[patient] = int(fold.removeprefix("fold"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(f"{path}: is damaged ({error!r}): remove {path.parent}, then resume the study") from error
    patients = sorted(fold_of)
    for arm, seeds in held.items():
        for seed, by_patient in seeds.items():
            if lost := sorted(set(patients) - by_patient.keys()):
                where = folder / folder_of(arm) / f"fold{fold_of[lost[0]]}-{seed}"
                raise RunError(f"{where / RESULT}: has no patient {lost[0]}: remove {where}, then resume the study")
    stacked = [
        np.stack([np.stack([by_patient[p] for p in patients]) for by_patient in arm.values()]) for arm in held.values()
    ]
    return stacked, METRIC, AGGREGATION, [fold_of[p] for p in patients]
