"""The methods of a study as prose to paste into a paper. Each sentence follows from a field of its results."""

from __future__ import annotations

from typing import Any

from ushape.report.numbers import count, fixed, listed, points
from ushape.report.references import cite, cited
from ushape.report.results import Results

SCHEDULES = {
    "one-cycle": "a one-cycle schedule [@smith]",
    "cosine": "a cosine schedule [@sgdr]",
    "polynomial": "a polynomial schedule of power 0.9 [@isensee]",
    "constant": "a constant schedule",
}
"""A recipe's schedule in words."""

VIEWS = {
    "flips": "four flips",
    "d4": "the eight flips and quarter turns",
    "zooms": "the eight flips and quarter turns, seen 0.8 to 1.8 times as large,",
}
"""A test-time augmentation in words."""

PRECISION = {"bf16": "bfloat16 where that is safe (autocast), else in float32", "float32": "float32"}
"""That of a study in words."""

BUDGET = {"params": "number of parameters", "flops": "number of floating-point operations", "time": "inference time"}


def methods(results: Results) -> list[str]:
    """Paragraphs, with works by name and year."""
    return [cite(text) for text in _paragraphs(results)]


def references(results: Results) -> list[str]:
    """The works that `methods` cites."""
    return cited(_paragraphs(results))


def _paragraphs(results: Results) -> list[str]:
    parts = (_data, _arms, _training, _tuning, _metrics, _statistics, _software)
    told = [[sentence for sentence in part(results) if sentence] for part in parts]
    return [" ".join(sentences) for sentences in told if sentences]


def _data(r: Results) -> list[str]:
    d, g = r.data, r.grouping
    rois, patients = count(d.rois, "region"), count(d.patients, "patient")
    size = f" Images and masks were resampled to {d.mpp:g} µm per pixel, at which they were scored." if d.mpp else ""
    classes = "; ".join(f"{c} ({_codes(g.codes[c])})" if g.codes.get(c) else c for c in g.classes)
    bcss = " of BCSS [@amgad]" if g.id.startswith("bcss") else ""
    where = d.folder.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    each = f"each of {len(r.folds)} folds" if len(r.folds) > 1 else "it"
    return [
        f"The data ({where}) were {rois} of interest (ROIs) from {patients}.{size}",
        f"Mask codes{bcss} were grouped into {len(g.classes)} classes (grouping {g.id}): {classes}.",
        f"Pixels of {_codes(g.ignored)} were ignored: they entered neither the loss nor a score." if g.ignored else "",
        f"The split was {r.split}: {each} had {_sizes(r, 'test')} for testing, "
        + (f"{_sizes(r, 'validation')} for validation and " if any(f.validation for f in r.folds) else "and ")
        + f"{_sizes(r, 'train')} for training, and no patient in two of them.",
    ]


