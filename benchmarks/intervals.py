"""How often intervals hold and tests err, over simulated studies: `python benchmarks/intervals.py`, results/.

    intervals.csv  for each design, the share of studies whose 95% interval holds the truth, and on which side it misses
    tests.csv      false findings among five arms, false equivalence, power foretold and seen
    speed          printed: 10,000 resamples of 20 arms over 151 patients and 3 seeds

A simulated study has patients of skewed class mixes (one class in 4 patients of 10 only), some harder than others for
every network; networks that take to some patients more than to others; runs of a network that vary in each class; and
a rest that no effect explains. Its numbers are near those of a U-Net on ten ROIs of BCSS. The truth is the mean over
runs of the score that infinitely many such patients, pooled, would have.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ushape.study.statistics import (
    AGGREGATIONS,
    METRICS,
    Bootstrap,
    benjamini_hochberg,
    bootstrap,
    equivalence,
    holm,
    paired_difference,
    paired_differences,
    patient_differences,
    permutation_p,
    power,
    variance_components,
    wilcoxon_p,
)
from ushape.study.statistics.components import uncertainty
from ushape.study.statistics.evidence import Evidence, gather

Counts = NDArray[np.int64]
Float = NDArray[np.float64]
Limits = tuple[float, float]

PATIENTS = (10, 45, 151)
KINDS = [(metric, aggregation) for aggregation in AGGREGATIONS for metric in METRICS]
MAIN = ("macro_dice", "pooled")
RESAMPLES = 1000

CLASSES = 5
SHARE = np.array([0.42, 0.39, 0.12, 0.03, 0.05])
"""Of each class in all pixels."""
PRESENT = np.array([1.0, 1.0, 0.9, 0.4, 0.9])
"""Share of patients that hold the class at all."""
EASE = np.array([1.2, 0.8, 1.5, 0.3, -0.3])
"""Log odds of a pixel of the class to be right, for a patient as others are."""
MISTAKEN = np.array([[0, 3, 1, 1, 1], [3, 0, 2, 0.5, 1], [1, 3, 0, 0.3, 0.3], [3, 1, 0.5, 0, 1], [2, 3, 0.5, 0.5, 0]])
"""How readily a class (row) is taken for another (column)."""
GAIN = np.array([0.3, 0.3, 0.3, 1.0, 0.3])
"""Log odds that a truly better arm adds."""
LUCK = 0.2
"""Standard deviation of a run's log odds."""


def simulate(
    rng: np.random.Generator,
    patients: int,
    seeds: int,
    *,
    arms: int = 2,
    folds: int = 1,
    gain: Float | None = None,
    luck: float = LUCK,
) -> Counts:
    """Matrices [arms, seeds, patients, classes, classes] of one study, the baseline first; patient i is in fold
    i % folds. `gain` goes to every arm but the baseline."""
    shape = (arms, seeds, patients, CLASSES)
    concentration = np.broadcast_to(8 * SHARE / PRESENT, (patients, CLASSES))
    mass = rng.gamma(concentration) * (rng.random((patients, CLASSES)) < PRESENT)
    size = 5e5 * np.exp(rng.normal(0, 0.4, patients))
    pixels = mass / mass.sum(1, keepdims=True) * size[:, None]  # [P, C]
    odds = EASE + rng.normal(0, 1.0, (patients, CLASSES)) + rng.normal(0, 0.5, (arms, 1, patients, CLASSES))
    odds = odds + rng.normal(0, luck, (arms, seeds, folds, CLASSES))[:, :, np.arange(patients) % folds]
    odds = odds + rng.normal(0, 0.3, shape)
    if gain is not None:
        odds[1:] += gain
    right = 1 / (1 + np.exp(-odds))  # [A, S, P, C]
    blur = rng.normal(0, 0.5, (patients, CLASSES, CLASSES)) + rng.normal(0, 0.3, (arms, 1, patients, CLASSES, CLASSES))
    wrong = MISTAKEN * np.exp(blur)
    shares = wrong / wrong.sum(-1, keepdims=True) * (1 - right)[..., None]
    shares[..., range(CLASSES), range(CLASSES)] = right
    return np.rint(shares * pixels[..., None]).astype(np.int64)


