"""What stands in the package, and how little importing it costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import ushape

PACKAGE = Path(ushape.__file__).parent
REPORT = sorted(f"ushape.report.{p.stem}" for p in (PACKAGE / "report").glob("*.py") if p.stem != "__init__")


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded after some code in a fresh interpreter."""
    line = f"import sys\n{code}\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    made = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return set(made.stdout.splitlines())


def test_importing_the_package_imports_nothing_heavy():
    loaded = modules_after("import ushape")
    assert "ushape" in loaded
    assert not {"torch", "numpy", "scipy", "PIL", "matplotlib", "yaml", "rich"} & loaded


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]):
    code = f"import contextlib, io\nfrom ushape.cli import main\nwith contextlib.suppress(SystemExit), \
contextlib.redirect_stdout(io.StringIO()): main({words})"
    assert not {"torch", "numpy", "scipy", "PIL", "matplotlib"} & modules_after(code)


def test_listing_modifications_a_second_time_needs_no_torch():
    code = "import contextlib, io\nfrom ushape.cli import main\nwith contextlib.suppress(SystemExit), \
contextlib.redirect_stdout(io.StringIO()): main(['mods'])"
    modules_after(code)  # counts the costs, with torch, unless another test has; they are kept
    assert "torch" not in modules_after(code)


def test_no_module_of_the_report_imports_torch():
    assert "ushape.report.html" in REPORT
    loaded = modules_after("\n".join(f"import {name}" for name in REPORT))
    assert "jinja2" in loaded
    assert "torch" not in loaded


def test_networks_import_nothing_of_the_floors_above():
    code = "import ushape.nets.unet, ushape.nets.weights\nfloors = ('train', 'predict', 'study', 'report', 'data')\n\
assert not [m for m in sys.modules if m.startswith('ushape.') and m.split('.')[1] in floors]"
    assert "torch" in modules_after(code)


def test_the_names_of_the_package_are_there_on_first_use():
    net = ushape.build("unet[width=4,levels=2]+residual", in_channels=1, classes=2)
    assert ushape.parse("unet[width=4,levels=2]+residual") == net.spec
    assert isinstance(net.spec, ushape.Spec)
    with pytest.raises(ushape.UshapeError):
        ushape.parse("unett")
    assert set(ushape.__all__) <= {*dir(ushape), *ushape._LAZY}


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'bulid'"):
        ushape.bulid  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    assert importlib.metadata.version("ushape") == ushape.__version__


def test_every_file_of_the_package_is_shipped():
    pyproject = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["setuptools"]["package-data"]["ushape"]
    files = [p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*") if p.is_file()]
    others = [f for f in files if not f.endswith((".py", ".pyc"))]
    assert "py.typed" in others
    assert [f for f in others if not any(fnmatch(f, pattern) for pattern in patterns)] == []


def test_every_folder_of_modules_is_a_package():
    folders = {p.parent for p in PACKAGE.rglob("*.py")}
    assert [f for f in folders if not (f / "__init__.py").exists()] == []


def test_the_package_runs_as_a_module():
    made = subprocess.run([sys.executable, "-m", "ushape", "--version"], capture_output=True, text=True, check=True)
    assert made.stdout == f"ushape {ushape.__version__}\n"
