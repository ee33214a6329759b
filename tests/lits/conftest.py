"""What tests of the cascade share: small NIfTI files, a small phantom, a run trained on it for a few steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from ushape.lits.phantom.write import write_phantom
from ushape.lits.prepare import prepare
from ushape.lits.recipe import Recipe
from ushape.lits.train import train_cascade
from ushape.threads import Lanes

WriteNifti = Callable[..., Path]


@pytest.fixture(scope="session")
def write_nifti() -> WriteNifti:
    """write_nifti(path, voxels in the file's order, affine or voxel sides) writes a NIfTI file and gives its path."""

    def write(path: Path, voxels: np.ndarray, affine: Any = (1.0, 1.0, 2.0), **header: Any) -> Path:
        affine = np.asarray(affine, float)
        image = nibabel.Nifti1Image(voxels, affine if affine.ndim == 2 else np.diag([*affine, 1.0]))
        image.header.set_xyzt_units("mm")
        for key, value in header.items():
            image.header[key] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)
        return path

    return write


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A recipe of a few steps of a small network."""
    spec = "unet[width=4,levels=3,activation=prelu]+residual"
    return replace(Recipe(), spec=spec, crop=32, batch=4, liver_steps=6, lesion_steps=6)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small volumes in the layout of LiTS."""
    folder = tmp_path_factory.mktemp("lits") / "data"
    write_phantom(folder, 3, seed=5, size=48, pixel=3.6)
    return folder


@pytest.fixture(scope="session")
def prepared(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lits") / "prepared"
    prepare(phantom, folder)
    return folder


@pytest.fixture(scope="session")
def run(prepared: Path, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade after a few steps: a network with all its parts, that knows little."""
    folder = tmp_path_factory.mktemp("lits") / "run"
    with Lanes(1) as lanes:
        train_cascade(prepared, folder, tiny, 0, lanes, torch.device("cpu"))
    return folder
