"""Numbers and sentences: how a report says what the results hold, and no more than they hold."""

from __future__ import annotations

from pathlib import PurePath

from ushape.report.results import Comparison, Effect, Results

NONE = "–"
"""Stands for a score that does not exist."""

METRIC = {"macro_dice": "macro Dice", "accuracy": "accuracy"}
AGGREGATION = {"pooled": "pooled", "per_patient": "per-patient"}


def percent(share: float | None, digits: int = 1) -> str:
    """0.714 -> '71.4'."""
    return NONE if share is None else f"{100 * share:.{digits}f}"


def signed(share: float, digits: int = 1, plus: bool = True) -> str:
    """0.021 -> '+2.1', -0.004 -> '−0.4'; what rounds to zero has no sign."""
    text = f"{100 * share:+.{digits}f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", "−") if plus or text[0] == "-" else text[1:]


def interval(c: Comparison | Effect) -> tuple[str, str]:
    """Difference and interval in points: ('+2.1', '[0.6, 3.7]').

    Digits are added until no bound is rounded to zero: on which side of zero it lies is what people read.
    """
    if c.difference is None or c.low is None or c.high is None:
        return NONE, ""
    bounds = [b for b in (c.low, c.high) if b != 0]
    digits = next((d for d in (1, 2) if all(round(100 * b, d) for b in bounds)), 3)
    low, high = signed(c.low, digits, plus=False), signed(c.high, digits, plus=False)
    return signed(c.difference, digits), f"[{low}, {high}]"


def side(c: Comparison | Effect) -> int:
    """1: the whole interval lies above zero; -1: below; 0: it includes zero, or there is none."""
    if c.low is None or c.high is None:
        return 0
    return 1 if c.low > 0 else -1 if c.high < 0 else 0


def verdict(c: Comparison) -> tuple[str, str, str, str, str]:
    """One sentence in five pieces, so that a page can set the names (2nd and 4th) apart."""
    difference, bounds = interval(c)
    score = f"points of {AGGREGATION[c.aggregation]} {METRIC[c.metric]}"
    over = f"({100 * c.confidence:g}% interval over {count(c.patients, 'patient')}{adjusted(c.p_holm)})."
    if not bounds:
        return "", c.arm, " could not be compared with ", c.baseline, ": a score is missing."
    if side(c) > 0:
        return "", c.arm, " beats ", c.baseline, f" by {difference.lstrip('+')} {score} {bounds} {over}"
    if side(c) < 0:
        return "", c.arm, " loses to ", c.baseline, f": {difference} {score} {bounds} {over}"
    start = "No difference could be shown between "
    return start, c.arm, " and ", c.baseline, f": {difference} {score} {bounds} {over}"


def label(c: Comparison | Effect) -> str:
    """What a row of a forest plot is about; an effect with all that the design cannot tell from it."""
    return c.arm if isinstance(c, Comparison) else " ".join([c.effect, *c.aliases])


def effect(c: Effect) -> tuple[str, str, str, str, str]:
    """One sentence on a main effect or an interaction, in the five pieces of `verdict`."""
    difference, bounds = interval(c)
    score = f"points of {AGGREGATION[c.aggregation]} {METRIC[c.metric]}"
    over = f"({100 * c.confidence:g}% interval over {count(c.patients, 'patient')}{adjusted(c.p_holm)})."
    if not bounds:
        return "", label(c), " could not be estimated", "", ": a score is missing."
    if side(c):
        does = " helps" if side(c) > 0 else " harms"
        return "", label(c), does, "", f": {difference} {score} {bounds} {over}"
    return "No effect could be shown of ", label(c), "", "", f": {difference} {score} {bounds} {over}"


def adjusted(p: float | None) -> str:
    """', p = .008 after Holm'."""
    if p is None:
        return ""
    shown = f"{p:.3f}"
    told = "< .001" if p < 0.001 else "= 1" if shown == "1.000" else f"= {shown.lstrip('0')}"
    return f", p {told} after Holm"


def caution(results: Results) -> str:
    """What stands right below the verdicts of a study of one seed; empty for several."""
    if len(results.seeds) > 1 or len(results.arms) < 2:
        return ""
    return (
        "One seed: this compares these trained networks. Whether the modification makes the difference, or the luck of "
        "its initialisation and crops, takes several seeds to tell."
    )


def design(results: Results) -> list[str]:
    """Sentences on the design of an ablation: how to read its effects, and what it cannot tell apart."""
    found = results.design
    if found is None:
        return []
    means = {
        "one-at-a-time": "Each effect is the score of the base with one change, less that of the base.",
        "leave-one-out": "Each effect is the score with all changes, less that with all but one.",
        "full": "Each main effect is the mean score of the arms with the change, less that of the arms without it.",
    }
    told = [means.get(found.kind, means["full"])]
    if found.kind in ("full", "fractional"):
        told.append("An interaction (a x b) is half of what the effect of one gains by the presence of the other.")
    if found.resolution:
        mixed = "; ".join(found.words)
        told.append(
            f"A fraction of resolution {found.resolution} (defining relation {mixed}): effects that stand together on "
            "one line cannot be told apart; what is shown is their sum."
        )
    return told


def question(results: Results) -> str:
    """The title of the report."""
    first, *others = [a.name for a in results.arms]
    data = PurePath(results.data.folder).name or results.data.folder
    if results.design:
        return f"What do {', '.join(results.design.factors)} add on {data}?"
    if not others:
        return f"How well does {first} do on {data}?"
    if len(others) <= 2:
        return f"Does {' or '.join(others)} beat {first} on {data}?"
    return f"Does any of {len(others)} arms beat {first} on {data}?"


def count(n: int, noun: str) -> str:
    """'1 patient', '10 patients', '1,200 steps'."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def absences(results: Results) -> list[str]:
    """A sentence for each class that some ROIs have in neither mask nor prediction."""
    notes = []
    over = f"of {count(results.data.rois, 'ROI')}"
    if len(results.seeds) > 1:
        over = f"of {results.data.rois * len(results.seeds):,} predictions ({over[3:]} x {len(results.seeds)} seeds)"
    for name in results.grouping.classes:
        times = {arm.name: arm.absent.get(name, 0) for arm in results.arms}
        if not any(times.values()):
            continue
        start = f"{name} was in neither mask nor prediction in "
        if len(set(times.values())) == 1:
            told = f"{next(iter(times.values()))} {over}"
        else:
            told = "; ".join(f"{n} ({arm})" for arm, n in times.items()) + f" {over}"
        notes.append(f"{start}{told}: it has no Dice there and is left out of those means.")
    return notes


def limits(results: Results) -> list[str]:
    """What the intervals cannot tell."""
    if not results.comparisons:
        return ["One arm alone: nothing was compared."]
    patients, arms = results.comparisons[0].patients, len(results.arms) - 1
    told = [
        f"The interval covers the luck of which {count(patients, 'patient')} were drawn, from one cohort, and "
        "says nothing of other scanners, stains or annotators."
    ]
    if patients < 20:
        told.append("With fewer than about 20 patients its width is itself uncertain.")
    if len(results.seeds) == 1:
        told.append(caution(results))
    else:
        told.append(f"{len(results.seeds)} seeds show only roughly how much a run varies by itself.")
    if arms > 1:
        told.append(
            f"Each interval stands alone: none is widened because {arms} arms were compared. The p-values are: Holm's "
            "adjustment keeps the chance of any false finding among them at the level that one alone would have."
        )
    return told
