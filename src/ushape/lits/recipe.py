"""How the cascade is trained: the paper's setting, and the same at a size that one core can train."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ushape.errors import RecipeError
from ushape.nets.spec import parse
from ushape.train.recipe import check_bounds, check_shards, check_values, read_settings

Stage = Literal["liver", "lesion"]
STAGES: tuple[Stage, Stage] = ("liver", "lesion")
"""The two networks: the liver on coarse voxels; liver and lesions on the volume's own."""

CLASS_WEIGHTS: dict[Stage, tuple[float, ...]] = {"liver": (0.2, 1.2), "lesion": (0.2, 1.2, 2.2)}
"""Of background, liver, lesion in the cross-entropy (the paper's); the liver network has no class for lesions."""
SPACING = (2.5, 1.0, 1.0)
"""mm (z, y, x) of the coarse voxels (the paper's)."""
BESIDE = 2
"""Slices that are prepared beyond the first and last that show liver: so many neighbours a slice can have."""
EPOCHS = 50
"""The rate falls this often (the paper trains 50 epochs)."""


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with momentum, whose rate falls by `decay` after each of 50 equal parts of the steps.

    spec: of the networks. slices: adjacent slices in, odd. crop: px. batch: crops a step, computed in `shards` equal
    parts. balanced: share of crops around a voxel of a class drawn first, each class as often; the others lie anywhere.
    Defaults are those of one core; `FULL` is the paper's, as far as it says.
    """

    spec: str = "han-2017[width=8]"
    slices: int = 5
    crop: int = 96
    batch: int = 8
    shards: int = 2
    liver_steps: int = 2000
    lesion_steps: int = 6500
    rate: float = 0.05
    decay: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    balanced: float = 0.5
    precision: Literal["auto", "float32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        parse(self.spec)  # SpecError
        bounds: dict[str, tuple[float, float]] = {
            "slices": (1, 2 * BESIDE + 1), "crop": (16, 1024), "batch": (1, 1024), "shards": (1, 64),
            "liver_steps": (1, 10**7), "lesion_steps": (1, 10**7), "rate": (1e-7, 10), "decay": (0.01, 1),
            "momentum": (0, 0.9999), "weight_decay": (0, 1), "balanced": (0, 1),
        }  # fmt: skip
        check_bounds(self, bounds)
        if self.slices % 2 == 0:
            raise RecipeError(f"recipe: slices={self.slices} has no slice in the middle: give an odd number")
        check_shards(self.batch, self.shards)

    def steps(self, stage: Stage) -> int:
        return self.liver_steps if stage == "liver" else self.lesion_steps

    def rate_at(self, step: int, stage: Stage) -> float:
        """The learning rate of a step, counted from 0."""
        return self.rate * self.decay ** (step * EPOCHS // self.steps(stage))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


FULL = replace(
    Recipe(),
    spec="han-2017",
    crop=320,
    batch=4,
    shards=4,
    liver_steps=200_000,
    lesion_steps=200_000,
    rate=1e-3,
    balanced=0.0,
)
"""The paper's crops, rate, decay, momentum and weight decay. It states 50 epochs, neither
their steps nor the batch: 4,000 steps of four crops an epoch are our assumption."""


def read_recipe(full: bool, slices: int | None, settings: list[str]) -> Recipe:
    """The recipe that --full, --slices and --set ask for; RecipeError on unknown keys and values out of range."""
    given = read_settings(settings)
    if slices is not None:
        if "slices" in given:
            raise RecipeError("--slices and --set slices= both set the slices: keep one of them")
        given["slices"] = slices
    return replace(FULL if full else Recipe(), **check_values(Recipe, given, "--set"))
