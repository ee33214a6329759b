"""A small study: six ROIs of five patients, two arms, two folds, two seeds, trained in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from ushape.data.phantom import write_phantom
from ushape.nets.device import pick_precision
from ushape.study.design import Study, parse_arm, plan_study
from ushape.study.folder import open_study
from ushape.study.results import write_results
from ushape.study.runner import run_study
from ushape.study.tuning import tune_study
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.recipe import Recipe
from ushape.train.run import read_run
from ushape.train.search import find_rate

BASELINE, OTHER = "unet[width=4,levels=3]", "unet[width=4,levels=3]+residual"
PRECISION = pick_precision("auto", torch.device("cpu"))
"""As commands settle it before a study begins."""
RECIPE = Recipe(crop=48, batch=4, shards=2, steps=3, validations=2, rate=0.02, tta="none", precision=PRECISION)

MakeStudy = Callable[..., Study]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six ROIs; the last is made a second one of patient 4."""
    folder = tmp_path_factory.mktemp("study") / "phantom"
    write_phantom(folder, patients=6, size=96)
    for path in sorted(folder.rglob("PHAN-P2-0005-DX1*.png")):
        path.rename(path.with_name(path.name.replace("P2-0005-DX1", "P1-0004-DX2")))
    return folder


@pytest.fixture(scope="session")
def make_study(phantom: Path) -> MakeStudy:
    def make(*arms: str, recipe: Recipe = RECIPE, folds: int = 2, seeds: int = 1, data: Path = phantom) -> Study:
        given = [parse_arm(text, recipe) for text in arms or (BASELINE, OTHER)]
        return plan_study(given, recipe, data, None, folds, seeds)

    return make


class InProcess:
    """Stands for `subprocess.Popen`: trains in this process before anybody asks."""

    def __init__(self, command: list[str], **_: object) -> None:
        module, folder = command[2], Path(command[3])
        with Lanes(1) as lanes:
            if module == "ushape.train.search":
                find_rate(folder, lanes, torch.device("cpu"))
            else:
                train(read_run(folder), folder, lanes, torch.device("cpu"))
        self.returncode, self.pid = 0, os.getpid()

    def poll(self) -> int:
        return self.returncode


@contextmanager
def _in_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ushape.study.pool.subprocess.Popen", InProcess)
        yield


@pytest.fixture(scope="session")
def in_process() -> Callable[[], AbstractContextManager[None]]:
    """`with in_process():` jobs of the pool are done in this process."""
    return _in_process


TrainHere = Callable[[Study, Path], None]


@pytest.fixture(scope="session")
def train_here() -> TrainHere:
    """All searches and runs of a study, in this process."""

    def run(study: Study, folder: Path) -> None:
        open_study(folder, study)
        with _in_process():
            run_study(tune_study(study, folder, 1, interval=0.0), folder, jobs=1, interval=0.0)

    return run


@pytest.fixture(scope="session")
def finished(make_study: MakeStudy, train_here: TrainHere, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study with two seeds."""
    folder = tmp_path_factory.mktemp("study") / "finished"
    train_here(make_study(seeds=2), folder)
    write_results(folder)
    return folder


Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Make a line of shell what jobs are: `$3` is the job's folder. Starts are listed in the file returned."""

    def write(line: str) -> Path:
        started, path = tmp_path / "started", tmp_path / "worker.sh"
        path.write_text(f'#!/bin/sh\necho "$3" >> {started}\n{line}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return started

    return write
