"""What a study found, in plain words: as much as verdict, interval and Holm's p allow, and no more.

A sentence is a tuple of pieces of which every second one is a name (of an arm or a modification), so that each format
can set names apart in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ushape.report.numbers import bounds, count, interval, listed, p_told, percent, points, side
from ushape.report.results import Comparison, Effect, Estimate, Results

Said = tuple[str, ...]

METRIC = {"macro_dice": "macro Dice", "accuracy": "accuracy"}
AGGREGATION = {"pooled": "pooled", "per_patient": "per-patient"}
_WORDS = {
    "comparison": {"better": "better", "worse": "worse"},
    "effect": {"better": "helps", "worse": "harms"},
    "interaction": {"better": "more together", "worse": "less together"},
}

MOST, FEW = 4, 2
"""With more verdicts (interactions) than this the top of a report names them in groups, not in a sentence each."""


@dataclass(frozen=True)
class Headline:
    verdict: str
    said: Said


def headlines(results: Results) -> list[Headline]:
    """The top of a report: a sentence for each arm, or main effect of an ablation; of many, one for each verdict."""
    margin = results.margin
    if not results.design:
        return _told(results.compared(), margin)
    every = results.effects_on()
    main, crossed = [e for e in every if not _crossed(e)], [e for e in every if _crossed(e)]
    sure = [e for e in crossed if _told_apart(e)]
    return (
        _told(main, margin)
        + _told(sure, margin, FEW)
        + _others([e for e in crossed if e not in sure], margin, bool(sure))
    )


def _told(found: Sequence[Comparison | Effect], margin: float, most: int = MOST) -> list[Headline]:
    """A sentence for each of up to `most`; of more, one for each verdict that names them all."""
    if len(found) <= most:
        return [Headline(e.verdict, sentence(e, margin)) for e in found]
    first = found[0]
    starts = {verdict: word(first, verdict).capitalize() for verdict in ("better", "worse")}
    against = ""
    if isinstance(first, Comparison):
        starts, against = {v: f"{w} than {first.baseline}" for v, w in starts.items()}, f" to {first.baseline}"
    starts["equivalent"] = f"No difference{against}, within ±{points(margin)}"
    starts["unresolved"] = "Too uncertain to say"
    made = []
    for verdict, start in starts.items():
        group = [e for e in found if e.verdict == verdict]
        pieces = [f"{start} ({len(group)} of {len(found)}, points of {score(first)}): "]
        for i, e in enumerate(group):
            pieces += [label(e), f" {' '.join(interval(e, margin))}{'.' if i == len(group) - 1 else ', '}"]
        if group:
            made.append(Headline(verdict, tuple(pieces)))
    return made


def _others(rest: list[Effect], margin: float, more: bool) -> list[Headline]:
    """The interactions that are not told apart from zero, of many only how many; `more`: others are."""
    if len(rest) <= FEW:
        return _told(rest, margin)
    unsure = sum(e.verdict == "unresolved" for e in rest)
    told = [f"{len(rest) - unsure} without a difference that matters"] if unsure < len(rest) else []
    told += [f"{unsure} too uncertain to say"] if unsure else []
    noun = f"{'other ' if more else ''}two-way interaction"
    said = f"{count(len(rest), noun)}: {listed(told)}."
    return [Headline("unresolved" if unsure else "equivalent", (said,))]


def sentence(e: Comparison | Effect, margin: float) -> Said:
    """One sentence on a comparison or an effect."""
    name, other = label(e), e.baseline if isinstance(e, Comparison) else ""
    difference, range_ = interval(e, margin)
    if not range_:
        missing = ": a score is missing."
        return ("", name, " could not be compared with ", other, missing) if other else ("", name, missing)
    shown, of, p = f"points of {score(e)} {range_}", score(e), f", {p_told(e.p_holm)} after Holm"
    if e.verdict == "equivalent":
        rest = f", within ±{points(margin)} of {of} ({difference} {range_})."
        return ("", name, ": no difference to ", other, rest) if other else ("", name, f": no difference{rest}")
    if e.verdict == "unresolved":
        _, low, high = bounds(e, margin)
        between = f"between {_plus(low)} and {_plus(high)} points of {of}"
        rest = f": too uncertain to say: {between}."
        if side(e):
            rest = f": too uncertain to say once all comparisons are allowed for: {difference} {shown}{p}."
        return ("", name, " against ", other, rest) if other else ("", name, rest)
    better, size = e.verdict == "better", difference.lstrip("+−")
    if other:
        if better:
            return "", name, " beats ", other, f" by {size} {shown}{p}."
        return "", name, " loses to ", other, f" by {size} {shown}{p}."
    if _crossed(e):
        more = "more" if better else "less"
        return "", name, f": each does {more} where the other is: {difference} {shown}{p}."
    return "", name, f" {'helps' if better else 'harms'} by {size} {shown}{p}."


def score(e: Estimate) -> str:
    """'pooled macro Dice'."""
    return f"{AGGREGATION[e.aggregation]} {METRIC[e.metric]}"


def label(e: Comparison | Effect) -> str:
    """What a row is about; an effect with all that the design cannot tell from it."""
    return e.arm if isinstance(e, Comparison) else " ".join([e.effect, *e.aliases])


def word(e: Comparison | Effect, verdict: str = "") -> str:
    """A verdict (that of `e`, or another) in one or two words."""
    told = verdict or e.verdict
    if told in ("equivalent", "unresolved"):
        return "no difference" if told == "equivalent" else "undecided"
    return _WORDS["comparison" if isinstance(e, Comparison) else "interaction" if _crossed(e) else "effect"][told]


def _crossed(e: Comparison | Effect) -> bool:
    """Whether it is an interaction."""
    return isinstance(e, Effect) and " x " in e.effect


def alone(results: Results) -> Said:
    """The top of a report of one arm."""
    arm, s = results.arms[0].name, results.arms[0].scores.pooled
    reached = f" reaches a pooled macro Dice of {percent(s.macro_dice)}% and an accuracy of {percent(s.accuracy)}%"
    return "", arm, f"{reached} on test patients. It is the only arm: nothing was compared."


def otherwise(results: Results) -> Said:
    """Which verdicts change when patients count alike, in place of pixels; empty where none does."""
    pooled: Sequence[Comparison | Effect] = results.effects_on() if results.design else results.compared()
    kind = ("macro_dice", "per_patient")
    other: Sequence[Comparison | Effect] = results.effects_on(*kind) if results.design else results.compared(*kind)
    changed = [b for a, b in zip(pooled, other, strict=True) if a.verdict != b.verdict]
    if not changed:
        return ()
    pieces = ["Not so where every patient counts alike (per-patient macro Dice): "]
    for i, e in enumerate(changed):
        end = "." if i == len(changed) - 1 else "; "
        p = f", {p_told(e.p_holm)}" if _told_apart(e) else ""
        pieces += [label(e), f" {word(e)}, {' '.join(interval(e, results.margin))}{p}{end}"]
    return tuple(pieces)


def _told_apart(e: Estimate) -> bool:
    return e.verdict in ("better", "worse")


def legend(results: Results) -> str:
    """How to read the verdicts; empty where there are none."""
    found: list[Estimate] = [*(results.effects_on() if results.design else results.compared())]
    if not found:
        return ""
    seeds = f" and {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    what = "effects" if results.design else "comparisons"
    over = f", over the {len(found)} {what}" if len(found) > 1 else ""
    told = [
        f"Brackets: {100 * found[0].confidence:g}% interval over {count(found[0].patients, 'patient')}{seeds}, paired. "
        f"p: of no difference, adjusted by Holm{over}.",
        f"“No difference” is said only where the whole interval lies within ±{points(results.margin)}, the margin "
        "stated for this study.",
    ]
    if any(e.verdict == "unresolved" for e in found):
        told.append(
            "“Too uncertain to say” claims nothing, neither a difference nor its absence: for a verdict the interval "
            f"would have to leave zero, or fit within ±{points(results.margin)}. That takes more patients or seeds; "
            "“ushape study power” says how many."
        )
    return " ".join(told)


def caution(results: Results) -> str:
    """What stands right below the verdicts of a study of one seed; empty for several."""
    if len(results.seeds) > 1 or len(results.arms) < 2:
        return ""
    return (
        "One seed: this compares these trained networks, and intervals leave out the luck of a training. Whether the "
        "modification makes the difference, or that luck, takes several seeds to tell."
    )


def spread(results: Results) -> list[Said]:
    """Where the uncertainty of each arm's difference comes from, patients or runs; nothing for one seed.

    The error of a mean over P patients in F folds with S seeds has the variance patient/P + seed/FS + rest/PS.
    """
    made: list[Said] = []
    folds, seeds = len(results.folds), len(results.seeds)
    for c in results.compared():
        if c.variance is None:
            continue
        v = c.variance
        parts = {
            "patients": v.patient / c.patients, "runs": v.seed / (folds * seeds), "both": v.rest / (c.patients * seeds),
        }  # fmt: skip
        whole = sum(parts.values())
        if whole <= 0:
            continue
        share = parts["patients"] / whole
        more = "more patients" if share > 0.6 else "more seeds" if parts["runs"] / whole > 0.6 else "more of both"
        told = (
            f": the difference to the first arm varies by {100 * v.patient**0.5:.1f} points from patient to patient, "
            f"by {100 * v.seed**0.5:.1f} from run to run (another seed or fold), by {100 * v.rest**0.5:.1f} for other "
            f"reasons (standard deviations). Patients make up {100 * share:.0f}% of the uncertainty of its mean, runs "
            f"{100 * parts['runs'] / whole:.0f}%: {more} would narrow the interval most."
        )
        made.append(("", c.arm, told))
    return made


def chances(results: Results) -> list[tuple[Comparison, Said]]:
    """Probabilities that each arm is better, the same, worse; only where they could be computed."""
    made: list[tuple[Comparison, Said]] = []
    for c in results.compared("macro_dice", "per_patient"):
        t = c.tests
        if t is None or t.better is None or t.same is None or t.worse is None:
            continue
        told = [f"better {_chance(t.better)}", f"the same within ±{points(results.margin)} {_chance(t.same)}"]
        made.append((c, ("", c.arm, f": {listed([*told, f'worse {_chance(t.worse)}'])}.")))
    return made


def _chance(probability: float) -> str:
    return "> 99%" if probability > 0.995 else "< 1%" if probability < 0.005 else f"{100 * probability:.0f}%"


def _plus(number: str) -> str:
    return number if number[0] == "−" or not number.strip("0.") else f"+{number}"
