"""What a study is: arms, folds and seeds over one folder of ROIs, settled before anything is trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np

from ushape.data.classes import grouping
from ushape.data.crops import check_sizes
from ushape.data.rois import Roi, find_rois, fingerprint, open_pixels
from ushape.data.splits import Fold, Split, class_counts, split
from ushape.errors import RecipeError, RunError
from ushape.nets.budget import By, match
from ushape.nets.spec import Spec, modify, parse
from ushape.nets.zoo import published
from ushape.study.factorial import Design
from ushape.study.guards import check_different, check_folds, check_tissue, find_alike
from ushape.train.recipe import PATHS, WORDS, Recipe, check_values, read_settings
from ushape.train.run import RunPlan
from ushape.train.search import Search
from ushape.train.sources import check_unlabelled, sources
from ushape.train.start import check_trainable, effective

FOLD_SEED = 0
"""Folds depend on the data alone: every study of one folder, at one pixel size and grouping, has the same ones."""

LONGEST = 120
"""Characters of an arm's folder name."""

MARGIN = 0.01
"""One point: about what two equal runs of a well-trained U-Net differ by."""


SHARED = {
    "grouping": "arms are scored in the same classes",
    "mpp": "arms are scored on the same pixels",
    "steps": "arms train for the same number of steps",
}
"""Keys of the recipe that no arm has for itself, and why."""


@dataclass(frozen=True)
class Arm:
    """A network, and what its recipe has otherwise than the study's: (key, value), in the recipe's order.

    called: the name of the published network that it was given by, if so; the spec says the same at greater length.
    """

    spec: Spec
    changes: tuple[tuple[str, Any], ...] = ()
    called: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """`unet[width=16]`, or with changes `unet[width=16] stain=0 dice=0.5`; a published network by its own name."""
        return " ".join([self.called or self.spec.name, *(f"{k}={told(v)}" for k, v in self.changes)])

    @property
    def folder(self) -> str:
        return folder_of(self.name)

    def own(self, recipe: Recipe) -> Recipe:
        """Its recipe in a study with this one."""
        return replace(recipe, **dict(self.changes))


@dataclass(frozen=True)
class Study:
    """Arms x folds x seeds. The first arm is the baseline that the others are compared with."""

    given: tuple[Arm, ...]
    recipe: Recipe
    data: Path
    mpp: float | None
    folds: tuple[Fold, ...]
    seeds: int
    fingerprint: str
    shares: tuple[dict[str, float], ...] = ()
    """For each fold, the share of each class's pixels that its test patients hold."""
    design: Design | None = None
    """Of an ablation: `given` are its arms, in its order."""
    base: Spec | None = None
    """What an ablation's changes are made to."""
    matched: By | None = None
    """What widths were solved for, so that all arms cost what the first one does; None: as they were given."""
    asked: tuple[str, ...] = ()
    """Where widths were solved, the names of the arms before."""
    margin: float = MARGIN
    """The largest difference of a score that does not matter, as a share, stated before anything is trained."""
    search: Search | None = None
    """What looks for a learning rate, for each arm in each fold; None: all train with the recipe's."""
    official: bool = False
    """The one fold is the official one of BCSS: patients of its training institutes are tested by nobody."""
    rates: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """(arm, fold) -> the rate that its search chose, once it has (see `ushape.study.tuning`)."""

    @property
    def arms(self) -> dict[str, Arm]:
        """Folder name of each arm -> the arm, baseline first."""
        return {arm.folder: arm for arm in self.given}

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The network of each arm; one that differs in its recipe alone stands here again."""
        return tuple(arm.spec for arm in self.given)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipe of each arm, but for a learning rate that is looked for."""
        return tuple(arm.own(self.recipe) for arm in self.given)

    @cached_property
    def rois(self) -> tuple[Roi, ...]:
        """All ROIs, as they were found on first use: a study has many runs over the same ones."""
        return tuple(find_rois(self.data, self.mpp))

    @property
    def split(self) -> Split:
        return "official" if self.official else len(self.folds)

    @property
    def tested_rois(self) -> list[Roi]:
        """The ROIs of all folds' test patients, by name."""
        patients = {patient for fold in self.folds for patient in fold.test}
        return [roi for roi in self.rois if roi.patient in patients]

    def tested(self, fold: int) -> list[Roi]:
        """The ROIs of a fold's test patients."""
        return [roi for roi in self.rois if roi.patient in self.folds[fold - 1].test]

    def run_folder(self, arm: str, fold: int, seed: int) -> Path:
        """Folder of one run inside the study's; fold counts from 1."""
        return run_folder(arm, fold, seed)

    def runs(self) -> Iterator[tuple[str, int, int]]:
        """(arm, fold, seed) of every run: all arms of a fold together, so that partial results are comparable."""
        for seed in range(self.seeds):
            for fold in range(1, len(self.folds) + 1):
                for arm in self.arms:
                    yield arm, fold, seed

    def plan(self, arm: str, fold: int, seed: int) -> RunPlan:
        """The run of one arm, fold and seed. Arms share seeds: they see the same crops in the same order.

        Folds do not: the run's own seed is seed * folds + fold - 1, so that a run's luck is not that of another fold's,
        as intervals take for granted (`statistics.paired`).
        """
        patients = self.folds[fold - 1]
        parts: dict[str, Any] = {
            part: tuple(roi for roi in self.rois if roi.patient in getattr(patients, part))
            for part in ("train", "validation", "test")
        }
        own = seed * len(self.folds) + fold - 1
        return RunPlan(self.arms[arm].spec, self._recipe(arm, fold), own, self.data, mpp=self.mpp, **parts)

    def _recipe(self, arm: str, fold: int) -> Recipe:
        own = self.arms[arm].own(self.recipe)
        if self.search is None:
            return own
        if (arm, fold) not in self.rates:
            raise RunError(f"{arm}, fold {fold}: its learning rate is not chosen yet")
        return replace(own, rate=self.rates[arm, fold])


