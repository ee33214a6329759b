"""`results.json` as frozen values: the fields are the keys of the file (docs/results.md); `reading.read` makes them.

Keys that no report needs are not named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FILE = "results.json"
REMEDY = "run `ushape compare` again: it resumes"

METRICS = ("macro_dice", "accuracy")
AGGREGATIONS = ("pooled", "per_patient")
VERDICTS = ("better", "worse", "equivalent", "unresolved")

Share = float | None
"""0 to 1, or a difference of such; None where the score does not exist."""


@dataclass(frozen=True)
class Data:
    folder: str
    fingerprint: str
    rois: int
    patients: int
    mpp: float | None


@dataclass(frozen=True)
class Grouping:
    id: str
    classes: list[str]
    codes: dict[str, list[int]]
    ignored: list[int]
    colours: list[list[int]]


@dataclass(frozen=True)
class Fold:
    test: list[str]
    validation: list[str]
    train: list[str]


@dataclass(frozen=True)
class Score:
    macro_dice: Share
    accuracy: Share
    balanced_accuracy: Share
    macro_iou: Share
    micro_dice: Share
    micro_iou: Share
    dice: dict[str, Share]
    iou: dict[str, Share]


@dataclass(frozen=True)
class Scores:
    pooled: Score
    per_roi: Score
    per_patient: Score


@dataclass(frozen=True)
class PerImage(Score):
    """Means over squares of `side_px` pixels a side into which ROIs are cut."""

    side_px: int


@dataclass(frozen=True)
class SurfaceDice:
    """Means over ROIs and seeds; `absent` counts those where a class has none and is left out."""

    tolerance_um: float
    macro: Share
    classes: dict[str, Share]
    absent: dict[str, int]


@dataclass(frozen=True)
class Distance:
    """In µm; otherwise as SurfaceDice."""

    macro: float | None
    classes: dict[str, float | None]
    absent: dict[str, int]


@dataclass(frozen=True)
class Calibration:
    """Bins of equal width over confidence 0 to 1; `confidence` is the sum of a bin's pixels'."""

    error: Share
    pixels: list[int]
    right: list[int]
    confidence: list[float]


@dataclass(frozen=True)
class Measures:
    surface_dice: SurfaceDice
    hausdorff95_um: Distance
    per_image: PerImage
    calibration: Calibration | None


@dataclass(frozen=True)
class Arm:
    """`name` says the spec, or the published network's name, and how its recipe differs; `spec` the network alone.

    asked: what it was called before its widths were solved; None where they were not. changes: what its recipe has
    otherwise than the study's.
    """

    name: str
    spec: str
    asked: str | None
    changes: dict[str, Any]
    parameters: int
    train_minutes: float | None
    scores: Scores
    absent: dict[str, int]
    confusion: list[list[int]]
    measures: Measures
    flops: int


@dataclass(frozen=True)
class Part:
    """What a word in the names of networks stands for, and where it is from."""

    name: str
    summary: str
    source: str


@dataclass(frozen=True)
class Tests:
    """p-values; then the probabilities that an arm is better by more than the margin, the same within it, worse."""

    wilcoxon_p: float | None
    permutation_p: float | None
    benjamini_hochberg_p: float | None
    better: float | None
    same: float | None
    worse: float | None


@dataclass(frozen=True)
class Variance:
    """Of the difference, in squared shares: from patient to patient, from run to run, and the rest."""

    patient: float
    seed: float
    rest: float


@dataclass(frozen=True)
class Estimate:
    """A difference with its interval, and what it allows to say."""

    metric: str
    aggregation: str
    difference: Share
    low: Share
    high: Share
    confidence: float
    patients: int
    p_holm: float | None
    p_equivalence: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison(Estimate):
    arm: str
    baseline: str
    tests: Tests | None
    variance: Variance | None


@dataclass(frozen=True)
class Effect(Estimate):
    """What a modification, or two together, do to a score of an ablation."""

    effect: str
    aliases: list[str]


@dataclass(frozen=True)
class Design:
    kind: str
    factors: list[str]
    resolution: int | None
    words: list[str]


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over patients, 1 best; arms of a group are not told apart by the critical difference."""

    metric: str
    mean_ranks: dict[str, float]
    critical_difference: float
    friedman_p: float
    patients: int
    confidence: float
    groups: list[list[str]]


@dataclass(frozen=True)
class Search:
    """The search of one arm in one fold: the value chosen, and the trials."""

    fold: int
    chosen: float
    trials: list[dict[str, Any]]


@dataclass(frozen=True)
class Tuning:
    """A search for the recipe's `key`: so many trials of so many steps for each arm and fold, by Optuna.

    Values are from 1 / `reach` to `reach` times the recipe's.
    """

    key: str
    trials: int
    steps: int
    reach: float
    optuna: str
    arms: dict[str, list[Search]]


@dataclass(frozen=True)
class RoiArm:
    macro_dice: Share
    accuracy: Share
    prediction: str


@dataclass(frozen=True)
class Roi:
    patient: str
    fold: int
    image: str
    truth: str
    arms: dict[str, RoiArm]


@dataclass(frozen=True)
class Curve:
    arm: str
    fold: int
    seed: int
    step: list[int]
    loss: list[float | None]
    validation_step: list[int]
    validation_macro_dice: list[Share]
    chosen_step: int | None


@dataclass(frozen=True)
class Results:
    ushape: str
    created: str
    command: str
    data: Data
    grouping: Grouping
    folds: list[Fold]
    split: str
    seeds: list[int]
    recipe: dict[str, Any]
    versions: dict[str, Any]
    margin: float
    arms: list[Arm]
    parts: list[Part]
    comparisons: list[Comparison]
    ranks: Ranks | None
    effects: list[Effect]
    design: Design | None
    matched: str | None
    tuning: Tuning | None
    limits_of_data: list[str]
    rois: dict[str, Roi]
    curves: list[Curve]

    def setting(self, arm: Arm, key: str) -> Any:
        """What the recipe of an arm says; None where it does not know the key."""
        return arm.changes.get(key, self.recipe.get(key))

    def began(self, arm: Arm) -> str:
        """What the network of an arm began from: `random weights`, `ImageNet`, or `an earlier training`."""
        how = self.setting(arm, "pretrained")
        if how in (None, "none"):
            return "random weights"
        encoder = {"auto": "encoder=efficientnet-lite", "imagenet": "encoder="}.get(how)
        if encoder is None:
            return "an earlier training"
        return "ImageNet" if encoder in arm.spec else "random weights"

    def comparison(self, arm: str, metric: str, aggregation: str) -> Comparison | None:
        """The comparison of `arm` with the first arm; None for the first arm itself."""
        want = (arm, metric, aggregation)
        return next((c for c in self.comparisons if (c.arm, c.metric, c.aggregation) == want), None)

    def compared(self, metric: str = METRICS[0], aggregation: str = AGGREGATIONS[0]) -> list[Comparison]:
        """Each arm but the first with the first, in the order of the arms."""
        found = [self.comparison(arm.name, metric, aggregation) for arm in self.arms[1:]]
        return [c for c in found if c is not None]

    def effects_on(self, metric: str = METRICS[0], aggregation: str = AGGREGATIONS[0]) -> list[Effect]:
        """Main effects, then interactions."""
        return [e for e in self.effects if (e.metric, e.aggregation) == (metric, aggregation)]
