"""A module as a torch.export program, from which the other engines' graphs are made."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ushape.errors import RunError
from ushape.nets.unet import Network
from ushape.predict.engines.base import Bytes
from ushape.predict.engines.portable import Classes
from ushape.predict.turns import View

Made = TypeVar("Made")

_exporting = threading.Lock()
"""torch.export is not made for several threads."""


def exported(module: nn.Module, *inputs: torch.Tensor, shapes: Any = None, trust: bool = False) -> ExportedProgram:
    """The module's program for inputs of these shapes, or, with `shapes`, of others too (see torch.export).

    trust: where torch.export cannot prove that all shapes pass, the program stands nevertheless, for the caller to try.
    RunError in one line where torch.export cannot follow the module.
    """
    with _exporting, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        try:
            return torch.export.export(
                module, inputs, dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=trust
            )
        except Exception as error:  # whatever it stumbles over, it raises as it comes
            raise RunError(f"torch.export cannot follow it ({first_line(error)})") from error


class Programs:
    """Programs of `Classes` for tiles [1, H, W, 3] whose sides the network's `multiple` divides.

    One program serves all tiles of at least two multiples a side, where the network lets itself be exported so;
    else each size has its own.
    """

    def __init__(self, net: Network) -> None:
        self.module = Classes(net).eval()
        self._unit = net.multiple
        self._general: ExportedProgram | None = None
        self._tried = False

    def general(self) -> ExportedProgram | None:
        """The program for tiles of many sizes; None where the network has none."""
        if not self._tried:
            self._tried = True
            sides = {i: self._unit * Dim(name, min=2, max=4096) for i, name in ((1, "rows"), (2, "columns"))}
            image = torch.zeros(1, 8 * self._unit, 6 * self._unit, 3, dtype=torch.uint8)
            try:
                self._general = exported(self.module, image, shapes=(sides,))
            except RunError:
                self._general = None
        return self._general

    def serves(self, height: int, width: int) -> bool:
        """Whether the general program, if there is one, takes tiles of this size."""
        return min(height, width) >= 2 * self._unit

    def only(self, height: int, width: int) -> ExportedProgram:
        """The program for tiles of one size."""
        return exported(self.module, torch.zeros(1, height, width, 3, dtype=torch.uint8))


class Kept(Generic[Made]):
    """What `make` gives for a tile's use and size, made once whatever threads ask; the last ones asked for stay.

    They are as many as one tile's views ask for, and some more for tiles of other sizes.
    """

    def __init__(self, make: Callable[[str, int, int], Made], views: Sequence[View]) -> None:
        self._make = make
        self.most = 2 * len({(view.turns % 2, view.zoom) for view in views}) + 6  # of a size: stain, and network
        self._there: OrderedDict[tuple[str, int, int], Made] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, what: str, image: Bytes) -> Made:
        """For images [1, H, W, 3] of this size."""
        key = what, image.shape[1], image.shape[2]
        with self._lock:
            if key not in self._there:
                self._there[key] = self._make(*key)
            self._there.move_to_end(key)
            while len(self._there) > self.most:
                self._there.popitem(last=False)
            return self._there[key]


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line of bounded length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
