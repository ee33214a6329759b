"""One self-contained HTML page from a study's results: `render`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ushape.report import methods, numbers, panels, sheets, verdicts, words
from ushape.report.figures import fold_colour
from ushape.report.gallery import gallery
from ushape.report.results import Results
from ushape.report.table import table


def render(study: Path, results: Results) -> str:
    """The page as text; `study` is the folder that holds the pictures."""
    environment = Environment(
        loader=PackageLoader("ushape.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"spec": spec, "percent": numbers.percent, "count": numbers.count, "setting": setting}
    environment.filters.update(filters, points=numbers.points, p=numbers.p_told)
    style = environment.loader.get_source(environment, "style.css")[0]  # type: ignore[union-attr]
    rows, rest = gallery(study, results)
    return environment.get_template("report.html.j2").render(
        results=results,
        style=Markup(style),
        number=Numbers(),
        title=words.question(results),
        headlines=verdicts.headlines(results) or [verdicts.Headline("unresolved", verdicts.alone(results))],
        otherwise=verdicts.otherwise(results),
        legend=verdicts.legend(results),
        caution=verdicts.caution(results),
        table=table(results),
        absences=words.absences(results),
        more_scores=[s for s in _score_sheets(results) if s.rows],
        effects=panels.effects(results),
        crossings=panels.crossings(results),
        design=words.design(results),
        effect_sheet=sheets.effects(results),
        forests=panels.differences(results),
        ranks=panels.ranks(results),
        chances=verdicts.chances(results),
        spread=verdicts.spread(results),
        comparison_sheets=[s for s in (sheets.differences(results), sheets.tests(results)) if s.rows],
        fairness=sheets.fairness(results),
        searches=sheets.searches(results),
        confusions=[(arm.name, _shares(arm.confusion)) for arm in results.arms],
        reliabilities=panels.reliabilities(results),
        curves=panels.curves(results),
        fold_colours={c.fold: fold_colour(c.fold) for c in sorted(results.curves, key=lambda c: c.fold)},
        rows=rows,
        rest=sheets.regions(results, rest),
        methods=methods.methods(results),
        references=methods.references(results),
        limits=words.limits(results),
    )


class Numbers:
    """Counts figures and tables in the order in which the page asks for them."""

    def __init__(self) -> None:
        self._figures = self._tables = 0

    def figure(self) -> str:
        self._figures += 1
        return f"Figure {self._figures}."

    def table(self) -> str:
        self._tables += 1
        return f"Table {self._tables}."


def spec(name: str, narrow: bool = False) -> Markup:
    """A spec, with places where a line may break: before each `+`; where it is narrow before `[` too."""
    return Markup("<wbr>").join(re.split(r"(?=[+\[])" if narrow else r"(?=\+)", name))


def setting(value: Any) -> str:
    """A value of a recipe as text: `0.001`, `flip, stain`, `dice: 0.5, cross_entropy: 0.5`."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(inner)}" for key, inner in value.items()) or numbers.NONE
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or numbers.NONE
    return value if isinstance(value, str) else json.dumps(value)


def _score_sheets(results: Results) -> list[sheets.Sheet]:
    classes = [sheets.by_class(results, kind) for kind in ("dice", "iou")]
    return [sheets.overall(results), *classes, sheets.boundaries(results)]


def _shares(confusion: list[list[int]]) -> list[list[float | None]]:
    """Each row of counts divided by its sum; a row without pixels has no shares."""
    return [[n / sum(row) if sum(row) else None for n in row] for row in confusion]
