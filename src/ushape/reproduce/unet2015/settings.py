"""What one training of the reproduction is: a frozen set of numbers, the paper's where it states them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ushape.errors import LARGEST_SEED
from ushape.nets.spec import Spec, parse
from ushape.nets.valid import check_valid
from ushape.train.recipe import check_bounds

FULL_WIDTH = 64


@dataclass(frozen=True)
class Settings:
    """The CPU-sized setting; `width=64` is the paper's size. "Paper" marks what it states, the rest is assumed.

    width: channels of the first level (paper: 64); tile: side in px of the one tile of a batch (paper, figure 1);
    momentum (paper); dropout: its rate at the end of the contracting path (paper: dropout there, without a rate);
    deviation: of the coarse displacements in px (paper), 0 for none; w0, sigma: of the border weights (paper);
    weighted: whether the loss has the weight map, class balance included.

    steps and rate: the paper states neither; chosen on slices held out of the training slices. The rate rises over
    `warmup` steps, is constant, and falls linearly to 0 over the last third, for the paper says nothing of a schedule.
    gain, shift: largest change of contrast and of brightness (in deviations of the slice) of a tile, for the paper
    names robustness to changes of grey values without a size. rotations: of the slices averaged at test (paper: 7).
    """

    width: int = 16
    tile: int = 572
    steps: int = 7000
    rate: float = 1e-3
    warmup: int = 1000
    momentum: float = 0.99
    dropout: float = 0.5
    deviation: float = 10.0
    w0: float = 10.0
    sigma: float = 5.0
    weighted: bool = True
    gain: float = 0.2
    shift: float = 0.2
    rotations: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "width": (1, 1024), "steps": (1, 10**7), "rate": (1e-9, 10), "warmup": (0, 10**6), "momentum": (0, 0.9999),
            "dropout": (0, 0.95), "deviation": (0, 100), "w0": (0, 1000), "sigma": (0.1, 100), "gain": (0, 0.9),
            "shift": (0, 10), "rotations": (1, 360), "seed": (0, LARGEST_SEED),
        }  # fmt: skip
        check_bounds(self, bounds, where="")
        check_valid(self.tile, self.tile, self.spec.levels, self.spec.depth)

    @property
    def spec(self) -> Spec:
        """The network: of width 64, with one channel in and two classes, it has 31,030,658 parameters."""
        return parse(f"unet[width={self.width},norm=none,padding=valid,dropout={self.dropout}]")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
