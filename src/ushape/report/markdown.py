"""Verdicts and main tables as Markdown, as for a README."""

from __future__ import annotations

import re

from ushape.report import sheets, verdicts, words
from ushape.report.results import Results
from ushape.report.sheets import Sheet
from ushape.report.verdicts import Said


def page(results: Results) -> str:
    """The text of report.md: question, verdicts, main tables, limits, command."""
    told = [f"- {_said(h.said)}" for h in verdicts.headlines(results)] or [_said(verdicts.alone(results))]
    data = results.data
    facts = f"{data.rois} ROIs of {data.patients} patients in {data.folder}; grouping {results.grouping.id}; "
    facts += f"{results.split}; seeds {', '.join(map(str, results.seeds))}."
    shown = [sheets.overall(results), sheets.differences(results), sheets.effects(results), sheets.fairness(results)]
    notes = [verdicts.caution(results), verdicts.legend(results), facts]
    limits = "\n".join(f"- {escape(text)}" for text in words.limits(results))
    parts = [f"# {escape(words.question(results))}", "\n".join(told), _said(verdicts.otherwise(results))]
    parts += [*map(escape, notes), *(_table(s) for s in shown if s.rows), "## Limits", limits]
    parts += ["## To reproduce", _code(results.command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and the HTML within it show as it is."""
    text = " ".join(text.split())
    text = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _said(said: Said) -> str:
    return "".join(f"**{escape(piece)}**" if i % 2 and piece else _kept(piece) for i, piece in enumerate(said))


def _kept(text: str) -> str:
    """`escape` that keeps the spaces at both ends."""
    return " " * text.startswith(" ") + escape(text) + " " * (text.endswith(" ") and bool(text.strip()))


def _table(sheet: Sheet) -> str:
    rule = ["---"] * sheet.names + ["---:"] * (len(sheet.heads) - sheet.names)
    lines = [sheet.heads, rule, *sheet.rows]
    body = "\n".join("| " + " | ".join(cell if row is rule else escape(cell) for cell in row) + " |" for row in lines)
    return f"## {escape(sheet.title)}\n\n{body}\n\n{escape(sheet.note)}"


def _code(text: str) -> str:
    """A block that no run of backticks within the text can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"
