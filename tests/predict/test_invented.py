"""Invented tissue."""

from __future__ import annotations

import numpy as np

from ushape.predict.invented import invented_tissue


def test_tissue_is_mirrored_to_any_size() -> None:
    made = invented_tissue(600)
    assert made.shape == (600, 600, 3)
    assert np.array_equal(made[256:512], made[:256][::-1])
    assert np.array_equal(made[:, 512:], made[:, :88])
