"""How a network is trained: one frozen set of numbers, read from YAML, every key checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from ushape.data.classes import grouping
from ushape.errors import RecipeError, UshapeError, nearest
from ushape.predict.tiling import CELL
from ushape.train.schedule import Schedule

if TYPE_CHECKING:
    from ushape.data.augment import CropSettings

BOUNDS: dict[str, tuple[float, float]] = {
    "mpp": (0.05, 50), "crop": (16, 4096), "balanced": (0, 1), "stain": (0, 0.9), "scale": (0, 3),
    "sharpness": (0, 10), "elastic": (0, 100), "pretrained_rate": (0, 1),
    "steps": (1, 10**7), "batch": (1, 4096), "shards": (1, 64), "rate": (1e-7, 10), "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "clip": (1e-6, 1e6), "ema": (0, 0.99999), "dice": (0, 100), "focal": (0, 10), "smoothing": (0, 0.5),
    "class_weight": (0, 2), "prior": (0, 2), "distil": (0, 100), "unlabelled_share": (0, 1),
    "validations": (0, 1000), "guided": (0, 256),
}  # fmt: skip
"""Lowest and highest value of the numbers of recipes."""


@dataclass(frozen=True)
class Recipe:
    """The default is the package's best known recipe for a few ROIs on a CPU (about 8 core-minutes at width 16).

    Data: grouping; mpp, pixel size in µm that images are resampled to; normalise, `stain` brings every image to a
    common strength of stain; crop, side in px; balanced, share of class-balanced crops; stain, strength of the stain
    jitter; scale, reach of the zoom (windows of 1 / (1 + scale) to 1 + scale times the crop); sharpness, largest
    blur, and sharpening by the same, in px; elastic, standard deviation in px of the displacements of an elastic
    deformation, on a grid of 3 x 3 over the crop.

    Network: pretrained, `auto` starts `efficientnet-lite` encoders from ImageNet weights, `imagenet` timm's too (all
    else starts from random ones); the path of a run or of a file of weights starts from all of those that fit, but for
    the head's; pretrained_rate, the learning rate of what began trained, over that of the rest.

    Teachers (see `ushape.train.teaching`): teacher, the path of a run, of a file of weights, or of a folder with runs
    in it; distil, weight of the cross-entropy to their mean probabilities; unlabelled, the path of images without
    masks, whose crops are a share unlabelled_share of each batch.

    Optimisation: steps of batch crops; shards, parts of a batch that are computed apart (batch normalisation sees one
    part; the result does not depend on how many threads compute them); AdamW with a schedule (see
    `ushape.train.schedule`) that is at `rate` after a share `warmup` of the steps; clip, largest norm of the gradient;
    ema, decay of the averaged weights that are evaluated and kept.

    Loss (see `ushape.train.losses`): dice, weight of the soft Dice loss beside cross-entropy; focal, gamma of the focal
    loss in place of cross-entropy (0: none); smoothing, of labels; class_weight, p of weights in proportion to a
    class's share of the training pixels to the power -p (0: none); prior, of logit adjustment: what of the rise of rare
    classes by class-balanced crops is taken back from the scores (0: none, 1: all).

    Choice: validations, how many times validation patients are looked at, evenly over the last half of the steps; 1 is
    at the end alone, where they choose nothing. 0: folds hold no patient back, and the last step's weights are kept.
    tta: test-time augmentation of the final evaluation (see `ushape.predict.turns`). guided, radius in px, a multiple
    of 4, of the guided filter that predicted probabilities go through (see `ushape.predict.guided`; 0: none).
    precision: auto takes bfloat16 where the device computes it fast.
    """

    grouping: str = "bcss-5"
    mpp: float = 1.2
    normalise: Literal["none", "stain"] = "stain"
    crop: int = 128
    balanced: float = 0.5
    stain: float = 0.3
    scale: float = 0.5
    sharpness: float = 0.8
    elastic: float = 0.0
    pretrained: str = "auto"
    pretrained_rate: float = 1.0
    steps: int = 800
    batch: int = 16
    shards: int = 4
    rate: float = 2e-3
    schedule: Schedule = "one-cycle"
    warmup: float = 0.15
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.99
    dice: float = 1.0
    focal: float = 0.0
    smoothing: float = 0.0
    class_weight: float = 0.0
    prior: float = 0.5
    teacher: str = "none"
    distil: float = 1.0
    unlabelled: str = "none"
    unlabelled_share: float = 0.25
    validations: int = 0
    tta: Literal["none", "flips", "d4", "zooms"] = "zooms"
    guided: int = 48
    precision: Literal["auto", "float32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        try:
            grouping(self.grouping)
        except UshapeError as error:
            raise RecipeError(str(error)) from None
        check_bounds(self, BOUNDS)
        check_shards(self.batch, self.shards)
        self._check_teaching()
        if self.guided % CELL:
            raise RecipeError(f"recipe: guided={self.guided}: give a multiple of {CELL}")
        if not self.balanced and self.prior not in (0, Recipe.prior):
            raise RecipeError("recipe: prior has no effect with balanced=0: give a share above 0, or leave it out")

    @property
    def crop_settings(self) -> CropSettings:
        """How crops are drawn and changed."""
        from ushape.data.augment import CropSettings

        return CropSettings(self.crop, self.balanced, self.stain, self.scale, self.sharpness, self.elastic)

    @property
    def unlabelled_crops(self) -> int:
        """How many of a shard's crops are of images without masks."""
        return round(self.unlabelled_share * self.batch / self.shards) if self.unlabelled != "none" else 0

    def _check_teaching(self) -> None:
        """RecipeError where a key about teachers or earlier weights has no effect without another."""
        if self.teacher == "none" and self.unlabelled != "none":
            raise RecipeError("recipe: unlabelled has no effect without a teacher: add teacher=PATH, or leave it out")
        dependent = (("distil", "teacher"), ("unlabelled_share", "unlabelled"), ("pretrained_rate", "pretrained"))
        for key, needed in dependent:
            if getattr(self, needed) == "none" and getattr(self, key) != getattr(Recipe, key):
                raise RecipeError(f"recipe: {key} has no effect without {needed}: add {needed}=PATH, or leave it out")
        if self.teacher != "none" and not self.distil:
            raise RecipeError("recipe: teacher has no effect with distil=0: give a weight above 0, or leave it out")
        crops = self.batch // self.shards
        if self.unlabelled != "none" and not (
            0 < self.unlabelled_crops < crops and math.isclose(self.unlabelled_crops, self.unlabelled_share * crops)
        ):
            remedy = f"one of {', '.join(f'{n / crops:g}' for n in range(1, crops))}" if crops > 1 else "fewer shards"
            raise RecipeError(
                f"recipe: unlabelled_share={self.unlabelled_share:g} of a shard's {crops} crops (batch / shards) is no "
                f"number of crops that leaves some of both kinds: give {remedy}"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def told(self) -> dict[str, Any]:
        """As `to_dict`, of each path the last part alone: for what leaves this machine."""
        return self.to_dict() | {key: Path(getattr(self, key)).name for key in PATHS}


AFTER_TRAINING = ("tta", "guided")
"""Keys that say how a trained network predicts. No weights depend on them, but those of who learns from teachers."""

PATHS = ("pretrained", "teacher", "unlabelled")
"""Keys that name files or folders."""

WORDS = ("none", "auto", "imagenet")
"""What stands for no file in them."""


def with_full_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, mere names kept: a run goes on from any folder."""
    given = {key: getattr(recipe, key) for key in PATHS}
    full: dict[str, Any] = {k: str(Path(v).resolve()) for k, v in given.items() if not _is_name(v)}
    return replace(recipe, **full)


def _is_name(text: str) -> bool:
    """Whether it is one of `WORDS`, or may name a network that comes with the package: no path, no file."""
    path = Path(text)
    return text in WORDS or not (path.exists() or path.suffix or len(path.parts) > 1)


def make_recipe(values: object, base: Recipe | None = None, where: str = "recipe") -> Recipe:
    """`base` (the default recipe) with some keys changed; RecipeError on unknown keys and wrong types."""
    return replace(base or Recipe(), **check_values(Recipe, values, where))


def check_values(kind_of_recipe: type, values: object, where: str) -> dict[str, Any]:
    """A mapping of some fields of a dataclass, numbers as its types want them; RecipeError on any other."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of keys, not {type(values).__name__}")
    hints = get_type_hints(kind_of_recipe)
    known = [f.name for f in fields(kind_of_recipe)]
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}{nearest(str(key), known)} (known: {', '.join(known)})")
        kind = hints[key]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise RecipeError(f"{where}: {key}={value!r}: give one of {', '.join(get_args(kind))}")
        elif kind is float and isinstance(number := _scientific(value), int | float) and not isinstance(value, bool):
            value = float(number)
        elif not isinstance(value, kind) or isinstance(value, bool):
            raise RecipeError(f"{where}: {key}={value!r}: give a value of type {kind.__name__}")
        elif value == "":
            raise RecipeError(f"{where}: {key} is empty: give a value, or leave it out")
        checked[key] = value
    return checked


