"""What a study's numbers allow to say: every comparison and effect with its interval, tests and verdict.

Rows are those of results.json (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.data.rois import Roi
from ushape.errors import RunError
from ushape.study.design import Study
from ushape.study.statistics import (
    AGGREGATIONS,
    METRICS,
    Difference,
    bayesian_signed_rank,
    benjamini_hochberg,
    contrasts,
    critical_difference,
    equivalence,
    holm,
    paired_differences,
    patient_differences,
    patient_scores,
    permutation_p,
    variance_components,
    verdict,
    wilcoxon_p,
)

Evidence = dict[tuple[str, int], dict[str, NDArray[np.int64]]]
"""(arm, seed) -> {ROI: confusion matrix}, all folds together."""

Rows = list[dict[str, Any]]


class Inference:
    """A study's confusion matrices by arm, seed and patient, and what follows from them."""

    def __init__(self, study: Study, evidence: Evidence, rois: Mapping[str, Roi]) -> None:
        patients = sorted({roi.patient for roi in rois.values()})
        fold_of = {p: k for k, fold in enumerate(study.folds) for p in fold.test}
        self.study, self.names = study, [arm.name for arm in study.given]
        self.folds = [fold_of[p] for p in patients]

        def of(arm: str, seed: int) -> list[NDArray[np.int64]]:
            return [sum(m for r, m in evidence[arm, seed].items() if rois[r].patient == p) for p in patients]  # type: ignore[misc]

        self.matrices = [np.stack([np.stack(of(arm, seed)) for seed in range(study.seeds)]) for arm in study.arms]
        """Of each arm [seeds, patients, classes, classes], patients in the order of their names."""

    def comparisons(self) -> Rows:
        """Every arm with the first, in every metric; p-values adjusted over the arms."""
        first, *others = self.matrices

        def compare(metric: str, aggregation: str) -> list[Difference]:
            return paired_differences(others, first, metric, aggregation, folds=self.folds)

        rows = self._told([{"arm": name, "baseline": self.names[0]} for name in self.names[1:]], compare)
        for row in rows:
            row["variance"] = self._variance(row)
            row["tests"] = self._tests(row) if row["aggregation"] == "per_patient" else None
        tested = [row for row in rows if row["tests"]]
        for metric in METRICS:
            family = [row for row in tested if row["metric"] == metric]
            adjusted = benjamini_hochberg([row["p"] for row in family])
            for row, p in zip(family, adjusted.tolist(), strict=True):
                row["tests"]["benjamini_hochberg_p"] = _p(p)
        return rows

    def effects(self) -> Rows:
        """Main effects and interactions of an ablation, in every metric; p-values adjusted over the effects."""
        if self.study.design is None:
            return []
        effects = self.study.design.effects

        def compare(metric: str, aggregation: str) -> list[Difference]:
            return contrasts(self.matrices, [e.weights for e in effects], metric, aggregation, folds=self.folds)

        aliases = [[("- " if sign < 0 else "+ ") + " x ".join(names) for sign, names in e.aliases] for e in effects]
        return self._told([{"effect": e.name, "aliases": a} for e, a in zip(effects, aliases, strict=True)], compare)

    def ranks(self, metric: str = "macro_dice") -> dict[str, Any] | None:
        """What a critical-difference diagram shows; None for fewer than three arms."""
        if len(self.names) < 3:
            return None
        scores = [patient_scores(arm, metric) for arm in self.matrices]
        found = critical_difference(dict(zip(self.names, scores, strict=True)))
        return {
            "metric": metric,
            "mean_ranks": {n: _rounded(r) for n, r in zip(found.arms, found.ranks, strict=True)},
            "critical_difference": _rounded(found.critical_difference),
            "friedman_p": _p(found.p),
            "patients": found.patients,
            "confidence": 0.95,
            "groups": [list(group) for group in found.groups],
        }

    def _told(self, labels: Sequence[dict[str, Any]], compare: Callable[[str, str], list[Difference]]) -> Rows:
        """For each label its difference in every metric and aggregation, with Holm's p and what it allows to say."""
        made: list[Rows] = [[] for _ in labels]
        for aggregation in AGGREGATIONS if labels else ():
            for metric in METRICS:
                found = compare(metric, aggregation)
                adjusted = holm([each.p for each in found])
                for label, rows, each, p in zip(labels, made, found, adjusted.tolist(), strict=True):
                    rows.append(label | self._row(each, p))
        return [row for rows in made for row in rows]

    def _row(self, found: Difference, adjusted: float) -> dict[str, Any]:
        margin = self.study.margin
        shown = {k: _rounded(v) for k, v in vars(found).items() if k not in ("seeds", "uncertainty")}
        return shown | {
            "p": _p(found.p),
            "p_holm": _p(adjusted),
            "p_equivalence": _p(equivalence(found, margin).p),
            "verdict": verdict(found.difference, found.low, found.high, adjusted, margin),
        }

    def _pair(self, row: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.matrices[self.names.index(row["arm"])], self.matrices[0]

    def _variance(self, row: Mapping[str, Any]) -> dict[str, float] | None:
        """Variance components of the difference; None for one seed, or one patient a fold."""
        arm, baseline = self._pair(row)
        try:
            found = variance_components(arm, row["metric"], row["aggregation"], baseline=baseline, folds=self.folds)
        except RunError:
            return None
        return {k: float(f"{v:.6g}") for k, v in vars(found).items()}

    def _tests(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        """Other tests of the patients' own differences, for those who ask for them; the verdict does not use them."""
        arm, baseline = self._pair(row)
        own = patient_differences(arm, baseline, row["metric"])
        chances = bayesian_signed_rank(own, self.study.margin)
        return {
            "wilcoxon_p": _p(wilcoxon_p(own)),
            "permutation_p": _p(permutation_p(arm, baseline, row["metric"], row["aggregation"])),
            "benjamini_hochberg_p": None,
            "better": _rounded(chances.better),
            "same": _rounded(chances.equivalent),
            "worse": _rounded(chances.worse),
        }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _p(value: float) -> float:
    """To six significant digits: a small p is not none."""
    return float(f"{value:.6g}")