def truths(gain: Float, studies: int = 400) -> dict[tuple[str, str], float]:
    """Differences of each kind over 800,000 patients and 400 runs of either arm, as `gain` makes them."""
    rng = np.random.default_rng(7)
    found: dict[tuple[str, str], list[float]] = {kind: [] for kind in KINDS}
    for _ in range(studies):
        study = simulate(rng, 2000, 1, gain=gain)
        for kind in KINDS:
            found[kind].append(float(np.diff(gather(list(study), *kind).scores()[:, 0])[0]))
    return {kind: float(np.mean(values)) for kind, values in found.items()}


# Intervals that were tried and are not the package's: each from the evidence of (baseline, arm), the arm's difference
# in every resample, and a generator.


def percentile(evidence: Evidence, made: Bootstrap, rng: np.random.Generator) -> Limits:
    return _limits(np.quantile(made.differences()[0], [0.025, 0.975]))


def expanded(evidence: Evidence, made: Bootstrap, rng: np.random.Generator) -> Limits:
    return _limits(made.interval()[0])


def bca(evidence: Evidence, made: Bootstrap, rng: np.random.Generator) -> Limits:
    """Efron 1987: bias from the draws, acceleration from the patients' jackknife."""
    draws, values = made.differences()[0], np.diff(evidence.pseudovalues().mean(1), axis=0)[0]
    centred = values - values.mean()
    acceleration = (centred**3).sum() / 6 / (centred**2).sum() ** 1.5
    below = np.clip((draws < made.observed[1] - made.observed[0]).mean(), 1e-4, 1 - 1e-4)
    bias, z = stats.norm.ppf(below), stats.norm.ppf([0.025, 0.975])
    return _limits(np.quantile(draws, stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))))


def bootstrap_t(evidence: Evidence, made: Bootstrap, rng: np.random.Generator) -> Limits:
    """Patients drawn with replacement and studentised by the infinitesimal jackknife; luck of runs, which a few seeds
    cannot show by resampling, drawn from the normal distribution that their mean square tells."""
    arms, seeds, patients, parts = evidence.parts.shape
    flat = evidence.parts.transpose(2, 0, 1, 3).reshape(patients, -1)
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), RESAMPLES).astype(np.float64)

    def estimate(weights: Float) -> tuple[Float, Float]:
        """Difference and its variance from the patients drawn: [R], [R]."""
        sums = (weights @ flat).reshape(-1, arms, seeds, parts)
        score = evidence.score(sums).mean(2)
        hits, pixels = np.split(sums, 2, -1)
        held = np.divide(1, pixels, out=np.zeros(pixels.shape), where=pixels > 0)
        slope = held / (pixels > 0).sum(-1, keepdims=True) / seeds * np.array([-1, 1])[:, None, None]  # [R, A, S, C]
        slopes = np.concatenate([slope, -slope * hits * held], -1).reshape(len(sums), -1)
        influence = patients * slopes @ flat.T  # [R, P]
        return score[:, 1] - score[:, 0], (weights * influence**2).sum(1) / patients / (patients - 1)

    difference, variance = (each[0] for each in estimate(np.ones((1, patients))))
    runs = uncertainty(np.diff(evidence.pseudovalues(), axis=0)[0], evidence.folds)
    again, variances = estimate(drawn)
    if runs.seed:
        again = again + rng.normal(0, np.sqrt(runs.seed), RESAMPLES)
        variances = variances + runs.seed * rng.chisquare(runs.seed_freedom, RESAMPLES) / runs.seed_freedom
    t = (again - difference)[variances > 0] / np.sqrt(variances[variances > 0])
    high, low = np.quantile(t, [0.025, 0.975])
    return _limits(difference - np.array([low, high]) * np.sqrt(variance + runs.seed))


