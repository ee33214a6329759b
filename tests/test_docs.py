"""The examples in the documentation are executed."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import ushape
from ushape.cli import make_parser
from ushape.nets.plugin import load_plugin
from ushape.nets.registry import forget

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_examples_print_what_they_say(page: Path) -> None:
    text = page.read_text()
    pairs = re.findall(r"^```python\n((?:(?!^```).)*)^```\n+```output\n(.*?)^```$", text, re.M | re.S)
    files = [code for code in _blocks(page, "python") if code.startswith("# my_")]
    assert len(pairs) + len(files) == len(_blocks(page, "python")), "a Python example is a file or shows its output"
    for code, expected in pairs:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(page), "exec"), {})
        assert out.getvalue() == expected


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_are_accepted_by_the_parser(page: Path) -> None:
    for block in _blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["ushape"]:
                room, _, function = make_parser().parse_args(words[1:]).function.partition(":")
                assert callable(getattr(import_module(f"ushape.commands.{room}"), function))


def test_the_modification_of_the_readme_is_one(tmp_path: Path) -> None:
    """Its file, as it stands there, builds the networks of the commands below it."""
    (text,) = [code for code in _blocks(ROOT / "README.md", "python") if code.startswith("# my_block.py")]
    (tmp_path / "my_block.py").write_text(text)
    made = load_plugin(tmp_path / "my_block.py")
    try:
        commands = "".join(_blocks(ROOT / "README.md", "sh"))
        specs = re.findall(r"'(unet\S*wide-second)'", commands)
        assert len(specs) == 2
        for spec in specs:
            assert ushape.build(spec, seed=0).spec.block.name == "wide-second"
    finally:
        forget(made)


def test_every_spec_of_the_readme_parses_to_itself() -> None:
    (block,) = [b for b in _blocks(ROOT / "README.md", "") if b.startswith("unet")]
    specs = [line.split()[0] for line in block.splitlines()]
    assert len(specs) >= 5
    for text in specs:
        assert ushape.parse(ushape.parse(text).name) == ushape.parse(text)


def test_links_inside_the_repository_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{_name(page)} links to {target}"


def test_make_help_names_the_targets_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "setup", "bench"):
        assert re.search(rf"^{target}:.*## \w", makefile, re.M)
