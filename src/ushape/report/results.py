"""`results.json` as frozen values: what docs/results.md promises, checked once, so that nobody else has to."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ushape.errors import RunError

FILE = "results.json"
REMEDY = "run `ushape compare` again: it resumes"

METRICS = ("macro_dice", "accuracy")
AGGREGATIONS = ("pooled", "per_patient")

# The fields below are the keys of the file. Keys that the report does not need are not named; those with a default
# may be missing.


@dataclass(frozen=True)
class Data:
    folder: str
    fingerprint: str
    rois: int
    patients: int
    mpp: float | None


@dataclass(frozen=True)
class Grouping:
    id: str
    classes: list[str]
    codes: dict[str, list[int]]
    ignored: list[int]
    colours: list[list[int]]


@dataclass(frozen=True)
class Fold:
    test: list[str]
    validation: list[str]
    train: list[str]


@dataclass(frozen=True)
class Score:
    macro_dice: float | None
    accuracy: float | None
    dice: dict[str, float | None]


@dataclass(frozen=True)
class Scores:
    pooled: Score
    per_roi: Score
    per_patient: Score


@dataclass(frozen=True)
class Arm:
    name: str
    parameters: int
    train_minutes: float | None
    scores: Scores
    absent: dict[str, int]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Comparison:
    arm: str
    baseline: str
    metric: str
    aggregation: str
    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    patients: int
    p_holm: float | None


@dataclass(frozen=True)
class Effect:
    """What a modification, or two together, do to a score of an ablation."""

    effect: str
    aliases: list[str]
    metric: str
    aggregation: str
    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    p_holm: float | None
    patients: int


@dataclass(frozen=True)
class Design:
    kind: str
    factors: list[str]
    resolution: int | None
    words: list[str]


@dataclass(frozen=True)
class RoiArm:
    macro_dice: float | None
    accuracy: float | None
    prediction: str


@dataclass(frozen=True)
class Roi:
    patient: str
    fold: int
    image: str
    truth: str
    arms: dict[str, RoiArm]


@dataclass(frozen=True)
class Curve:
    arm: str
    fold: int
    seed: int
    step: list[int]
    loss: list[float | None]
    validation_step: list[int]
    validation_macro_dice: list[float | None]
    chosen_step: int | None


@dataclass(frozen=True)
class Results:
    ushape: str
    created: str
    command: str
    data: Data
    grouping: Grouping
    folds: list[Fold]
    split: str
    seeds: list[int]
    recipe: dict[str, Any]
    arms: list[Arm]
    comparisons: list[Comparison]
    rois: dict[str, Roi]
    curves: list[Curve]
    versions: dict[str, Any] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    design: Design | None = field(default_factory=lambda: None)
    matched: str | None = field(default_factory=lambda: None)

    def comparison(self, arm: str, metric: str, aggregation: str) -> Comparison | None:
        """The comparison of `arm` with the first arm; None for the first arm itself."""
        want = (arm, metric, aggregation)
        return next((c for c in self.comparisons if (c.arm, c.metric, c.aggregation) == want), None)


def read(path: Path) -> Results:
    """The results in the file at `path`; RunError that names the file and what is wrong with it."""
    try:
        # NaN is no JSON; where one got in it is a score that does not exist.
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the study is not finished; {REMEDY}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); {REMEDY}") from None
    try:
        results: Results = _as(Results, raw, "")
        _check(results)
    except _Wrong as wrong:
        raise RunError(f"{path}: {wrong}; {REMEDY}") from None
    return results


class _Wrong(Exception):
    """Something in the file is not as promised; becomes a RunError that names the file."""


def _as(kind: Any, value: Any, where: str) -> Any:
    """`value` as type `kind`, which may be a dataclass, list, dict, optional or plain type."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _as(inner[0], value, where)
    if is_dataclass(kind) and isinstance(kind, type):
        _expect(isinstance(value, dict), where, "an object", value)
        hints, inside = get_type_hints(kind), f"{where}." if where else ""
        for f in fields(kind):
            if f.name not in value and f.default_factory is MISSING:
                raise _Wrong(f"the key {inside + f.name!r} is missing")
        present = [f.name for f in fields(kind) if f.name in value]
        return kind(**{name: _as(hints[name], value[name], inside + name) for name in present})
    if origin is list:
        _expect(isinstance(value, list), where, "a list", value)
        return [_as(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), where, "an object", value)
        return {key: _as(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        kind = (int, float)
    _expect(isinstance(value, kind) and not isinstance(value, bool), where, "text or a number", value)
    return value


def _expect(holds: bool, where: str, what: str, value: Any) -> None:
    if not holds:
        raise _Wrong(f"{where or 'the file'!r} should be {what} of the right kind, not {str(value)[:40]!r}")


def _check(results: Results) -> None:
    """What types cannot say: sizes agree, and every arm has its comparisons and its pictures."""
    classes, names = results.grouping.classes, [a.name for a in results.arms]

    def need(holds: bool, complaint: str) -> None:
        if not holds:
            raise _Wrong(complaint)

    need(bool(names), "'arms' is empty")
    colours = results.grouping.colours
    need(len(colours) == len(classes), "'grouping.colours' has not one colour for each class")
    need(all(len(c) == 3 and all(0 <= v <= 255 for v in c) for c in colours), "'grouping.colours' is not RGB")
    for arm in results.arms:
        shape = [len(arm.confusion), *map(len, arm.confusion)]
        need(shape == [len(classes)] * (len(classes) + 1), f"'confusion' of {arm.name!r} is not square")
        need(set(classes) <= set(arm.scores.pooled.dice), f"the pooled 'dice' of {arm.name!r} lacks a class")
    for name in names[1:]:
        for kind in ((m, a) for m in METRICS for a in AGGREGATIONS):
            need(results.comparison(name, *kind) is not None, f"'comparisons' lacks {kind} of {name!r}")
    for name, roi in results.rois.items():
        need(set(names) <= set(roi.arms), f"'rois.{name}.arms' lacks an arm")
    for c in results.curves:
        same = len(c.step) == len(c.loss) and len(c.validation_step) == len(c.validation_macro_dice)
        need(c.seed in results.seeds, f"a curve of {c.arm!r} has seed {c.seed}, which 'seeds' lacks")
        need(same, f"the curve of {c.arm!r}, fold {c.fold}, seed {c.seed} has steps without values")
