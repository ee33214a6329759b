"""Writing that cannot leave half a file, and reading that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ushape.errors import RunError, UshapeError

# the parts of PyYAML that are written in C, where it was built with them: the plans of a study are many
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_LOADER):  # type: ignore[misc]
    """Refuses a key that stands twice in a mapping, of which YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key for key, _ in node.value]
        for i, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:i]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed when not.

    RunError where the disk is full or the folder cannot be written; what stood at `path` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(cannot_write(path, error)) from error
    finally:
        with suppress(OSError):  # the first error counts
            temporary.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what `replacing` left in and below a folder when its process was killed; nobody else may write there."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> str:
    """One line for an OSError met in writing `path`."""
    remedy = "free some space, then start the same command again" if error.errno == 28 else "check the folder"
    return f"cannot write {path}: {error.strerror or error}; {remedy} (what was written before is kept)"


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_yaml(path: Path, data: Any) -> None:
    write_text(path, yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True))


def read_yaml(path: Path) -> Any:
    """YAML from a file; UshapeError naming the file where there is none or it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UshapeError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # no UTF-8, or 2024-13-45, which looks like a date
        raise UshapeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def read_json(path: Path) -> Any:
    """JSON from a file; UshapeError naming the file where there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UshapeError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UshapeError(f"{path} is not JSON: {error}") from error


def cache_folder() -> Path:
    """Where what can be computed again is kept: $USHAPE_CACHE, else $XDG_CACHE_HOME/ushape, else ~/.cache/ushape."""
    given = os.environ.get("USHAPE_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ushape"


def content_hash(path: Path) -> str:
    """SHA-256 of a file's content; read once for each change of the file. UshapeError where it cannot be read."""
    try:
        stat = path.stat()
        return _content_hash(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UshapeError(f"cannot read {path}: {error.strerror}") from error


@lru_cache(maxsize=4096)
def _content_hash(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