def parse_arm(text: str, recipe: Recipe) -> Arm:
    """`SPEC` or `SPEC key=value ...`: an arm whose recipe is the study's with these keys changed.

    SpecError or RecipeError where one of them cannot be read, or a change has no effect or makes arms incomparable.
    """
    name, *words = text.split() or [""]
    changed = check_values(Recipe, read_settings(words, text), text)
    for key, value in changed.items():
        if key in SHARED:
            raise RecipeError(f"{text}: {SHARED[key]}: give {key} to the whole study, by --set {key}={value}")
        if key in PATHS and value not in WORDS:
            raise RecipeError(f"{text}: an arm has no path for itself: give it to the whole study, by --set {key}=")
        if key == "precision" and value == "auto":
            raise RecipeError(f"{text}: an arm's precision is the same on all machines: give float32 or bf16")
        if value == getattr(recipe, key):
            raise RecipeError(f"{text}: {key}={told(value)} is what the study has anyway: leave it out")
    spec, own = parse(name), replace(recipe, **changed)  # which refuses values that do not go together
    for key, value in changed.items():
        if _idle(key, spec, own, recipe):
            raise RecipeError(f"{text}: {key}={told(value)} has no effect on {name}: leave it out")
    changes = tuple((f.name, changed[f.name]) for f in fields(Recipe) if f.name in changed)
    return Arm(spec, changes, name if name in {each.name for each in published()} else None)


def _idle(key: str, spec: Spec, own: Recipe, recipe: Recipe) -> bool:
    """Whether a network would be trained alike with the study's value of a key in place of its own."""
    try:
        without = replace(own, **{key: getattr(recipe, key)})
    except RecipeError:  # the arm's other keys need it
        return False
    return effective(spec, without) == effective(spec, own)


