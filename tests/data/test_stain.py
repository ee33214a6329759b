"""Stain: optical density there and back, and a jitter that is linear in it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.data.stain import (
    EOSIN,
    HAEMATOXYLIN,
    REFERENCE,
    jitter_light,
    normalise,
    stain_matrix,
    strength_matrix,
    to_density,
    to_rgb,
)

Float = NDArray[np.float64]


def tissue(seed: int = 0) -> NDArray[np.uint8]:
    """Random colours made of the two stains, none of them near black or white."""
    amounts = np.random.default_rng(seed).uniform(0.2, 0.6, (40, 30, 2))
    return to_rgb((amounts @ stain_matrix()[:2]).astype(np.float32))


def amounts(density: NDArray[np.floating]) -> Float:
    """Amounts of haematoxylin, eosin and residual of optical densities [..., 3]."""
    return np.asarray(density @ np.linalg.inv(stain_matrix().astype(np.float64)))


def drawn(strength: float, seed: int) -> tuple[Float, Float]:
    """Scale and shift that a generator of this seed gives."""
    rng = np.random.default_rng(seed)
    return rng.uniform(1 - strength, 1 + strength, 3), rng.uniform(-1, 1, 3) * strength / 10


def test_every_value_comes_back_from_optical_density() -> None:
    values = np.arange(256, dtype=np.uint8)
    rgb = np.stack([values, values[::-1], np.roll(values, 99)], -1)
    assert np.array_equal(to_rgb(to_density(rgb)), rgb)


def test_white_has_no_density_and_darker_has_more() -> None:
    density = to_density(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1))
    assert density.dtype == np.float32
    assert np.all(density[255] == 0)
    assert np.all(np.diff(density[:, 0]) < 0)
    assert np.isfinite(density).all()
    assert density[127, 0] == pytest.approx(np.log10(2))


def test_density_below_zero_is_white_and_boundless_density_black() -> None:
    made = to_rgb(np.array([[-0.5, 0.0, 9.0]], np.float32))
    assert made.tolist() == [[255, 255, 0]]


def test_stain_vectors_have_unit_length_and_the_residual_is_orthogonal_to_both() -> None:
    matrix = stain_matrix().astype(np.float64)
    assert np.linalg.norm(matrix, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert matrix[:2] @ matrix[2] == pytest.approx(np.zeros(2), abs=1e-6)
    for row, vector in zip(matrix, (HAEMATOXYLIN, EOSIN), strict=False):
        assert np.cross(row, vector) == pytest.approx(np.zeros(3), abs=1e-6)


def test_a_jitter_of_strength_0_changes_nothing_beyond_rounding() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)
    light = jitter_light(rgb, 0.0, np.random.default_rng(0))
    assert light.dtype == np.float32
    assert light.shape == rgb.shape
    assert np.abs(light - rgb / 255).max() <= 1 / 255


@pytest.mark.parametrize("seed", range(5))
def test_amounts_of_stain_are_scaled_and_shifted_in_optical_density(seed: int) -> None:
    rgb = tissue()
    scale, shift = drawn(0.2, seed)
    after = amounts(-np.log10(jitter_light(rgb, 0.2, np.random.default_rng(seed)).astype(np.float64)))
    expected = amounts(to_density(rgb)) * scale + shift
    light = expected @ stain_matrix() > 0.001  # elsewhere more light than there is was cut off
    assert light.mean() > 0.9
    assert np.abs(after - expected)[light.all(-1)].max() < 1e-4


def test_twice_the_stain_before_is_twice_the_stain_after() -> None:
    # The shift is what white shows; without it the jitter is linear.
    density = np.array([[0.25, 0.45, 0.15], [0.5, 0.9, 0.3], [0.2, 0.3, 0.1]])
    rgb = to_rgb(np.vstack([density, np.full((1, 3), 0.1)]).astype(np.float32))
    exact = to_density(rgb).astype(np.float64)
    after = -np.log10(jitter_light(rgb, 0.15, np.random.default_rng(3)).astype(np.float64))
    matrix = np.linalg.lstsq(np.column_stack([exact, np.ones(4)]), after, rcond=None)[0]
    scale = drawn(0.15, 3)[0]
    assert sorted(np.linalg.eigvals(matrix[:3]).real) == pytest.approx(sorted(scale), abs=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_white_stays_nearly_white_and_light_stays_light(seed: int) -> None:
    light = jitter_light(np.full((2, 2, 3), 255, np.uint8), 0.2, np.random.default_rng(seed))
    assert light.min() > 0.88
    assert light.max() <= 1
    dark = jitter_light(np.zeros((2, 2, 3), np.uint8), 0.2, np.random.default_rng(seed))
    assert dark.min() > 0
    assert dark.max() < 0.15


def test_the_jitter_follows_its_generator_and_its_strength() -> None:
    rgb = tissue()

    def change(strength: float, seed: int = 0) -> NDArray[np.float32]:
        return jitter_light(rgb, strength, np.random.default_rng(seed)) - jitter_light(
            rgb, 0.0, np.random.default_rng(seed)
        )

    assert np.array_equal(change(0.2), change(0.2))
    assert not np.array_equal(change(0.2), change(0.2, 1))
    sizes = [np.mean([np.abs(change(s, seed)).mean() for seed in range(10)]) for s in (0.05, 0.1, 0.2)]
    assert 1.6 < sizes[1] / sizes[0] < 2.4
    assert 1.6 < sizes[2] / sizes[1] < 2.4


def test_the_jitter_leaves_its_input_alone() -> None:
    rgb = tissue()
    before = rgb.copy()
    jitter_light(rgb, 0.3, np.random.default_rng(0))
    assert np.array_equal(rgb, before)


# ---- a common strength -------------------------------------------------------------------------------------


def test_the_strength_matrix_is_what_normalise_applies() -> None:
    rgb = np.tile(tissue(), (5, 5, 1))
    matrix = strength_matrix(rgb)
    assert matrix.dtype == np.float32
    assert np.abs(to_rgb(to_density(rgb) @ matrix).astype(int) - normalise(rgb)).max() <= 1
    strength = np.percentile(amounts(to_density(normalise(rgb)).reshape(-1, 3))[:, :2], 99, axis=0)
    assert strength == pytest.approx(REFERENCE, rel=0.03)


def test_what_is_painted_black_is_no_tissue() -> None:
    rgb = np.tile(tissue(), (5, 5, 1))
    black = np.random.default_rng(0).integers(0, 12, rgb.shape, np.uint8)  # JPEG leaves traces in what was blacked out
    assert np.array_equal(strength_matrix(np.concatenate([rgb, black])), strength_matrix(rgb))


def test_without_tissue_the_matrix_is_the_identity_and_the_image_stays() -> None:
    white = np.full((40, 40, 3), 240, np.uint8)
    assert np.array_equal(strength_matrix(white), np.eye(3))
    assert np.array_equal(normalise(white), white)