def check_bounds(recipe: object, bounds: Mapping[str, tuple[float, float]], where: str = "recipe: ") -> None:
    """RecipeError where an attribute of a recipe lies outside its (lowest, highest) value."""
    for key, (low, high) in bounds.items():
        if not low <= getattr(recipe, key) <= high:
            raise RecipeError(f"{where}{key}={getattr(recipe, key)!r} is out of range: give {low:g} to {high:g}")


def check_shards(batch: int, shards: int) -> None:
    """RecipeError where a batch does not divide into equal shards."""
    if batch % shards:
        raise RecipeError(f"recipe: batch={batch} does not divide into shards={shards} equal parts")


def read_settings(pairs: list[str], where: str = "--set") -> dict[str, Any]:
    """`key=value` texts of a command line -> values, read as YAML scalars; RecipeError, which begins with `where`."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise RecipeError(f"{where}: {pair!r}: write key=value")
        if key in settings:
            raise RecipeError(f"{where}: {key} is given twice: keep one of them")
        if not text:
            raise RecipeError(f"{where}: {key}= has no value: write {key}=VALUE, or leave it out")
        try:
            settings[key] = text if key in PATHS else _scientific(yaml.safe_load(text))
        except (yaml.YAMLError, ValueError):  # such as 2024-13-45, a date that is none
            settings[key] = text
    return settings


def _scientific(value: object) -> object:
    """`2e-3`, which YAML 1.1 reads as text, as the number that people mean; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) and "e" in value.lower() else value
    except ValueError:
        return value