def _arms(r: Results) -> list[str]:
    names = [a.name for a in r.arms]
    if r.design:
        kinds = {
            "one-at-a-time": "one at a time, to a base", "leave-one-out": "by leaving each out of all of them",
            "full": "in a full factorial design", "fractional": f"in a fractional factorial design of resolution "
            f"{r.design.resolution} (defining relation {'; '.join(r.design.words)})",
        }  # fmt: skip
        montgomery = " [@montgomery]" if r.design.kind in ("full", "fractional") else ""
        start = (
            f"The effects of {listed(r.design.factors)} were studied "
            f"{kinds.get(r.design.kind, r.design.kind)}{montgomery}, with {len(names)} networks: {listed(names)}."
        )
    elif len(names) > 1:
        verb = "was" if len(names) == 2 else "were"
        start = f"{listed(names[1:])} {verb} compared with {names[0]}."
    else:
        start = f"One network was trained: {names[0]}."
    sizes = [a.parameters for a in r.arms]
    few, many = f"{min(sizes):,}", f"{max(sizes):,}"
    low, high = (fixed(pick(a.flops for a in r.arms) / 1e9, 2) for pick in (min, max))
    work = f"{low if low == high else f'{low} to {high}'} GFLOPs for an image of 256 × 256 pixels"
    short = {a.name.split(" ")[0]: a.spec for a in r.arms if a.name.split(" ")[0] != a.spec}
    specs = [a.spec for a in r.arms]
    unet = any(name == "unet" or name.startswith(("unet[", "unet+")) for name in specs)
    near = f"Widths were solved so that each came as near as it could to the {BUDGET[r.matched or 'params']} of "
    near += f"{names[0]}."
    asked = any(a.asked for a in r.arms)
    stand = [f"{p.name} stands for {p.summary} ({p.source})" for p in r.parts]
    had = "It had" if len(names) == 1 else "They had"
    return [
        start,
        f"{listed([f'{name} is {spec}' for name, spec in short.items()])}." if short else "",
        "Names that begin with unet stand for modifications of U-Net [@ronneberger]." if unet else "",
        near if r.matched else "",
        f"At these widths, {listed([f'{a.name} is {a.asked}' for a in r.arms if a.asked])}." if asked else "",
        f"In these names, {'; '.join(stand)}." if stand else "",
        f"{had} {few if few == many else f'{few} to {many}'} parameters and {work}.",
    ]


def _training(r: Results) -> list[str]:
    k = r.recipe
    rate = ", but for the learning rate" if r.tuning and r.tuning.key == "rate" else ""
    own = [a.name for a in r.arms if " " in a.name]
    rate += f"{' and' if rate else ', but'} for what stands behind a network's name" if own else ""
    told = [f"Every network was trained with the same recipe{rate}." if len(r.arms) > 1 else ""]
    if k.get("normalise") == "stain":
        told.append(
            "In each image the 99th percentiles of the amounts of haematoxylin and eosin [@ruifrok] were brought to "
            "fixed values [@macenko]."
        )
    if {"steps", "batch", "crop"} <= k.keys():
        fold = "in each fold" if len(r.folds) > 1 else "in all"
        seeds = f"once {fold} for each of {len(r.seeds)} seeds" if len(r.seeds) > 1 else f"once {fold}"
        told.append(
            f"Training took {k['steps']:,} steps of {k['batch']} crops of {k['crop']} × {k['crop']} pixels, {seeds}."
        )
    if k.get("shards", 1) > 1:
        told.append(f"Batch statistics and soft Dice were those of {k['batch'] // k['shards']} crops at a time.")
    if k.get("precision") in PRECISION:
        told.append(f"It computed in {PRECISION[k['precision']]}.")
    if k.get("balanced"):
        told.append(f"A share of {k['balanced']:g} of the crops was drawn to balance the classes, the rest at random.")
    jitter = ["flips and quarter turns"]
    jitter += [f"zoom by up to {1 + k['scale']:g} times either way"] if k.get("scale") else []
    jitter += [f"perturbed amounts of stain [@tellez] with a strength of {k['stain']:g}"] if k.get("stain") else []
    jitter += (
        [f"elastic deformation [@ronneberger] with a standard deviation of {k['elastic']:g} pixels"]
        if k.get("elastic")
        else []
    )
    jitter += [f"blur or sharpening of up to {k['sharpness']:g} pixels"] if k.get("sharpness") else []
    if "crop" in k:
        told.append(f"Crops were changed by {listed(jitter)}.")
    if began := [a.name for a in r.arms if r.began(a) == "ImageNet"]:
        encoders = "encoder" if len(began) == 1 else "encoders"
        told.append(f"The {encoders} of {listed(began)} began from ImageNet weights.")
    if went_on := [a.name for a in r.arms if r.began(a) == "an earlier training"]:
        who = "Networks" if len(went_on) == len(r.arms) else listed(went_on)
        told.append(f"{who} began from weights of an earlier training, but for the head.")
    if k.get("pretrained_rate", 1) != 1:
        told.append(f"What began trained learnt at {k['pretrained_rate']:g} times the learning rate of the rest.")
    told += _loss(k)
    if {"rate", "weight_decay", "warmup"} <= k.keys():
        highest = "tuned as told below" if r.tuning and r.tuning.key == "rate" else f"{k['rate']:g}"
        told.append(
            f"The optimiser was AdamW [@loshchilov] with a weight decay of {k['weight_decay']:g}, "
            f"betas of 0.9 and 0.99 and {SCHEDULES[k.get('schedule', 'one-cycle')]} of which the first "
            f"{100 * k['warmup']:g}% were warm-up; the "
            f"highest learning rate was {highest}."
        )
    if "clip" in k:
        told.append(f"Gradients were clipped to a norm of {k['clip']:g}.")
    if k.get("ema"):
        told.append(f"Weights were averaged exponentially over steps with a decay of {k['ema']:g}.")
    if k.get("validations") in (0, 1):
        told.append("The weights that were tested are those after the last step.")
    elif "validations" in k:
        told.append(
            f"The weights that were tested are those with the highest pooled macro Dice on validation patients, among "
            f"{count(k['validations'], 'check')} over the last half of the steps."
        )
    views = VIEWS.get(str(k.get("tta")))
    if views:
        told.append(f"Predictions on test patients were averaged over {views} of the image.")
    if k.get("guided"):
        told.append(
            f"Class probabilities went through a guided filter [@guided] with a radius of {k['guided']:g} px; the "
            "guide was amounts of stain."
        )
    return told


