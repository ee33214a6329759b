"""Ensembles: the mean of what their networks say, and which networks have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ushape.data.classes import grouping
from ushape.errors import RunError
from ushape.nets.unet import build
from ushape.nets.weights import save_weights
from ushape.predict.engine import Predictor
from ushape.predict.ensemble import Ensemble, common, load_ensemble
from ushape.threads import Lanes

CPU = torch.device("cpu")
ABOUT = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": "stain", "tta": "none"}


def save(path: Path, seed: int = 0, **about: Any) -> Path:
    save_weights(path, build("unet[width=4,levels=3]", seed=seed), ABOUT | about)
    return path


def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)


def predictor(seed: int, lanes: Lanes, tta: str = "none") -> Predictor:
    return Predictor(build("unet[width=4,levels=3]", seed=seed), CPU, "float32", lanes, tta)


def test_an_ensemble_gives_the_mean_of_the_probabilities() -> None:
    with Lanes(1) as lanes:
        members = [predictor(seed, lanes, "flips") for seed in range(3)]
        each = [member.probabilities(image()) for member in members]
        made = Ensemble(members).probabilities(image())
        assert np.abs(each[0] - each[1]).max() > 0.01  # else this says nothing
        assert np.abs(made - np.mean(each, axis=0)).max() < 1e-6
        assert made.dtype == np.float32
        assert np.abs(made.sum(0) - 1).max() < 1e-5
        assert np.array_equal(members[0].probabilities(image()), each[0])


def test_an_ensemble_of_one_network_once_or_twice_is_that_network() -> None:
    with Lanes(1) as lanes:
        alone = predictor(0, lanes)
        for members in ([alone], [alone, alone]):
            assert np.array_equal(Ensemble(members).probabilities(image()), alone.probabilities(image()))


def test_networks_that_go_together_are_loaded_in_their_order(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{seed}.safetensors", seed) for seed in (2, 1)]
    made = load_ensemble(paths)
    for network, seed in zip(made, (2, 1), strict=True):
        expected = build("unet[width=4,levels=3]", seed=seed).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in network.net.state_dict().items())


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"mpp": 0.5}, "its mpp is 0.5, that of .*a.safetensors 1.2"),
        ({"normalise": "none"}, "its normalise is none, that of .*a.safetensors stain"),
        ({"grouping": grouping("bcss-5-seed").describe()}, "its grouping is bcss-5-seed@1, that of .* bcss-5@1"),
    ],
)
def test_networks_of_other_classes_or_pixels_are_refused(tmp_path: Path, about: dict[str, Any], words: str) -> None:
    first, other = save(tmp_path / "a.safetensors"), save(tmp_path / "b.safetensors", **about)
    with pytest.raises(RunError, match=words):
        load_ensemble([first, other])


def test_a_network_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.safetensors")
    with pytest.raises(RunError, match="named twice"):
        load_ensemble([path, tmp_path])


def test_recipes_of_different_augmentation_need_one_to_be_given(tmp_path: Path) -> None:
    one, other = save(tmp_path / "a.safetensors"), save(tmp_path / "b.safetensors", tta="d4")
    assert common("tta", load_ensemble([other])) == "d4"
    assert common("guided", load_ensemble([one, other])) == 0
    with pytest.raises(RunError, match=r"different tta \(none, d4\): give one with --tta"):
        common("tta", load_ensemble([one, other]))
    rough = save(tmp_path / "c.safetensors", guided=8)
    with pytest.raises(RunError, match=r"different guided \(0, 8\): give one with --guided"):
        common("guided", load_ensemble([one, rough]))
