"""Modifications of your own, from a file of your own. Imports no torch unless the file does.

    # mine.py
    import ushape
    from torch import nn

    @ushape.modification(axis="attention", name="halve", summary="features are halved", source="this file")
    class Halve(nn.Module):
        def __init__(self, channels, style):
            super().__init__()

        def forward(self, x):
            return x / 2

After `load_plugin("mine.py")`, or with `--plugin mine.py`, the name `unet+halve` can be parsed and built like any
other. The file is run: load only files that you would run yourself. Nothing here loads a file that a run or a
study names; it must be given again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from ushape.errors import SpecError
from ushape.nets.registry import AXES, Modification, forget, lookup, modifications

if TYPE_CHECKING:
    from ushape.nets.spec import Spec

_loaded: dict[Path, list[Modification]] = {}
_texts: dict[str, Path] = {}
"""Hash of each loaded file's text, as it was then -> the file."""


def load_plugin(path: str | Path) -> list[Modification]:
    """Import a file once and return the modifications that it registered; again, or a copy of it: the same.

    SpecError naming the file where it is missing, fails, or registers nothing; then nothing of it stays.
    """
    file = Path(path).resolve()
    if file in _loaded:
        return _loaded[file]
    if not file.is_file() or file.suffix != ".py":
        raise SpecError(f"plugin {path}: {'not a .py file' if file.exists() else 'no such file'}")
    text, before = text_hash(file), modifications()
    there = _loaded.get(_texts.get(text, file), [])
    if there and all(m in before for m in there):
        return there
    name = f"ushape_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        made = [m for m in modifications() if m not in before]
        if not made:
            raise SpecError("it registers nothing: put @ushape.modification(axis=..., ...) on a class")
    except Exception as error:
        forget(m for m in modifications() if m not in before)
        del sys.modules[name]
        what = str(error) if isinstance(error, SpecError) else f"{type(error).__name__}: {error}"
        raise SpecError(f"plugin {path}{_line(error, file)}: {what}") from error
    _loaded[file], _texts[text] = made, file
    return made


def files(specs: Iterable[Spec]) -> list[Path]:
    """The loaded files that define modifications of these specs: what another process must load to build them."""
    chosen = [lookup(axis, name) for axis, name in {(a, spec.choice(a).name) for spec in specs for a in AXES}]
    return [file for file, made in _loaded.items() if any(m in chosen for m in made)]


def hashes(specs: Iterable[Spec]) -> dict[str, str]:
    """Name of each of `files` -> hash of its text when it was loaded; SpecError where two have one name."""
    needed = files(specs)
    for file in needed:
        if sum(each.name == file.name for each in needed) > 1:
            raise SpecError(f"{file}: another plugin that is needed has the same file name: rename one of them")
    return {file.name: loaded_hash(file) for file in needed}


def loaded() -> list[Path]:
    """The files that were loaded."""
    return list(_loaded)


def loaded_hash(file: Path) -> str:
    """The hash of a loaded file's text as it was when it was loaded: what has been done since it is not in memory."""
    return next(text for text, each in _texts.items() if each == file)


def blame(error: BaseException, files: Sequence[Path]) -> str:
    """One line on an error while these plugins are loaded: the file, its line where it came through one, what it was.

    An error without a line is theirs most likely: a part that takes other arguments than its axis gives, or gives back
    another shape.
    """
    file = next((each for each in files if _line(error, each)), files[0])
    said = " ".join(str(error).split())[:300]
    return f"plugin {file}{_line(error, file)}: {type(error).__name__}: {said}"


def text_hash(file: Path) -> str:
    """What tells one text of a plugin from another."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _line(error: BaseException, file: Path) -> str:
    """`, line 12` where the error came through the file."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""
