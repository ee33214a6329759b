"""What a study found, in plain words: as much as verdict, interval and Holm's p allow, and no more.

A sentence is a tuple of pieces of which every second one is a name (of an arm or a modification), so that each format
can set names apart in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass

from ushape.report.numbers import bounds, count, interval, listed, p_told, points, side
from ushape.report.results import Comparison, Effect, Estimate, Results

Said = tuple[str, ...]

METRIC = {"macro_dice": "macro Dice", "accuracy": "accuracy"}
AGGREGATION = {"pooled": "pooled", "per_patient": "per-patient"}
TOLD = {"better": "better", "worse": "worse", "equivalent": "no difference", "unresolved": "undecided"}
"""A verdict in one or two words, for tables."""

MOST = 4
"""With more verdicts than this the top of a report names arms in groups, not in a sentence each."""


@dataclass(frozen=True)
class Headline:
    verdict: str
    said: Said


def headlines(results: Results) -> list[Headline]:
    """The top of a report: a sentence for each arm, or main effect of an ablation; of many, one for each verdict."""
    if results.design:
        every = results.effects_on()
        main = [e for e in every if e.effect in results.design.factors]
        crossed = [e for e in every if e.effect not in results.design.factors]
        return _told(list(main), results.margin) + _interactions(crossed, results.margin)
    return _told(list(results.compared()), results.margin)


def _told(found: list[Comparison | Effect], margin: float) -> list[Headline]:
    if len(found) <= MOST:
        return [Headline(e.verdict, sentence(e, margin)) for e in found]
    first = found[0]
    against = f" {first.baseline}" if isinstance(first, Comparison) else ""
    starts = {
        "better": f"Better than{against}" if against else "Helps",
        "worse": f"Worse than{against}" if against else "Harms",
        "equivalent": f"No difference{' to' + against if against else ''}, within ±{points(margin)}",
        "unresolved": "Too uncertain to say",
    }
    made = []
    for verdict, start in starts.items():
        group = [e for e in found if e.verdict == verdict]
        pieces = [f"{start} ({len(group)} of {len(found)}, {score(first)}): "]
        for i, e in enumerate(group):
            end = "." if i == len(group) - 1 else ", "
            pieces += [label(e), f" {' '.join(interval(e))}{end}"]
        if group:
            made.append(Headline(verdict, tuple(pieces)))
    return made


def _interactions(crossed: list[Effect], margin: float) -> list[Headline]:
    """Those that are told apart from zero in a sentence each; the others counted."""
    made = [Headline(e.verdict, sentence(e, margin)) for e in crossed if e.verdict in ("better", "worse")]
    rest = [e for e in crossed if e.verdict not in ("better", "worse")]
    open_ = [e for e in rest if e.verdict == "unresolved"]
    if rest:
        told = []
        if len(open_) < len(rest):
            told.append(f"{len(rest) - len(open_)} no difference, within ±{points(margin)}")
        if open_:
            told.append(f"{len(open_)} too uncertain to say")
        noun = "interaction" if len(rest) == 1 else "interactions"
        other = "other " if made else ""
        said = (f"{len(rest)} {other}two-way {noun} of {score(rest[0])}: {', '.join(told)}.",)
        made.append(Headline("unresolved" if open_ else "equivalent", said))
    return made


def sentence(e: Comparison | Effect, margin: float) -> Said:
    """One sentence on a comparison or an effect."""
    name, other = label(e), e.baseline if isinstance(e, Comparison) else ""
    difference, range_ = interval(e)
    if not range_:
        missing = ": a score is missing."
        return ("", name, " could not be compared with ", other, missing) if other else ("", name, missing)
    shown, of, p = f"points of {score(e)} {range_}", score(e), f", {p_told(e.p_holm)} after Holm"
    if e.verdict == "equivalent":
        rest = f", within ±{points(margin)} of {of} ({difference} {range_})."
        return ("", name, ": no difference to ", other, rest) if other else ("", name, f": no difference{rest}")
    if e.verdict == "unresolved":
        _, low, high = bounds(e)
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
    if " x " in name:
        more = "more" if better else "less"
        return "", name, f": each does {more} where the other is: {difference} {shown}{p}."
    return "", name, f" {'helps' if better else 'harms'} by {size} {shown}{p}."


def score(e: Estimate) -> str:
    """'pooled macro Dice'."""
    return f"{AGGREGATION[e.aggregation]} {METRIC[e.metric]}"


def label(e: Comparison | Effect) -> str:
    """What a row is about; an effect with all that the design cannot tell from it."""
    return e.arm if isinstance(e, Comparison) else " ".join([e.effect, *e.aliases])


def alone(results: Results) -> Said:
    """The top of a report of one arm."""
    from ushape.report.numbers import percent

    arm, s = results.arms[0].name, results.arms[0].scores.pooled
    reached = f" reaches a pooled macro Dice of {percent(s.macro_dice)}% and an accuracy of {percent(s.accuracy)}%"
    return "", arm, f"{reached} on test patients. It is the only arm: nothing was compared."


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
            "`ushape study power` says how many."
        )
    return " ".join(told)


def caution(results: Results) -> str:
    """What stands right below the verdicts of a study of one seed; empty for several."""
    if len(results.seeds) > 1 or len(results.arms) < 2:
        return ""
    return (
        "One seed: this compares these trained networks. Whether the modification makes the difference, or the luck of "
        "its initialisation and crops, takes several seeds to tell."
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
