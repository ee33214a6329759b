"""What came out, as plain numbers: scores with intervals over slices, and what each ingredient adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.reproduce.unet2015.scores import CHALLENGE, METRICS, THRESHOLDS, Curve
from ushape.study.statistics.components import uncertainty

Float = NDArray[np.float64]
CONFIDENCE = 0.95
RULES = ("challenge", "training")
"""Who chooses a threshold: the scored slices, of the challenge's own, as it did; or the training slices, of all."""


def summary(
    question: dict[str, Any], slices: list[list[str]], curves: dict[str, list[dict[str, Curve]]]
) -> dict[str, Any]:
    """Results as results.json has them. `curves`: of each arm, a pair of curves (train, test) for each seed."""
    first = next(iter(curves))
    return {
        **question,
        "slices": {"train": slices[0], "test": slices[1]},
        "thresholds": list(THRESHOLDS),
        "confidence": CONFIDENCE,
        "arms": {name: {rule: _scores(seeds, rule) for rule in RULES} for name, seeds in curves.items()},
        "differences": {
            name: {rule: _differences(curves[first], seeds, rule) for rule in RULES}
            for name, seeds in curves.items()
            if name != first
        },
    }


def per_slice(seeds: list[dict[str, Curve]], metric: str, rule: str) -> tuple[Float, list[float]]:
    """Each test slice's score at the threshold that the rule chooses: [seeds, slices], and the thresholds."""
    part, among = ("test", CHALLENGE) if rule == "challenge" else ("train", THRESHOLDS)
    chosen = [each[part].best(metric, among) for each in seeds]
    values = np.stack([each["test"].at(metric, number) for each, number in zip(seeds, chosen, strict=True)])
    return values, [THRESHOLDS[number] for number in chosen]


def _scores(seeds: list[dict[str, Curve]], rule: str) -> dict[str, Any]:
    made = {}
    for metric in METRICS:
        values, thresholds = per_slice(seeds, metric, rule)
        made[metric] = _with_interval(values) | {"thresholds": thresholds, "slices": values.tolist()}
    return made


def _differences(full: list[dict[str, Curve]], without: list[dict[str, Curve]], rule: str) -> dict[str, Any]:
    """The paper's setting minus the one without an ingredient, paired by slice (and seed)."""
    made = {}
    for metric in METRICS:
        values = per_slice(full, metric, rule)[0] - per_slice(without, metric, rule)[0]
        made[metric] = _with_interval(values, -1.0) | {"p": uncertainty(values).p(float(values.mean()))}
    return made


def _with_interval(values: Float, floor: float = 0.0) -> dict[str, float]:
    """Mean of values [seeds, slices] and its t interval over slices (and, with several seeds, over trainings).

    It is cut at `floor` and 1, between which all values lie.
    """
    mean, reach = float(values.mean()), uncertainty(values).reach(CONFIDENCE)
    return {"mean": mean, "low": max(mean - reach, floor), "high": min(mean + reach, 1.0)}
