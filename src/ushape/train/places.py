"""Where ROIs lie on this machine, if not where the run's plan says."""

from __future__ import annotations

import json
import os
from pathlib import Path

DATA_AT = "USHAPE_DATA_AT"
"""Environment variable: folders of ROIs as runs name them, and where they lie on this machine, as a JSON object."""


def at_hand(folder: str) -> Path:
    """The folder of ROIs that a run names, or where it was brought to."""
    return Path(json.loads(os.environ.get(DATA_AT, "{}")).get(folder, folder))
