from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Stack, read_stack

MakeStack = Callable[..., Stack]

SMALL = Settings(width=2, tile=284, steps=4, rotations=2)
"""A network and tiles that train in moments."""


@pytest.fixture(scope="session")
def small() -> Settings:
    return SMALL


@pytest.fixture(scope="session")
def write_stack() -> Callable[[Path], Path]:
    """write_stack(folder): eight slices of 48 x 56 px, cells in rows and columns that shift from slice to slice."""

    def write(folder: Path, slices: int = 8) -> Path:
        rng = np.random.default_rng(0)
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True)
        for i in range(slices):
            y, x = np.mgrid[i : i + 48, 2 * i : 2 * i + 56]
            interior = (y % 12 > 2) & (x % 15 > 2)
            grey = np.where(interior, 170, 60) + rng.normal(0, 20, interior.shape)
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{i:02}.png")
            Image.fromarray((interior * 255).astype(np.uint8)).save(folder / "labels" / f"{i:02}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def stack(write_stack: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return read_stack(write_stack(tmp_path_factory.mktemp("em") / "stack"))
