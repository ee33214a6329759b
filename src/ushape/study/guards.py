"""What stops a study before anything is trained: one patient, or one piece of tissue, on both sides of a split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import torch

from ushape.data.duplicates import Alike, look_alike, signature
from ushape.data.rois import Pixels
from ushape.data.splits import Fold
from ushape.errors import DataError, RunError
from ushape.nets.parts.plain import seed_dropout
from ushape.nets.spec import Spec
from ushape.nets.unet import build

PARTS = ("train", "validation", "test")


def check_folds(folds: Sequence[Fold]) -> None:
    """RunError where a patient is in two parts of a fold, or is tested in two folds, or in none of several."""
    tested = [patient for fold in folds for patient in fold.test]
    for number, fold in enumerate(folds, 1):
        for one, other in combinations(PARTS, 2):
            both = sorted(set(getattr(fold, one)) & set(getattr(fold, other)))
            if both:
                raise RunError(
                    f"fold {number}: patient {both[0]} is in {one} and in {other}: leave each patient in one of them"
                )
        for patient in (patient for part in PARTS for patient in getattr(fold, part)):
            if tested.count(patient) != 1 and (len(folds) > 1 or patient in tested):
                raise RunError(f"patient {patient} is tested in {tested.count(patient)} folds: it should be in one")


def find_alike(pixels: Sequence[Pixels], mpp: float) -> list[Alike]:
    """ROIs of different patients that look like the same tissue (see `ushape.data.duplicates` for what is found).

    `mpp`: the pixel size in µm at which they were opened.
    """
    signatures = {each.roi.name: signature(each.image, mpp) for each in pixels}
    return look_alike(signatures, {each.roi.name: each.roi.patient for each in pixels})


def check_different(specs: Sequence[Spec], classes: int) -> None:
    """RunError where two of these specs make one network: of the same modules, with the same scores to the last bit.

    Scores are those of training, with weights that are nowhere zero: what only drops out, or begins as nothing, counts.
    """
    seen: dict[tuple[str, bytes], Spec] = {}
    for spec in specs:
        net = build(spec, 3, classes, seed=0).train()
        side, rng = max(64, net.multiple), torch.Generator().manual_seed(0)
        seed_dropout(net, 0)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn(p.shape, generator=rng), alpha=0.1)
            made = net(torch.randn(2, 3, side, side, generator=rng))
        scores = made if isinstance(made, list) else [made]
        first = seen.setdefault((repr(net), b"".join(s.numpy().tobytes() for s in scores)), spec)
        if first is not spec:
            raise RunError(
                f"{first.name} and {spec.name} are one network, what tells them apart has no effect: leave one of the "
                "two out"
            )


def check_tissue(pixels: Sequence[Pixels], alike: Sequence[Alike], folds: Sequence[Fold]) -> None:
    """DataError where two ROIs that look alike are on two sides of a fold: trained on, validated on, tested."""
    rois = {each.roi.name: each.roi for each in pixels}
    for pair in alike:
        one, other = rois[pair.one], rois[pair.other]
        for number, fold in enumerate(folds, 1):
            sides = {_side(fold, one.patient), _side(fold, other.patient)}
            if len(sides) > 1:
                what = "tests one" if "test" in sides else "validates on one"
                rest = "validates on the other" if sides == {"test", "validation"} else "trains on the other"
                raise DataError(
                    f"{one.image} and {other.image} look like the same tissue ({pair.windows} windows agree) under two "
                    f"patients' names, and fold {number} {what} and {rest}: remove one of them, or give both the name "
                    "of one patient"
                )


def _side(fold: Fold, patient: str) -> str:
    return next((part for part in PARTS if patient in getattr(fold, part)), "")


def limits_of_data(alike: Sequence[Alike], tested: Collection[str]) -> list[str]:
    """What a report has to say of tested ROIs that look alike but do not stop the study: one sentence a pair."""
    return [
        f"{pair.one} and {pair.other} look like the same tissue under two patients' names; no fold trains on one and "
        "tests the other, but they count as two patients."
        for pair in alike
        if pair.one in tested and pair.other in tested
    ]