def told(value: object) -> str:
    """A value of a recipe as `--set` takes it, and reads it to the last bit."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def design_specs(base: Spec, design: Design) -> list[Spec]:
    """The spec of each arm of a design over changes of a base; SpecError where two of them share an axis."""
    return [reduce(modify, [f for f in design.factors if f in arm], base) for arm in design.arms]


def matched_specs(specs: list[Spec], by: By, classes: int) -> list[Spec]:
    """The specs with widths at which they cost what the first one does; SpecError where none comes close enough."""
    solved = {spec: match(spec, specs[0], by, classes=classes) for spec in dict.fromkeys(specs)}
    return [solved[spec] for spec in specs]


def plan_study(
    given: Sequence[Arm | Spec],
    recipe: Recipe,
    data: Path,
    mpp: float | None,
    folds: Split,
    seeds: int,
    design: Design | None = None,
    base: Spec | None = None,
    matched: By | None = None,
    margin: float = MARGIN,
    search: Search | None = None,
    solved: Sequence[Arm] = (),
    read: Callable[[Sequence[Roi], float, str], None] | None = None,
) -> Study:
    """Look at the data and fix folds; with `matched` first solve widths. DataError or RunError where that fails.

    solved: the arms of a study that asked the same before, whose widths stand. read: called with the ROIs, µm per pixel
    and normalisation before they are first opened, which takes long (to show progress, say).
    """
    check_margin(margin)
    arms = [each if isinstance(each, Arm) else Arm(each) for each in given]
    asked = tuple(arm.name for arm in arms) if matched else ()
    if solved:
        arms = list(solved)
    elif matched:
        specs = matched_specs([arm.spec for arm in arms], matched, len(grouping(recipe.grouping).classes))
        kept = (arm.called if spec == arm.spec else None for arm, spec in zip(arms, specs, strict=True))
        arms = [replace(a, spec=s, called=c) for a, s, c in zip(arms, specs, kept, strict=True)]
    if len(arms) != len(set(arms)):
        twice = next(a for a in arms if arms.count(a) > 1)
        raise RunError(f"{twice.name} is given twice: an arm is compared with others, not with itself")
    folders: dict[str, Arm] = {}
    for arm in arms:
        if (other := folders.setdefault(arm.folder, arm)) is not arm:
            raise RunError(f"{other.name} and {arm.name} would share the folder {arm.folder}: give them to two studies")
    if search and any(key == "rate" for arm in arms for key, _ in arm.changes):
        raise RunError("--tune lr has no effect on an arm that has a rate of its own: leave one of the two out")
    if seeds < 1:
        raise RunError(f"--seeds {seeds}: give at least 1")
    rois, groups = find_rois(data, mpp), grouping(recipe.grouping)
    recipes = [arm.own(recipe) for arm in arms]
    check_trainable(list(zip((arm.spec for arm in arms), recipes, strict=True)), len(groups.classes))  # before training
    for changes in {arm.changes for arm in arms}:
        if len(alike := [arm.spec for arm in arms if arm.changes == changes]) > 1:
            check_different(alike, len(groups.classes))
    if read:
        read(rois, recipe.mpp, recipe.normalise)
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in rois]
    check_sizes(pixels, max(each.crop for each in recipes))
    counts = class_counts(pixels, groups)
    chosen_by = search is not None or any(each.validations for each in recipes)
    made = split(counts, groups, folds, FOLD_SEED, chosen_by)
    check_folds(made)
    tested = sum(bool(counts[patient].any()) for fold in made for patient in fold.test)
    if tested < 2 and any(each.any() for each in counts.values()):
        raise RunError(f"{data}: fewer than two test patients have a pixel that counts: nothing could be compared")
    for each in dict.fromkeys(recipes):
        check_unlabelled(each, mpp)
    for fold in made:
        sources(recipe, fold.test, fold.validation, mpp)  # no leak in any of them
    check_tissue(pixels, find_alike(pixels, recipe.mpp), made)
    held = np.sum(list(counts.values()), axis=0)
    shares = [
        {
            name: round(float(sum(counts[p][i] for p in fold.test) / held[i]), 4) if held[i] else 0.0
            for i, name in enumerate(groups.classes)
        }
        for fold in made
    ]
    found = (tuple(made), seeds, fingerprint(rois), tuple(shares))
    official = folds == "official"
    return Study(tuple(arms), recipe, data, mpp, *found, design, base, matched, asked, margin, search, official)


def check_margin(margin: float) -> None:
    """RunError where a share that would not matter is none."""
    if not 0 < margin < 1:
        raise RunError(f"--margin {100 * margin:g}: give points above 0 and below 100, say 1")


def folder_of(name: str) -> str:
    """The folder name of an arm: `unet[width=16]+residual stain=0` -> `unet-width-16+residual-stain-0`.

    One that is too long for names of files that it is a part of is cut, with the hash of the whole behind it.
    """
    folder = re.sub(r"[^a-z0-9+.]+", "-", name.replace("]", "").replace("=-", "-minus-")).strip("-")
    if len(folder) <= LONGEST:
        return folder
    return f"{folder[: LONGEST - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_folder(arm: str, fold: int, seed: int) -> Path:
    """Folder of one run inside the study's; fold counts from 1."""
    return Path(arm) / f"fold{fold}-seed{seed}"