def _loss(k: dict[str, Any]) -> list[str]:
    """What the recipe says of losses and teachers."""
    if "dice" not in k:
        return []
    weight = f" plus {k['dice']:g} times" if k["dice"] != 1 else " plus"
    soft = f"{weight} a soft Dice loss [@milletari]" if k["dice"] else ""
    focal = f"a focal loss [@lin] with a gamma of {k['focal']:g}" if k.get("focal") else "cross-entropy"
    told = [f"The loss was {focal}{soft}."]
    if k.get("smoothing"):
        told.append(f"Labels were smoothed [@szegedy] by {k['smoothing']:g}.")
    if k.get("class_weight"):
        told.append(
            f"Pixels were weighted in proportion to their class's share of the training pixels to the power "
            f"-{k['class_weight']:g}."
        )
    if k.get("prior") and k["balanced"]:
        told.append(
            f"In training, {k['prior']:g} times the logarithm of how much more often a class was drawn than it occurs "
            "was added to its scores [@menon]."
        )
    if k.get("teacher", "none") != "none":
        told.append(
            f"To this came {k['distil']:g} times the cross-entropy to the mean probabilities of networks trained "
            "before [@hinton], none of them on a test or validation patient."
        )
    if k.get("unlabelled", "none") != "none":
        told.append(
            f"About {100 * k['unlabelled_share']:g}% of the crops were of images without masks, for which those "
            "probabilities stood alone."
        )
    return told


def _tuning(r: Results) -> list[str]:
    t = r.tuning
    if t is None:
        return []
    found = f" with Optuna {t.optuna} [@akiba]"
    what = "The highest learning rate" if t.key == "rate" else f"The recipe's {t.key!r}"
    each = "every network" if len(r.arms) > 1 else "the network"
    pruned = any(trial.get("pruned") for searches in t.arms.values() for s in searches for trial in s.trials)
    return [
        f"{what} was searched{found} for {each} and fold apart, in {count(t.trials, 'trial')} of "
        f"{count(t.steps, 'step')} each, judged by macro Dice on validation patients.",
        "Trials that fell behind were stopped early." if pruned else "",
    ]


