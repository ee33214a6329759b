"""Sentences around the numbers: the question, how to read a design, what was absent, what cannot be told."""

from __future__ import annotations

from pathlib import PurePath

from ushape.report.numbers import count, listed, points, signed
from ushape.report.results import Effect, Results
from ushape.report.verdicts import caution


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


def crossing(main: Effect, crossed: Effect, first: str, second: str, margin: float) -> str:
    """What `first` adds with `second` and without it, from the main effect of the first and their interaction.

    The two differ by twice the interaction: only where that is within the margin, they are called the same.
    """
    if main.difference is None or crossed.difference is None or crossed.low is None or crossed.high is None:
        return "A score is missing."
    without, with_ = main.difference - crossed.difference, main.difference + crossed.difference
    adds = f"{first}: {signed(without)} points without {second}, {signed(with_)} with it"
    apart = 2 * max(abs(crossed.low), abs(crossed.high))
    if crossed.verdict == "equivalent" and apart >= margin:
        return f"{adds}; these two differ by less than {points(2 * margin)}."
    return f"{adds}; {_apart[crossed.verdict]}."


_apart = {
    "better": "more together than apart",
    "worse": "less together than apart",
    "equivalent": "the same, as far as it matters",
    "unresolved": "whether these two differ is too uncertain to say",
}


def absences(results: Results) -> list[str]:
    """A sentence for each class that some ROIs have in neither mask nor prediction."""
    notes = []
    over = f"of {count(len(results.rois), 'ROI')}"
    if len(results.seeds) > 1:
        over = f"of {len(results.rois) * len(results.seeds):,} predictions ({over[3:]} x {len(results.seeds)} seeds)"
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
    """What the intervals cannot tell, and what the data's checks found."""
    found = list(results.limits_of_data)
    if not results.comparisons:
        return ["One arm alone: nothing was compared.", *found]
    patients, arms = results.comparisons[0].patients, len(results.arms) - 1
    told = [
        f"The interval covers the luck of which {count(patients, 'patient')} were tested, from one cohort. It says "
        "nothing of other scanners, stains or annotators, nor of networks that learn from other patients than these "
        "folds gave them.",
        "An arm that was itself chosen by scores of these patients has too good a score: confirm it on others.",
    ]
    if patients < 20:
        told.append("With fewer than about 20 patients its width is itself uncertain.")
    if len(results.seeds) == 1:
        told.append(caution(results))
    else:
        told.append(f"{len(results.seeds)} seeds show only roughly how much a run varies by itself.")
    if arms > 1:
        what = "effects" if results.design else "comparisons"
        told.append(
            f"Each interval stands alone: none is widened because {arms} arms were compared. The p-values of no "
            f"difference are adjusted: within one score, Holm's method keeps the chance of any false finding among all "
            f"{what} at the level that one alone would have. Over several scores that chance adds up, and p of "
            "equivalence is not adjusted: what pooled macro Dice says is the study's answer, other scores are hints."
        )
    told += _shared(results)
    if results.tuning:
        told.append("The luck of the search for a learning rate, one for each arm and fold, is in no interval.")
    told.append(f"“No difference” means none larger than {points(results.margin)}, not none at all.")
    if results.ranks:
        told.append("Ranks and the tests on patients take the trained networks as they are: luck of a run counts.")
    return told + found


def _shared(results: Results) -> list[str]:
    """A sentence where runs learn from, or begin with, networks of other trainings."""
    taught = any(results.setting(arm, "teacher") not in (None, "none") for arm in results.arms)
    began = any(results.began(arm) == "an earlier training" for arm in results.arms)
    who = ["teachers"] * taught + ["the weights that arms began with"] * began
    if not who:
        return []
    return [f"All seeds of a fold share {listed(who)}: their luck is in no interval, their training in no time."]
