"""A study's report in one of four formats."""

from __future__ import annotations

from pathlib import Path

from ushape.errors import RunError
from ushape.files import replacing
from ushape.report.reading import read
from ushape.report.results import FILE

FORMATS = ("html", "latex", "csv", "markdown")


def write_report(study: Path, form: str = "html") -> Path:
    """Read `study/results.json` and write a report beside it; returns its file, or folder for `csv`.

    html: report.html, one file with pictures. latex: report.tex, and report-body.tex to include in a paper. csv:
    tables/*.csv. markdown: report.md. The same results give the same bytes; what is there is replaced. RunError where
    the results are missing or wrong, a picture is, or nothing can be written.
    """
    study = Path(study)
    if form not in FORMATS:
        raise RunError(f"unknown format {form!r} (known: {', '.join(FORMATS)})")
    results = read(study / FILE)
    if form == "html":
        from ushape.report.html import render

        return replace(study / "report.html", render(study, results))
    if form == "latex":
        from ushape.report import latex

        replace(study / latex.BODY, latex.body(results))
        return replace(study / "report.tex", latex.document())
    if form == "csv":
        from ushape.report import tidy

        for name, text in tidy.tables(results).items():
            replace(study / "tables" / name, text)
        return study / "tables"
    from ushape.report import markdown

    return replace(study / "report.md", markdown.page(results))


def replace(path: Path, text: str) -> Path:
    """Write `text` to `path` in UTF-8; RunError, with the old file kept, where the disk is full or closed to us."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path
