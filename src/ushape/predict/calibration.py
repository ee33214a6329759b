"""Whether a network that is 80% sure is right 8 times in 10: confidence in bins, and the expected calibration error.

Confidence is the probability of the class predicted (after test-time augmentation and blending). Counted are the
pixels that a confusion matrix counts. Bins of ROIs add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ushape.data.classes import IGNORE

BINS = 15
"""Equal widths from 0 to 1, as in Guo et al. 2017 (arXiv:1706.04599), section 2."""


@dataclass(frozen=True)
class Calibration:
    """For each bin of confidence: `pixels` and those of them that are `right`, int64 [BINS], and the sum of their
    `confidence`, float64 [BINS]."""

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(self.pixels + other.pixels, self.right + other.right, self.confidence + other.confidence)

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: mean of |share right - mean confidence| over pixels (Guo, equation 3).

        nan where no pixel counts.
        """
        total = self.pixels.sum()
        return float(np.abs(self.right - self.confidence).sum() / total) if total else float("nan")

    def to_dict(self) -> dict[str, Any]:
        return {
            "pixels": self.pixels.tolist(),
            "right": self.right.tolist(),
            "confidence": [round(c, 3) for c in self.confidence.tolist()],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """What `to_dict` gave; ValueError, KeyError or TypeError on anything else."""
        pixels, right = (np.array(data[key], np.int64) for key in ("pixels", "right"))
        confidence = np.array(data["confidence"], np.float64)
        if not pixels.shape == right.shape == confidence.shape == (BINS,):
            raise ValueError(f"calibration: {BINS} bins expected")
        return cls(pixels, right, confidence)


def calibration(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], confidence: NDArray[np.float32]) -> Calibration:
    """Labels and confidence (0 to 1) of any equal shape -> bins; pixels whose truth is IGNORE are left out.

    A bin holds its upper end, not its lower one.
    """
    counted = truth != IGNORE
    sure = confidence[counted].astype(np.float64)
    right = truth[counted] == predicted[counted]
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return Calibration(
        np.bincount(place, minlength=BINS),
        np.bincount(place[right], minlength=BINS),
        np.bincount(place, weights=sure, minlength=BINS).astype(np.float64),
    )
