"""Every table of a report as rows of text, made once for all formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ushape.report.numbers import NONE, bounds, fixed, p_value, percent
from ushape.report.results import AGGREGATIONS, METRICS, Arm, Comparison, Effect, Results, Score, Search
from ushape.report.verdicts import AGGREGATION, METRIC, label, word


@dataclass(frozen=True)
class Sheet:
    """`rows` of one text for each of `heads`; the first `names` columns are words, the others numbers.

    `key` names the file and the anchor; a row whose first text is empty goes on with that of the row above.
    """

    key: str
    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str
    names: int = 1

    @property
    def spans(self) -> list[int]:
        """Of each row the rows that its first text stands for; 0 where it goes on with that above."""
        starts = [i for i, row in enumerate(self.rows) if row[0]] + [len(self.rows)]
        ends = dict(pairwise(starts))
        return [ends.get(i, i) - i for i in range(len(self.rows))]


def sheets(results: Results) -> list[Sheet]:
    """All tables in the order of a report; those without rows are left out."""
    made = [
        fairness(results), searches(results), overall(results), by_class(results, "dice"), by_class(results, "iou"),
        boundaries(results), differences(results), effects(results), tests(results),
    ]  # fmt: skip
    return [sheet for sheet in made if sheet.rows]


def counted(arm: Arm) -> list[tuple[str, str, Score]]:
    """The aggregations of an arm: (key, words, score)."""
    s, image = arm.scores, arm.measures.per_image
    return [
        ("pooled", "pooled", s.pooled), ("per_patient", "mean of patients", s.per_patient),
        ("per_roi", "mean of ROIs", s.per_roi), ("per_image", f"mean of {image.side_px} px squares", image),
    ]  # fmt: skip


def overall(results: Results) -> Sheet:
    heads = [
        "Arm",
        "Counted",
        "Dice, macro",
        "Dice, micro",
        "IoU, macro",
        "IoU, micro",
        "Accuracy",
        "Balanced accuracy",
    ]
    rows = []
    for arm in results.arms:
        for i, (_, words, s) in enumerate(counted(arm)):
            values = (s.macro_dice, s.micro_dice, s.macro_iou, s.micro_iou, s.accuracy, s.balanced_accuracy)
            rows.append([arm.name if i == 0 else "", words, *map(percent, values)])
    note = (
        "In percent. Macro: mean over classes; a class in neither truth nor prediction has no score and is left out, "
        "in one of the two alone it has 0. Micro: pixels of all classes together, so that micro Dice is the accuracy. "
        "Balanced accuracy: mean recall over the classes that the truth holds."
    )
    return Sheet("scores", "Overall scores", heads, rows, note, 2)


def by_class(results: Results, kind: str) -> Sheet:
    """Dice or IoU of each class."""
    rows = []
    for arm in results.arms:
        for i, (_, words, s) in enumerate(counted(arm)):
            each = s.dice if kind == "dice" else s.iou
            rows.append([arm.name if i == 0 else "", words, *(percent(each.get(c)) for c in results.grouping.classes)])
    name = "Dice" if kind == "dice" else "IoU"
    note = "In percent. A class is left out where neither truth nor prediction has it."
    return Sheet(
        f"{kind}-by-class", f"{name} of each class", ["Arm", "Counted", *results.grouping.classes], rows, note, 2
    )


def boundaries(results: Results) -> Sheet:
    classes = results.grouping.classes
    rows = []
    for arm in results.arms:
        surface, far = arm.measures.surface_dice, arm.measures.hausdorff95_um
        near = [percent(v) for v in (surface.macro, *(surface.classes.get(c) for c in classes))]
        rows.append([arm.name, "surface Dice, %", *near])
        rows.append(["", "HD95, µm", *(fixed(v) for v in (far.macro, *(far.classes.get(c) for c in classes)))])
    note = (
        f"Surface Dice: share of the borders of truth and prediction within "
        f"{results.arms[0].measures.surface_dice.tolerance_um:g} µm of each other. HD95: the larger of the 95th "
        "percentiles of the distances from either border to the other; lower is better. Means over ROIs. A class "
        "without a border in either map is left out; with one in a single map its surface Dice is 0 and it is left out "
        "of HD95: read the two together."
    )
    return Sheet("borders", "Borders", ["Arm", "Measure", "macro", *classes], rows, note, 2)


def fairness(results: Results) -> Sheet:
    """What each arm got."""
    t = results.tuning
    heads = ["Arm", "Parameters", "GFLOPs", "Runs", "Steps a run", "Learning rate"]
    heads += ["Trials a fold"] if t else []
    starts = [results.began(arm) for arm in results.arms]
    unlike = len({*starts}) > 1
    heads += ["Begins from"] if unlike else []
    rows = []
    for arm, start in zip(results.arms, starts, strict=True):
        runs = [c for c in results.curves if c.arm == arm.name]
        found = t.arms[arm.name] if t else []
        row = [arm.name, f"{arm.parameters:,}", fixed(arm.flops / 1e9, 2)]
        row += [str(len(runs)), _range([c.step[-1] for c in runs if c.step], ",")]
        own = results.setting(arm, "rate")
        rates = [s.chosen for s in found] if t and t.key == "rate" else [own]
        row += [_range([r for r in rates if r is not None], "g")]
        row += [_range([len(s.trials) for s in found], ",")] if t else []
        row += [start] if unlike else []
        rows.append([*row, fixed(arm.train_minutes)])
    note = "Training time is the sum over all runs. GFLOPs are those for an image of 256 × 256 px."
    return Sheet("arms", "What each arm got", [*heads, "Training, min"], rows, note)


def searches(results: Results) -> Sheet:
    """What the search of each arm found in each fold."""
    t = results.tuning
    rows = []
    for arm in results.arms if t else []:
        for i, s in enumerate(t.arms[arm.name] if t else []):
            rows.append([arm.name if i == 0 else "", str(s.fold), f"{s.chosen:.3g}", *_trials(s, t.key if t else "")])
    heads = ["Arm", "Fold", "Chosen", "Trials", "Stopped early", "From", "To"]
    key = ("learning rate" if t.key == "rate" else t.key) if t else ""
    note = f"Searched: {key}, by macro Dice on validation patients alone. From, to: the values tried."
    return Sheet("tuning", "Search for the " + key, heads, rows, note)


def _trials(s: Search, key: str) -> list[str]:
    tried = [float(trial[key]) for trial in s.trials if key in trial]
    ends = [f"{min(tried):.3g}", f"{max(tried):.3g}"] if tried else [NONE, NONE]
    return [str(len(s.trials)), str(sum(bool(trial.get("pruned")) for trial in s.trials)), *ends]


def differences(results: Results) -> Sheet:
    every = [c for m, a in _kinds() for c in results.compared(m, a)]
    title, rows = f"Differences to {results.arms[0].name}", _estimates(every, results.margin)
    return Sheet("comparisons", title, ["Arm", *_HEADS], rows, _NOTE, 2)


def effects(results: Results) -> Sheet:
    every = [e for m, a in _kinds() for e in results.effects_on(m, a)]
    return Sheet("effects", "Effects", ["Effect", *_HEADS], _estimates(every, results.margin), _NOTE, 2)


_HEADS = ["Score", "Difference", "From", "To", "p (Holm)", "p (equivalence)", "Verdict"]
_NOTE = (
    "Differences in points with the ends of their intervals. p (Holm): of no difference, adjusted within each score. p "
    "(equivalence): of a difference beyond the margin, not adjusted; it is told as no difference below .025."
)


def _estimates(every: Sequence[Comparison | Effect], margin: float) -> list[list[str]]:
    rows = []
    for e in every:
        of = f"{METRIC[e.metric]}, {AGGREGATION[e.aggregation]}"
        rows.append([label(e), of, *bounds(e, margin), p_value(e.p_holm), p_value(e.p_equivalence), word(e)])
    return rows


def tests(results: Results) -> Sheet:
    """Other tests of per-patient scores, for those who ask for them."""
    heads = ["Arm", "Score", "Wilcoxon p", "Permutation p", "Benjamini-Hochberg p", "Better", "Same", "Worse"]
    rows = []
    for metric in METRICS:
        for c in results.compared(metric, "per_patient"):
            if t := c.tests:
                p = map(p_value, (t.wilcoxon_p, t.permutation_p, t.benjamini_hochberg_p))
                chance = (percent(v, 0) for v in (t.better, t.same, t.worse))
                rows.append([c.arm, METRIC[metric], *p, *chance])
    note = (
        "On the differences of patients. Wilcoxon and permutation: one arm against the first, not adjusted for "
        "several. Better, same, worse: probabilities in percent by the Bayesian signed-rank test, the same being "
        "within the margin. These leave out the luck of a training run. Benjamini-Hochberg adjusts the p of the "
        "intervals, over all arms."
    )
    return Sheet("tests", "Other tests, over patients", heads, rows, note, 2)


def regions(results: Results, names: list[str]) -> Sheet:
    """Accuracy and macro Dice of ROIs; arms by letters, so that many fit."""
    letters = [_letter(i) for i in range(len(results.arms))]
    heads = ["ROI", "Patient", *(f"{x} {m}" for m in ("accuracy", "Dice") for x in letters)]
    rows = []
    for name in names:
        roi = results.rois[name]
        each = [roi.arms[a.name] for a in results.arms]
        rows.append([name, roi.patient, *(percent(a.accuracy) for a in each), *(percent(a.macro_dice) for a in each)])
    told = "; ".join(f"{x}: {a.name}" for x, a in zip(letters, results.arms, strict=True))
    note = f"In percent; the ROIs on which the arms disagree most come first. {told}."
    return Sheet("rois", "Every ROI", heads, rows, note, 2)


def _letter(i: int) -> str:
    return chr(65 + i % 26) * (i // 26 + 1)


def _kinds() -> list[tuple[str, str]]:
    return [(m, a) for a in AGGREGATIONS for m in METRICS]


def _range(values: Sequence[float], form: str) -> str:
    """'800', or '0.001 to 0.004'; in whole numbers with form ','."""
    if not values:
        return NONE
    low, high = (f"{v:,}" if form == "," else f"{v:.3g}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
