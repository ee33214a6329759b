"""Reading `results.json`: what docs/results.md promises is checked once, here, so that nobody else has to."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ushape.errors import RunError
from ushape.report.results import AGGREGATIONS, METRICS, REMEDY, VERDICTS, Results


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
            if f.name not in value:
                raise _Wrong(f"the key {inside + f.name!r} is missing")
        return kind(**{f.name: _as(hints[f.name], value[f.name], inside + f.name) for f in fields(kind)})
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
        bins = arm.measures.calibration
        need(
            bins is None or len(bins.pixels) == len(bins.right) == len(bins.confidence),
            f"'calibration' of {arm.name!r} has bins without numbers",
        )
    for each in (*results.comparisons, *results.effects):
        need(each.verdict in VERDICTS, f"the verdict {each.verdict!r} is none of {', '.join(VERDICTS)}")
    for name in names[1:]:
        for kind in ((m, a) for m in METRICS for a in AGGREGATIONS):
            need(results.comparison(name, *kind) is not None, f"'comparisons' lacks {kind} of {name!r}")
    need(results.ranks is None or set(results.ranks.mean_ranks) == set(names), "'ranks' are not of the arms")
    need(results.tuning is None or set(results.tuning.arms) == set(names), "'tuning' is not of the arms")
    need(results.matched in (None, "params", "flops", "time"), f"'matched' is {results.matched!r}")
    need(results.margin > 0, f"'margin' is {results.margin}, not above 0")
    for name, roi in results.rois.items():
        need(set(names) <= set(roi.arms), f"'rois.{name}.arms' lacks an arm")
    for c in results.curves:
        same = len(c.step) == len(c.loss) and len(c.validation_step) == len(c.validation_macro_dice)
        need(c.seed in results.seeds, f"a curve of {c.arm!r} has seed {c.seed}, which 'seeds' lacks")
        need(same, f"the curve of {c.arm!r}, fold {c.fold}, seed {c.seed} has steps without values")
