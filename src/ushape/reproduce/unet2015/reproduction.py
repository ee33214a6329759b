"""The reproduction as a whole: trainings of the paper's setting and without its ingredients, each then scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ushape.files import read_json, replacing, write_json
from ushape.locks import holding
from ushape.nets.device import pick_precision
from ushape.nets.unet import Network
from ushape.nets.weights import read_about
from ushape.reproduce.unet2015.loop import fit
from ushape.reproduce.unet2015.results import summary
from ushape.reproduce.unet2015.rotations import Seer
from ushape.reproduce.unet2015.scores import THRESHOLDS, Curve, curve
from ushape.reproduce.unet2015.settings import Settings
from ushape.reproduce.unet2015.stack import Parts, Stack, parts
from ushape.train.run import claim
from ushape.versions import versions

PAPER = "paper"
UNTRAINED = "without-rotations"
TRAININGS: dict[str, dict[str, Any]] = {
    PAPER: {},
    "without-weight-map": {"weighted": False},
    "without-deformation": {"deviation": 0.0},
}
"""Trainings of an ablation, by name: what differs from the settings. Without rotations nothing is trained anew."""

Float = NDArray[np.float32]
Watch = Callable[[str, int, int], None]
"""Called with what is at work, what of it is done, and of how much."""


@dataclass(frozen=True)
class Question:
    """What is asked for: the settings, how many seeds (from 0), and whether ingredients are left out in turn.

    validate: slices held out of the training slices are scored, not the test slices (see `stack.parts`).
    """

    data: Path
    settings: Settings
    seeds: int = 1
    ablate: bool = False
    validate: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What identifies the folder of results. More seeds, or an ablation, may be asked for later."""
        settings = self.settings.to_dict()
        settings.pop("seed")
        return {
            "versions": versions("reproduce"),
            "reproduction": "unet2015",
            "data": str(self.data.resolve()),
            "settings": settings,
            "validate": self.validate,
        }


def reproduce(
    question: Question, stack: Stack, folder: Path, device: torch.device, watch: Watch = lambda what, done, of: None
) -> dict[str, Any]:
    """Train and score what is not there yet in `folder`; write results.json, and give what it holds.

    RunError where the folder holds another reproduction, or another process is at work in it.
    """
    file = folder / "reproduction.yaml"
    told = {"slices": stack.fingerprint, "precision": pick_precision("auto", device)}
    claim(folder, file, question.to_dict() | told, "reproduction")
    with holding(file):
        return _reproduced(question, stack, folder, device, watch)


def _reproduced(question: Question, stack: Stack, folder: Path, device: torch.device, watch: Watch) -> dict[str, Any]:
    chosen = parts(len(stack), question.validate)
    curves: dict[str, list[dict[str, Curve]]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(question.seeds):
        for name, changes in TRAININGS.items():
            if name != PAPER and not question.ablate:
                continue
            settings = replace(question.settings, seed=seed, **changes)
            run = folder / f"{name}-seed{seed}"

            def step(done: int, loss: float, name: str = name, seed: int = seed) -> None:
                watch(f"{name}, seed {seed}", done, question.settings.steps)

            net = fit(stack, chosen.train, settings, run, device, step)
            found = _scored(stack, chosen, settings, run, net, device, watch, name == PAPER)
            curves.setdefault(name, []).append(found["rotated"])
            if name == PAPER and question.ablate:
                curves.setdefault(UNTRAINED, []).append(found["unrotated"])
            seconds.setdefault(name, []).append(read_about(run)["seconds"])
    made = summary(question.to_dict(), [[stack.names[i] for i in part] for part in (chosen.train, chosen.test)], curves)
    for name, values in seconds.items():
        made["arms"][name]["training_seconds"] = values
    write_json(folder / "results.json", made)
    return made


def _scored(
    stack: Stack,
    chosen: Parts,
    settings: Settings,
    run: Path,
    net: Network,
    device: torch.device,
    watch: Watch,
    both: bool,
) -> dict[str, dict[str, Curve]]:
    """Curves of the training and the test slices, with rotations and, for `both`, without; kept in scores.json.

    Probabilities of interior of the test slices are written as predictions/NN.png, 0 to 255.
    """
    file = run / "scores.json"
    if not file.exists():
        seer, numbers = Seer(net, device, settings.tile), (*chosen.train, *chosen.test)
        turned: list[Float] = []
        for done, i in enumerate(numbers):
            watch(f"{run.name}: slices through the network", done, len(numbers))
            each = seer.rotated(stack.light[i], settings.rotations)
            turned.append(np.stack([each.mean(0), each[0]]))  # [2, H, W]: all rotations, none
            if i in chosen.test:
                _write_map(run / "predictions" / f"{stack.names[i]}.png", turned[-1][0])
        truth = [stack.interior[i] for i in numbers]
        cut, plain = len(chosen.train), {}
        for which, name in enumerate(("rotated", "unrotated") if both else ("rotated",)):
            maps = [each[which] for each in turned]
            halves = {"train": curve(truth[:cut], maps[:cut]), "test": curve(truth[cut:], maps[cut:])}
            plain[name] = {k: {m: v.tolist() for m, v in c.values.items()} for k, c in halves.items()}
        write_json(file, {"thresholds": THRESHOLDS, **plain})
    kept = read_json(file)
    return {
        name: {part: Curve({m: np.array(v) for m, v in kept[name][part].items()}) for part in ("train", "test")}
        for name in ("rotated", "unrotated")
        if name in kept
    }


def _write_map(path: Path, probability: Float) -> None:
    with replacing(path) as temporary:
        Image.fromarray(np.rint(probability * 255).astype(np.uint8)).save(temporary, "PNG")