def satterthwaite(evidence: Evidence, made: Bootstrap, rng: np.random.Generator) -> Limits:
    """Jackknife-t with one t quantile, of Satterthwaite's degrees of freedom, as is usual for readers and cases."""
    found = uncertainty(np.diff(evidence.pseudovalues(), axis=0)[0], evidence.folds)
    freedom = found.patient_freedom
    if found.seed:
        both = found.patient**2 / found.patient_freedom + found.seed**2 / found.seed_freedom
        freedom = found.standard**4 / both
    reach = stats.t.ppf(0.975, freedom) * found.standard
    difference = made.observed[1] - made.observed[0]
    return float(difference - reach), float(difference + reach)


OTHERS: dict[str, Callable[[Evidence, Bootstrap, np.random.Generator], Limits]] = {
    "percentile bootstrap": percentile,
    "expanded percentile bootstrap": expanded,
    "BCa bootstrap": bca,
    "bootstrap-t": bootstrap_t,
    "jackknife-t, Satterthwaite": satterthwaite,
}
OURS = "jackknife-t (the package's)"

DESIGNS: list[dict[str, Any]] = [
    {"folds": 1, "seeds": 3, "luck": LUCK, "gain": None},
    {"folds": 5, "seeds": 3, "luck": LUCK, "gain": None},
    {"folds": 1, "seeds": 1, "luck": 0.0, "gain": None},
    {"folds": 1, "seeds": 3, "luck": LUCK, "gain": GAIN},
    {"folds": 5, "seeds": 2, "luck": LUCK, "gain": GAIN},
    {"folds": 1, "seeds": 2, "luck": LUCK, "gain": None},
    {"folds": 1, "seeds": 1, "luck": LUCK, "gain": None},
]
COMPARED = 3
"""All methods are tried on the first designs, for pooled macro Dice; ours on all, for every kind of score."""


def coverage(studies: int, patients: int, design: dict[str, Any], others: bool, truth: dict[Any, float]) -> Iterator:
    """Rows of intervals.csv for one design."""
    found: dict[tuple[str, tuple[str, str]], list[Limits]] = {}
    rng = np.random.default_rng([patients, design["folds"], design["seeds"], design["gain"] is None])
    folds = np.arange(patients) % design["folds"]
    for number in range(studies):
        baseline, arm = simulate(rng, patients, design["seeds"], **{k: design[k] for k in ("folds", "luck", "gain")})
        for kind in KINDS:
            ours = paired_difference(arm, baseline, *kind, folds=folds)
            found.setdefault((OURS, kind), []).append((ours.low, ours.high))
        if others:
            evidence = gather([baseline, arm], *MAIN, folds)
            made = bootstrap([arm], baseline, *MAIN, folds=folds, resamples=RESAMPLES, seed=number)
            for name, limits in OTHERS.items():
                found.setdefault((name, MAIN), []).append(limits(evidence, made, rng))
    for (name, kind), limits in found.items():
        low, high = np.array(limits).T
        yield {
            "score": f"{kind[0]} {kind[1]}",
            "patients": patients,
            "folds": design["folds"],
            "seeds": design["seeds"],
            "luck of runs": "yes" if design["luck"] else "no",
            "true difference": f"{truth[kind]:.4f}",
            "interval": name,
            "studies": studies,
            "holds": f"{((low <= truth[kind]) & (truth[kind] <= high)).mean():.4f}",
            "lies below": f"{(high < truth[kind]).mean():.4f}",
            "lies above": f"{(low > truth[kind]).mean():.4f}",
            "mean width": f"{(high - low).mean():.4f}",
        }


