"""Differences between arms, and how sure they are. The patient is the unit; folds and seeds lie inside.

Pure numpy and scipy. An arm's evidence is an array of confusion matrices [seeds, patients, classes, classes], rows
truth, columns prediction.
"""

from ushape.study.statistics.bayes import Superiority, bayesian_signed_rank
from ushape.study.statistics.components import Components, Uncertainty, mean_interval, variance_components
from ushape.study.statistics.evidence import AGGREGATIONS, METRICS, patient_differences, patient_scores
from ushape.study.statistics.margins import Equivalence, equivalence
from ushape.study.statistics.multiplicity import benjamini_hochberg, holm
from ushape.study.statistics.paired import Difference, contrasts, paired_difference, paired_differences
from ushape.study.statistics.permutation import permutation_p, wilcoxon_p
from ushape.study.statistics.planning import detectable_difference, patients_needed, power
from ushape.study.statistics.ranks import Ranking, critical_difference
from ushape.study.statistics.resampling import Bootstrap, bootstrap
from ushape.study.statistics.verdicts import Verdict, verdict

__all__ = [
    "AGGREGATIONS",
    "METRICS",
    "Bootstrap",
    "Components",
    "Difference",
    "Equivalence",
    "Ranking",
    "Superiority",
    "Uncertainty",
    "Verdict",
    "bayesian_signed_rank",
    "benjamini_hochberg",
    "bootstrap",
    "contrasts",
    "critical_difference",
    "detectable_difference",
    "equivalence",
    "holm",
    "mean_interval",
    "paired_difference",
    "paired_differences",
    "patient_differences",
    "patient_scores",
    "patients_needed",
    "permutation_p",
    "power",
    "variance_components",
    "verdict",
    "wilcoxon_p",
]
