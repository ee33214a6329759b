"""Several networks as one: the mean of their class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ushape.errors import RunError
from ushape.nets.weights import Weights, check_of_tissue, load_weights, weights_file

Float = NDArray[np.float32]


class Member(Protocol):
    """What gives class probabilities: a `Predictor`, or an ensemble of them."""

    def probabilities(self, image: NDArray[np.uint8]) -> Float: ...


class Ensemble:
    """Each network sees the image as it would alone, tiles and turns included; all count alike."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)

    def probabilities(self, image: NDArray[np.uint8]) -> Float:
        """RGB uint8 [H, W, 3] of any size -> float32 [classes, H, W], summing to 1 over the classes."""
        first, *others = self.members
        total = first.probabilities(image)
        for member in others:
            total += member.probabilities(image)
        total /= np.float32(len(self.members))
        return total


ALIKE = ("grouping", "mpp", "normalise")
"""What networks of an ensemble must have in common: the same classes from the same pixels."""


def load_ensemble(paths: Sequence[Path]) -> list[Weights]:
    """The networks of these runs or weights; RunError where one is named twice, or where they do not go together."""
    files = [weights_file(path).resolve() for path in paths]
    for file, path in zip(files, paths, strict=True):
        if files.count(file) > 1:
            raise RunError(f"{path}: is named twice and would count twice: name each network once")
    networks = [load_weights(path) for path in paths]
    for path, network in zip(paths, networks, strict=True):
        check_of_tissue(path, network.about)
    first = networks[0].about
    for path, network in zip(paths, networks, strict=True):
        for key in ALIKE:
            if network.about[key] != first[key]:
                one, other = (_told(about[key]) for about in (first, network.about))
                raise RunError(
                    f"{path}: its {key} is {other}, that of {paths[0]} {one}: the probabilities of such networks have "
                    "no mean; evaluate them apart"
                )
    return networks


def common(key: Literal["tta", "guided"], networks: Sequence[Weights]) -> Any:
    """What the networks' recipes say of how they are read; RunError where they differ."""
    found = list(dict.fromkeys(getattr(network, key) for network in networks))
    if len(found) > 1:
        told = ", ".join(map(str, found))
        raise RunError(f"the recipes of these networks have different {key} ({told}): give one with --{key}")
    return found[0]


def _told(value: object) -> object:
    """A grouping by its name and version, anything else as it is."""
    return value["id"] if isinstance(value, dict) else value
