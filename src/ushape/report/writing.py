"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ushape.errors import RunError


def replace(path: Path, text: str) -> Path:
    """Write `text` to `path` in UTF-8; RunError, with the old file kept, where the disk is full or closed to us."""
    content = text.encode("utf-8", "replace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = f"{len(content) / 1e6:.1f} MB"
            raise RunError(f"the disk is full: {path} needs {need}; the old report, if any, is kept") from None
        raise RunError(f"{path} cannot be written ({error.strerror}); the old report, if any, is kept") from None
    return path