def family(studies: int, patients: int, folds: int, seeds: int, luck: float, arms: int = 5) -> Iterator:
    """Rows of tests.csv: any false finding among `arms` equal ones at 5%, each p adjusted over arms.

    The tests of trained networks are tried on a quarter of the studies.
    """
    rng = np.random.default_rng([patients, folds, seeds, bool(luck), 1])
    labels = np.arange(patients) % folds
    found: dict[str, list[list[float]]] = {}
    for number in range(studies):
        baseline, *others = simulate(rng, patients, seeds, arms=arms + 1, folds=folds, luck=luck)
        paired = paired_differences(others, baseline, *MAIN, folds=labels)
        found.setdefault("paired_differences", []).append([each.p for each in paired])
        if number >= studies / 4:
            continue
        exchanged = [permutation_p(each, baseline, *MAIN, resamples=1000) for each in others]
        found.setdefault("permutation_p", []).append(exchanged)
        ranked = [wilcoxon_p(patient_differences(each, baseline, MAIN[0])) for each in others]
        found.setdefault("wilcoxon_p (macro_dice per_patient)", []).append(ranked)
    for name, p in found.items():
        where = (patients, folds, seeds, "yes" if luck else "no", len(p))
        for adjust in (holm, benjamini_hochberg):
            rate = np.mean([adjust(each).min() < 0.05 for each in p])
            yield _row(f"{name}, {adjust.__name__}, {arms} arms: any false finding", *where, rate)
        yield _row(f"{name}, unadjusted: false findings", *where, np.mean(np.array(p) < 0.05))


def concluded(studies: int, patients: int, folds: int, seeds: int, truth: dict[Any, float]) -> Iterator:
    """Rows of tests.csv: p of equivalence below .05 where arms differ by just the margin (a verdict asks for .025); a
    true difference found."""
    rng = np.random.default_rng([patients, folds, seeds, 2])
    labels = np.arange(patients) % folds
    same, seen = [], []
    for _ in range(studies):
        baseline, arm = simulate(rng, patients, seeds, folds=folds, gain=GAIN)
        found = paired_difference(arm, baseline, *MAIN, folds=labels)
        same.append(equivalence(found, truth[MAIN]).p < 0.05)
        seen.append(found.p < 0.05 and found.difference > 0)
    large = simulate(np.random.default_rng(3), 1000, 30, gain=GAIN)
    parts = variance_components(large[1], *MAIN, baseline=large[0])
    told = power(parts, truth[MAIN], patients=patients, seeds=seeds, folds=folds)
    where = (patients, folds, seeds, "yes", studies)
    yield _row("equivalence: p below .05 where the difference is the margin", *where, np.mean(same))
    yield _row("power: a true difference found", *where, np.mean(seen), told)


def _row(
    what: str, patients: int, folds: int, seeds: int, luck: str, studies: int, rate: Any, told: float | None = None
) -> dict[str, Any]:
    return {
        "what": what,
        "patients": patients,
        "folds": folds,
        "seeds": seeds,
        "luck of runs": luck,
        "studies": studies,
        "rate": f"{rate:.4f}",
        "foretold": "" if told is None else f"{told:.4f}",
    }


def _limits(both: Float) -> Limits:
    return float(both[0]), float(both[1])


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    path = Path(__file__).parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--only", choices=("intervals", "tests", "speed"))
    options = parser.parse_args()
    none, better = dict.fromkeys(KINDS, 0.0), truths(GAIN)
    if options.only in (None, "speed"):
        study = simulate(np.random.default_rng(0), 151, 3, arms=21)
        for what, run in (("bootstrap", bootstrap), ("paired_differences", paired_differences)):
            began = time.perf_counter()
            run(list(study[1:]), study[0], *MAIN)
            print(f"{what}, 20 arms, 151 patients, 3 seeds: {time.perf_counter() - began:.2f} s")
    if options.only in (None, "intervals"):
        rows = []
        for number, design in enumerate(DESIGNS):
            for patients in PATIENTS:
                truth = none if design["gain"] is None else better
                rows += coverage(options.studies, patients, design, number < COMPARED, truth)
                print(*rows[-1].values(), sep=", ", flush=True)
        _write("intervals.csv", rows)
    if options.only in (None, "tests"):
        rows = []
        for patients in PATIENTS:
            for where in ((1, 3, LUCK), (5, 3, LUCK), (1, 1, 0.0)):
                rows += family(options.studies, patients, *where)
            for folds in (1, 5):
                rows += concluded(options.studies, patients, folds, 3, better)
            print(*rows[-1].values(), sep=", ", flush=True)
        _write("tests.csv", rows)


if __name__ == "__main__":
    main()
