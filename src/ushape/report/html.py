"""One self-contained HTML file from a study's results: `write_report`."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ushape.errors import RunError
from ushape.report import figures, words
from ushape.report.gallery import gallery
from ushape.report.results import AGGREGATIONS, FILE, METRICS, Results, read
from ushape.report.table import table


def write_report(study: Path) -> Path:
    """Read `study/results.json` and the pictures it names, write `study/report.html`, return its path.

    The same results give the same bytes. A report that is there is replaced whole or not at all.
    """
    study = Path(study)
    page = render(study, read(study / FILE))
    return _replace(study / "report.html", page.encode("utf-8", "replace"))


def render(study: Path, results: Results) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("ushape", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(spec=spec, percent=words.percent, count=words.count, setting=setting)
    style = environment.loader.get_source(environment, "style.css")[0]  # type: ignore[union-attr]
    return environment.get_template("report.html.j2").render(
        results=results,
        style=Markup(style),
        title=words.question(results),
        verdicts=_verdicts(results),
        table=table(results),
        absences=words.absences(results),
        limits=words.limits(results),
        forests=_forests(results),
        caution=words.caution(results),
        effects=_effects(results),
        design=words.design(results),
        confusions=[(arm.name, _shares(arm.confusion)) for arm in results.arms],
        curves=_curves(results),
        fold_colours={c.fold: figures.fold_colour(c.fold) for c in sorted(results.curves, key=lambda c: c.fold)},
        rows=gallery(study, results),
    )


def spec(name: str, narrow: bool = False) -> Markup:
    """A spec, with places where a line may break: before each `+`; where it is narrow before `[` too."""
    return Markup("<wbr>").join(re.split(r"(?=[+\[])" if narrow else r"(?=\+)", name))


def setting(value: Any) -> str:
    """A value of a recipe as text: `0.001`, `flip, stain`, `dice: 0.5, cross_entropy: 0.5`."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(inner)}" for key, inner in value.items()) or words.NONE
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or words.NONE
    return value if isinstance(value, str) else json.dumps(value)


def _verdicts(results: Results) -> list[tuple[int, tuple[str, ...]]]:
    """A sentence for each main effect of an ablation, else for each arm."""
    if results.design:
        told = [e for e in results.effects if (e.metric, e.aggregation) == ("macro_dice", "pooled")]
        return [(words.side(e), words.effect(e)) for e in told if e.effect in results.design.factors]
    return [_verdict(results, arm.name) for arm in results.arms[1:]]


def _effects(results: Results) -> list[tuple[str, Markup]]:
    """Title and SVG of each panel of effects."""
    panels = []
    span = figures.span(results.effects)
    for aggregation in AGGREGATIONS:
        for metric in METRICS:
            shown = [e for e in results.effects if (e.metric, e.aggregation) == (metric, aggregation)]
            title = f"{words.AGGREGATION[aggregation]} {words.METRIC[metric]}"
            told = "; ".join(f"{words.label(e)} {' '.join(words.interval(e))}" for e in shown)
            if shown:
                label = f"Effects on {title}, points: {told}"
                panels.append((title[0].upper() + title[1:], Markup(figures.forest(shown, span, label))))
    return panels


def _verdict(results: Results, arm: str) -> tuple[int, tuple[str, ...]]:
    found = results.comparison(arm, "macro_dice", "pooled")
    assert found is not None  # `read` has seen to it
    return words.side(found), words.verdict(found)


def _forests(results: Results) -> list[tuple[str, Markup]]:
    """Title and SVG of each panel."""
    panels = []
    span = figures.span(results.comparisons)
    for aggregation in AGGREGATIONS:
        for metric in METRICS:
            found = [results.comparison(a.name, metric, aggregation) for a in results.arms[1:]]
            shown = [c for c in found if c is not None]
            title = f"{words.AGGREGATION[aggregation]} {words.METRIC[metric]}"
            told = "; ".join(f"{c.arm} {' '.join(words.interval(c))}" for c in shown)
            if shown:
                label = f"Difference to {results.arms[0].name} in {title}, points: {told}"
                panels.append((title[0].upper() + title[1:], Markup(figures.forest(shown, span, label))))
    return panels


def _curves(results: Results) -> list[tuple[str, Markup]]:
    limits = figures.Limits(results.curves)
    panels = []
    for arm in results.arms:
        own = [c for c in results.curves if c.arm == arm.name]
        label = f"Training loss and validation macro Dice of {arm.name} over steps, {len(own)} runs"
        if own:
            panels.append((arm.name, Markup(figures.curves(own, results.seeds, limits, label))))
    return panels


def _shares(confusion: list[list[int]]) -> list[list[float | None]]:
    """Each row of counts divided by its sum; a row without pixels has no shares."""
    return [[n / sum(row) if sum(row) else None for n in row] for row in confusion]


def _replace(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = f"{len(content) / 1e6:.1f} MB"
            raise RunError(f"the disk is full: {path} needs {need}; the old report, if any, is kept") from None
        raise RunError(f"{path} cannot be written ({error.strerror}); the old report, if any, is kept") from None
    return path
