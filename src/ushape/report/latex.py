"""Methods and tables in LaTeX: a body to include in a paper, and a document that holds nothing but the body.

The body needs booktabs, longtable and textcomp, and an engine or encoding that reads UTF-8.
"""

from __future__ import annotations

import re

from ushape.report import verdicts, words
from ushape.report.methods import methods, references
from ushape.report.results import Results
from ushape.report.sheets import Sheet, sheets
from ushape.report.verdicts import Said

BODY = "report-body.tex"

LONGEST = 36
"""Rows of a table that floats; a longer one is a longtable, which breaks over pages."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}",
    "−": r"\ensuremath{-}", "±": r"\ensuremath{\pm}", "×": r"\ensuremath{\times}", "µ": r"\ensuremath{\mu}",
    "≤": r"\ensuremath{\leq}", "–": "--", "“": "``", "”": "''", "’": "'", "…": r"\dots{}", "š": r"\v{s}", "ö": r"\"o",
    "[": "{[}", "]": "{]}", "\u00a0": "~",
}  # fmt: skip
"""What LaTeX would read as a command or cannot set, and what sets it. A bracket after `\\\\` would be its option."""

_RUNS = re.compile(r"-+|.")
"""Hyphens side by side would become a dash."""


def document() -> str:
    """The text of report.tex."""
    packages = (
        "[T1]{fontenc}",
        "[utf8]{inputenc}",
        "{textcomp}",
        "[margin=20mm]{geometry}",
        "{booktabs}",
        "{longtable}",
    )
    used = [rf"\usepackage{package}" for package in (*packages, "{amsmath}")]
    lines = [r"\documentclass[a4paper]{article}", *used, r"\begin{document}", rf"\input{{{BODY}}}", r"\end{document}"]
    return "\n".join(lines) + "\n"


def body(results: Results) -> str:
    """The text of report-body.tex: result, methods, tables, works cited."""
    told = [_said(h.said) for h in verdicts.headlines(results)] or [_said(verdicts.alone(results))]
    told += [_said(verdicts.otherwise(results))]
    after = [verdicts.caution(results), verdicts.legend(results)]
    parts = [
        r"% \input this into a paper that uses booktabs, longtable and textcomp, in UTF-8.",
        r"\section*{Result}", *told, *(escape(text) for text in after if text),
        r"\section*{Methods}", *(escape(text) for text in methods(results)),
        r"\paragraph{Limits.} " + escape(" ".join(words.limits(results))),
        *(_table(sheet) for sheet in sheets(results)),
        r"\section*{References}", _items(references(results)),
        r"\section*{To reproduce}", r"{\raggedright\ttfamily\small " + _command(results.command) + r"\par}",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX sets it; what it means to LaTeX it loses. Control characters become spaces."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return "".join(
        "-{}" * (len(run) - 1) + "-" if run[0] == "-" else _SPECIAL.get(run, run) for run in _RUNS.findall(text)
    )


def _said(said: Said) -> str:
    told = [(i % 2 and bool(piece), escape(piece)) for i, piece in enumerate(said)]
    return "".join(rf"\textbf{{{piece}}}" if name else piece for name, piece in told)


def _items(works: list[str]) -> str:
    if not works:
        return ""
    return "\n".join([r"\begin{itemize}", *(rf"\item {escape(work)}" for work in works), r"\end{itemize}"])


def _command(text: str) -> str:
    """A command line as a shell takes it: its quotes stay straight."""
    return _breaking(r"\textquotesingle{}".join(map(escape, text.split("'"))))


def _breaking(text: str) -> str:
    """Names of networks may break before each plus."""
    return text.replace("+", r"\allowbreak{}+")


def _table(sheet: Sheet) -> str:
    columns = rf"p{{{_width(sheet):.2f}\textwidth}}" * sheet.names + "r" * (len(sheet.heads) - sheet.names)
    head = " & ".join(_cell(text, i < sheet.names, True) for i, text in enumerate(sheet.heads)) + r" \\"
    rows = [" & ".join(_cell(text, i < sheet.names) for i, text in enumerate(row)) + r" \\" for row in sheet.rows]
    caption = rf"\caption{{\textbf{{{escape(sheet.title)}.}} {escape(sheet.note)}}}\label{{tab:ushape-{sheet.key}}}"
    small = r"\footnotesize\setlength{\tabcolsep}{4pt}"
    top = [r"\toprule", head, r"\midrule"]
    if len(rows) > LONGEST:
        start = [rf"{{{small}", rf"\begin{{longtable}}{{{columns}}}", caption + r" \\"]
        repeated = [*top, r"\endfirsthead", *top, r"\endhead"]
        return "\n".join([*start, *repeated, *rows, r"\bottomrule", r"\end{longtable}", "}"])
    start = [r"\begin{table}[htbp]", r"\centering" + small, caption, rf"\begin{{tabular}}{{{columns}}}"]
    return "\n".join([*start, *top, *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _width(sheet: Sheet) -> float:
    """Of a column of names, in text widths of 170 mm: what numbers leave, which do not break (1.5 mm a character)."""
    lines = [sheet.heads, *sheet.rows]
    longest = [
        max(len(word) for i, row in enumerate(lines) for word in (row[c].split() if i == 0 else [row[c]]))
        for c in range(sheet.names, len(sheet.heads))
    ]
    left = 170 - sum(1.5 * n + 2.8 for n in longest) - 2.8 * sheet.names
    return min(0.5, max(0.1, left / 170 / sheet.names))


def _cell(text: str, name: bool, head: bool = False) -> str:
    if head and not name:
        return r"\shortstack[r]{" + r"\\".join(map(escape, text.split())) + "}"
    return rf"\raggedright {_breaking(escape(text))}" if name and text else _breaking(escape(text))
