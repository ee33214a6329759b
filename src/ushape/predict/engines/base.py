"""What every engine is: tiles in, probabilities or labels out, one computing thread a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ushape.predict.score import likeliest
from ushape.predict.turns import View, turn, turn_back, views

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]

NO_STAIN: Float = np.eye(3, dtype=np.float32)
"""The stain matrix that changes nothing; with it, the change of stain is not even computed."""


class Engine(ABC):
    """A network made ready to compute. All methods may be called by several threads at once, one tile each.

    precision: float32, bf16 or int8.
    description: what computes, for people; with engine `auto`, what was measured.
    stain: matrix in optical density that is applied before the network (see `ushape.data.stain`).
    """

    name: ClassVar[str]

    def __init__(self, precision: str, classes: int, tta: str) -> None:
        self.precision, self.classes = precision, classes
        self.description = f"{self.name}, {precision}"
        self._views = views(tta)

    def probabilities(self, tile: Bytes, stain: Float) -> Float:
        """RGB uint8 [H, W, 3], float32 [3, 3] -> float32 [classes, H, W], summing to 1 over the classes."""
        if len(self._views) == 1:
            return self._probabilities(tile, stain)
        total = np.zeros((self.classes, *tile.shape[:2]), np.float32)
        for view in self._views:
            total += _turned_back(self._probabilities(_turned(tile, view), stain), view, tile)
        total /= len(self._views)
        return total

    def labels(self, tile: Bytes, stain: Float) -> Bytes:
        """RGB uint8 [H, W, 3], float32 [3, 3] -> the likeliest class of each pixel, uint8 [H, W]."""
        if len(self._views) == 1:
            return self._labels(tile, stain)
        return likeliest(self.probabilities(tile, stain))

    @abstractmethod
    def _probabilities(self, tile: Bytes, stain: Float) -> Float:
        """`probabilities` of one view."""

    @abstractmethod
    def _labels(self, tile: Bytes, stain: Float) -> Bytes:
        """`labels` of one view, without softmax."""


def changes(stain: Float) -> bool:
    """Whether a stain matrix changes anything."""
    return not np.array_equal(stain, NO_STAIN)


def _turned(tile: Bytes, view: View) -> Bytes:
    return np.ascontiguousarray(turn(torch.from_numpy(np.ascontiguousarray(tile)), view, 0, 1).numpy())


def _turned_back(probabilities: Float, view: View, tile: Bytes) -> Float:
    made: Float = turn_back(torch.from_numpy(probabilities), view, (tile.shape[0], tile.shape[1]), 1, 2).numpy()
    return made


def padded(tile: Bytes, multiple: int) -> Bytes:
    """The tile with its border repeated at the right and bottom, as networks do it, contiguous: [H, W, 3]."""
    height, width = tile.shape[:2]
    if height % multiple or width % multiple:
        return np.pad(tile, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
    return np.ascontiguousarray(tile)


def cropped(made: NDArray[Any], tile: Bytes) -> NDArray[Any]:
    """[..., H, W] of a padded tile -> those of the tile itself."""
    return made[..., : tile.shape[0], : tile.shape[1]]
