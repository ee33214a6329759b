"""Six small patients, a tiny network, and what an uninterrupted run of it gives."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.nets.spec import parse
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan, open_run

SPEC = "unet[width=4,levels=3]"
RECIPE = Recipe(crop=48, batch=4, shards=2, steps=30, validations=4, tta="flips")
CPU = torch.device("cpu")

Train = Callable[..., Path]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The command line sets handlers; the tests after it shall not have them."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "phantom"
    write_phantom(folder, patients=6, size=96)
    return folder


@pytest.fixture(scope="session")
def plan(phantom: Path) -> RunPlan:
    """Four patients to train on and one each to validate and test."""
    rois = find_rois(phantom)
    return RunPlan(parse(SPEC), RECIPE, 0, phantom, tuple(rois[:4]), (rois[4],), (rois[5],))


@pytest.fixture(scope="session")
def fit(plan: RunPlan) -> Train:
    """Train the plan, some of it changed, into a folder."""

    def run(folder: Path, lanes: int = 1, spec: str = SPEC, more: dict[str, Any] | None = None, **recipe: Any) -> Path:
        made = replace(plan, spec=parse(spec), recipe=replace(plan.recipe, **recipe))
        open_run(folder, made)
        with Lanes(lanes) as pool:
            train(made, folder, pool, CPU, **(more or {}))
        return folder

    return run


@pytest.fixture(scope="session")
def reference(fit: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the plan's uninterrupted run."""
    return fit(tmp_path_factory.mktemp("train") / "reference")
