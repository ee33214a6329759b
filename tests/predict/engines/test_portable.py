"""The modules that become other engines' graphs say what numpy and the network say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ushape.data.stain import restained, strength_matrix
from ushape.nets.unet import build
from ushape.nets.weights import as_input
from ushape.predict.engines.portable import Stain, Strength, Whole
from ushape.predict.invented import invented_tissue


def tinted(seed: int, height: int, width: int, glass: float) -> NDArray[np.uint8]:
    """Noise in the colours of some stain, with a share of white."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.2, 1, 3) * rng.uniform(0.5, 1, (height, width, 1))
    light = np.where(rng.random((height, width, 1)) < glass, 1.0, light)
    return (light * 255).astype(np.uint8)


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
@settings(max_examples=50, deadline=None)
def test_the_strength_is_that_of_training(seed: int, height: int, width: int, glass: float) -> None:
    image = tinted(seed, height, width, glass)
    image[: height // 3, : width // 3] = seed % 30  # painted black, or nearly
    made = Strength()(torch.from_numpy(image)[None]).numpy()
    np.testing.assert_allclose(made, strength_matrix(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [2000, 2001])
def test_large_images_are_sampled_as_for_training(side: int) -> None:
    """From 4 Mpx on only every second row and column counts: here those that do not are of another stain."""
    image = np.tile(invented_tissue(512), (4, 4, 1))[:side, :side].copy()
    image[1::2] = image[1::2] // 2
    made = Strength()(torch.from_numpy(image)[None]).numpy()
    np.testing.assert_allclose(made, strength_matrix(image), rtol=1e-5, atol=1e-5)


def test_the_stain_is_changed_as_for_training() -> None:
    image = invented_tissue(200)
    matrix = strength_matrix(image // 2)
    made = Stain()(torch.from_numpy(image)[None], torch.from_numpy(matrix))[0].numpy()
    expected = restained(image, matrix)
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert (made == expected).mean() > 0.999


@pytest.mark.parametrize("stain", ["image", "given", "none"])
@pytest.mark.parametrize("size", [(64, 48), (37, 101)])
def test_the_whole_is_the_network_on_the_image(stain: str, size: tuple[int, int]) -> None:
    net = build("unet[width=4,levels=3,norm=group]", seed=0).eval()
    image = invented_tissue(128)[: size[0], : size[1]].copy()
    matrix = {"image": strength_matrix(image), "given": strength_matrix(image // 2), "none": np.eye(3)}[stain]
    given_matrix = [torch.from_numpy(matrix)] if stain == "given" else []
    whole = Whole(net, stain).eval()
    with torch.no_grad():
        made = whole(torch.from_numpy(image)[None], *given_matrix)
        light = torch.from_numpy(restained(image, matrix.astype(np.float32)))[None].float() / 255
        expected = net(as_input(light)).softmax(1)
    assert made[0].shape == (1, 5, *size)
    assert torch.allclose(made[0], expected, atol=0.01)
    assert (made[1] == expected.argmax(1)).float().mean() > 0.995
    assert len(made) == (3 if stain == "image" else 2)