def _metrics(r: Results) -> list[str]:
    first = r.arms[0].measures
    s = first.surface_dice
    told = [
        "Dice of a class is twice the pixels that truth and prediction share, divided by the sum of both; IoU is the "
        "shared pixels over those of either.",
        "A class in neither truth nor prediction has no Dice and no IoU and is left out of a mean; in one of the two "
        "alone it has 0.",
        "Macro scores are means over classes; micro scores count the pixels of all classes together, so that micro "
        "Dice is the accuracy, the share of pixels that are right.",
        "Balanced accuracy is the mean recall over the classes that the truth holds.",
        f"Scores are given pooled over the pixels of all ROIs, and as means over patients, over ROIs and over squares "
        f"of {first.per_image.side_px} pixels.",
        f"Surface Dice is the share of the borders of truth and prediction within {s.tolerance_um:g} µm of each other "
        "[@nikolov]; HD95 is the larger of the 95th percentiles of the distances from either border to the other; both "
        "are means over ROIs.",
        "A class without a border in either map is left out of both; with a border in one map alone its surface Dice "
        "is 0 and it is left out of HD95.",
    ]
    if first.calibration:
        bins = len(first.calibration.pixels)
        told.append(f"The expected calibration error [@guo] is over {bins} bins of equal width.")
    return told


def _statistics(r: Results) -> list[str]:
    if not r.comparisons:
        return []
    c, margin, what = r.comparisons[0], points(r.margin), "effects" if r.design else "networks compared"
    several = len(r.effects_on() if r.design else r.compared()) > 1
    tested = next((x.tests for x in r.comparisons if x.tests), None)
    told = [
        f"Differences are paired by patient, with {100 * c.confidence:g}% jackknife-t intervals over "
        f"{count(c.patients, 'patient')}"
        + (
            f" and the runs of {len(r.seeds)} seeds in each of {count(len(r.folds), 'fold')}, as crossed random "
            "effects [@dorfman]."
            if len(r.seeds) > 1
            else "; with one seed they do not cover the variation from training to training."
        ),
        "Pooled macro Dice is the primary score.",
        f"Within each score p-values of no difference are adjusted over the {what} by Holm's method [@holm]."
        if several
        else "",
        f"Equivalence is concluded where the whole interval lies within ±{margin}, which is two one-sided tests "
        f"[@schuirmann] at {50 * (1 - c.confidence):g}%, not adjusted; a large p alone is never taken for no "
        "difference.",
    ]
    if tested:
        more = [
            "Wilcoxon's signed-rank test [@wilcoxon]" if tested.wilcoxon_p is not None else "",
            "a permutation test [@phipson]" if tested.permutation_p is not None else "",
            "p-values by Benjamini and Hochberg [@benjamini]" if tested.benjamini_hochberg_p is not None else "",
            f"the Bayesian signed-rank test with a region of practical equivalence of ±{margin} [@benavoli]"
            if tested.better is not None else "",
        ]  # fmt: skip
        if any(more):
            told.append(f"For per-patient scores the tables also hold {listed([m for m in more if m])}.")
    if r.ranks:
        told.append(
            f"All networks were ranked within {count(r.ranks.patients, 'patient')} by macro Dice and compared by "
            "Friedman's test [@friedman], its p by permutations within patients, and the critical difference of "
            "Nemenyi [@demsar]."
        )
    return told


def _software(r: Results) -> list[str]:
    names = {"torch": "PyTorch", "numpy": "NumPy", "python": "Python", "pillow": "Pillow", "scipy": "SciPy"}
    others = [f"{names.get(k, k)} {v}" for k, v in r.versions.items() if k not in ("ushape", "code")]
    using = f" with {listed(others)}" if others else ""
    code = f" (code {r.versions['code']})" if "code" in r.versions else ""
    made_with = r.versions.get("ushape", r.ushape)
    reported = f"; results were put together with ushape {r.ushape}" if made_with != r.ushape else ""
    return [f"The study was made with ushape {made_with}{code}{using}{reported}."]


def _codes(codes: list[int]) -> str:
    return f"code{'' if len(codes) == 1 else 's'} {', '.join(map(str, codes))}"


def _sizes(r: Results, part: str) -> str:
    n = sorted({len(getattr(fold, part)) for fold in r.folds})
    return count(n[0], "patient") if len(n) == 1 else f"{n[0]} to {n[-1]} patients"
