"""What a run's files are called, and where its ROIs lie on this machine, if not where its plan says. No torch."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ushape.errors import UshapeError
from ushape.files import write_text

LOG = "log.csv"
"""A row a step."""

VALIDATION = "validation.csv"
"""A row for each look at the validation patients."""

STATE = "state.safetensors"
"""What the next step depends on; gone when the run has ended."""

SCORED = "scored.json"
"""What is to be rois.json, while there are test ROIs left."""

TAKEN = "taken-from.txt"
"""In a study: the run whose weights and logs these are, where two train alike."""

FAILURE = "error.txt"
"""What a run that failed leaves in its folder: why, in a line. Gone when it is started again."""

DATA_AT = "USHAPE_DATA_AT"
"""Environment variable: folders of ROIs as runs name them, and where they lie on this machine, as a JSON object."""


def leave(folder: Path, why: str) -> None:
    """Say in a run's folder why it failed, if that can be written: its disk may be full."""
    with suppress(OSError, UshapeError):
        if (folder / "run.yaml").exists():
            write_text(folder / FAILURE, why + "\n")


def at_hand(folder: str) -> Path:
    """The folder of ROIs that a run names, or where it was brought to."""
    return Path(json.loads(os.environ.get(DATA_AT, "{}")).get(folder, folder))
