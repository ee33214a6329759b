"""The engine: probabilities of images of any size, the same whatever the lanes, tiles and turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ushape.data.classes import grouping
from ushape.data.rois import Pixels
from ushape.errors import RunError
from ushape.nets.unet import UNet, build
from ushape.nets.weights import as_input
from ushape.predict import engine
from ushape.predict.engine import Predictor, evaluate
from ushape.predict.guided import guided
from ushape.predict.score import confusion
from ushape.predict.tiling import Plan, plan
from ushape.threads import Lanes

Bytes = NDArray[np.uint8]
CPU = torch.device("cpu")
MakePixels = Callable[..., Pixels]


class PerPixel(nn.Module):
    """A network that sees one pixel at a time: it cannot tell up from down."""

    classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.tensor([[1.0, 0, -1], [0, 2, 0], [-1, 1, 1]])[..., None, None])

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x)
        return mixed


class Rows(nn.Module):
    """A network that knows where it is: class 0 in the upper half of what it is shown, class 1 in the lower."""

    classes = 2

    def forward(self, x: Tensor) -> Tensor:
        lower = (torch.arange(x.shape[2]) >= x.shape[2] // 2).float()[:, None].expand(x.shape[2:])
        return torch.stack([1 - lower, lower]).expand(len(x), 2, *x.shape[2:]) * 4


@pytest.fixture(scope="module")
def net() -> UNet:
    """A small network whose batch normalisation has seen something; classes follow the colour."""
    net = build("unet[width=4,levels=3]", seed=0)
    with torch.no_grad():
        for step in range(5):
            net(as_input(torch.from_numpy(picture(64, 64, step)).float()[None] / 255))
    return net.eval()


def picture(height: int, width: int, seed: int = 0) -> Bytes:
    """Smooth random colours."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 16 + 2, width // 16 + 2)))
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return np.asarray(smooth.permute(1, 2, 0).to(torch.uint8))


def predict(net: nn.Module, image: Bytes, tta: str = "none", lanes: int = 1, precision: str = "float32") -> np.ndarray:
    with Lanes(lanes) as pool:
        return Predictor(net, CPU, precision, pool, tta).probabilities(image)  # type: ignore[arg-type]


# ---- probabilities -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 1), (97, 130)])
def test_probabilities_of_any_size_sum_to_1(net: UNet, size: tuple[int, int], precision: str) -> None:
    made = predict(net, picture(*size), precision=precision)
    assert made.shape == (5, *size)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert np.abs(made.sum(0) - 1).max() < 1e-5


def test_a_strip_longer_than_a_tile_is_predicted_over_all_of_it(net: UNet) -> None:
    made = predict(net, picture(5, 900))
    assert made.shape == (5, 5, 900)
    assert np.abs(made.sum(0) - 1).max() < 1e-5
    assert len(np.unique(made[0])) > 500


def test_a_network_that_sees_one_pixel_gives_what_it_gives_without_tiles() -> None:
    image, net = picture(150, 620), PerPixel()
    with torch.inference_mode():
        whole = net(as_input(torch.from_numpy(image)[None] / 255)).softmax(1)[0].numpy()
    assert np.abs(predict(net, image) - whole).max() < 1e-6


def test_the_filter_comes_after_the_tiles() -> None:
    image, net = picture(150, 620), PerPixel()
    with Lanes(1) as lanes:
        made = Predictor(net, CPU, "float32", lanes, guided=16).probabilities(image)  # type: ignore[arg-type]
    assert np.array_equal(made, guided(predict(net, image), image, 16))
    assert np.abs(made - predict(net, image)).max() > 0.01


def test_labels_are_the_likeliest_classes(net: UNet) -> None:
    image = picture(60, 70)
    with Lanes(1) as lanes:
        labels = Predictor(net, CPU, "float32", lanes).labels(image)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, predict(net, image).argmax(0))
    assert len(np.unique(labels)) > 1  # else this says nothing


def test_tiles_change_little_in_what_a_network_of_small_field_sees(net: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(300, 360)
    whole = predict(net, image)  # one tile: 512 px hold it and its margins
    assert len(plan(300, 360).corners) == 1

    def small(height: int, width: int) -> Plan:
        return plan(height, width, 192, 64)

    monkeypatch.setattr(engine, "plan", small)
    assert len(small(300, 360).corners) == 30
    tiled = predict(net, image)
    # Without margins, or without the fall of weights to a tile's edge, the first is 0.007 and more, the second 0.2.
    assert np.abs(tiled - whole).mean() < 0.003
    assert np.abs(tiled - whole).max() < 0.1
    assert np.mean(tiled.argmax(0) == whole.argmax(0)) > 0.97


def test_border_pixels_see_mirrored_tissue(net: UNet) -> None:
    image = picture(80, 96)
    mirrored = np.pad(image, ((64, 64), (64, 64), (0, 0)), mode="reflect")
    inner = predict(net, mirrored)[:, 64:-64, 64:-64]
    assert np.abs(predict(net, image) - inner).max() < 1e-4


def test_predicting_changes_neither_the_network_nor_the_next_prediction(net: UNet) -> None:
    image, before = picture(64, 64), {k: v.clone() for k, v in net.state_dict().items()}
    first = predict(net, image)
    predict(net, picture(64, 64, 1))
    assert np.array_equal(predict(net, image), first)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_network_left_in_training_is_evaluated_all_the_same(net: UNet) -> None:
    image = picture(64, 64)
    first = predict(net, image)
    assert np.array_equal(predict(net.train(), image), first)
    assert not net.training


# ---- lanes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_number_of_lanes_changes_no_bit(net: UNet, precision: str) -> None:
    image = picture(420, 500)
    assert len(plan(*image.shape[:2]).corners) == 4
    one = predict(net, image, lanes=1, precision=precision)
    assert one.tobytes() == predict(net, image, lanes=2, precision=precision).tobytes()


# ---- test-time augmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_augmentation_changes_nothing_for_a_network_that_sees_one_pixel(tta: str) -> None:
    image = picture(130, 190)
    assert np.abs(predict(PerPixel(), image, tta) - predict(PerPixel(), image)).max() < 1e-6


def test_sizes_change_little_for_a_network_that_sees_one_pixel() -> None:
    image = picture(130, 190)
    made, alone = predict(PerPixel(), image, "zooms"), predict(PerPixel(), image)
    assert made.shape == alone.shape
    assert np.abs(made.sum(0) - 1).max() < 1e-5
    assert np.abs(made - alone).mean() < 5e-3


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_augmentation_averages_what_a_network_says_of_each_view(tta: str) -> None:
    # Half of all views show a row in the upper half, so that a network that only knows the row cannot decide.
    assert predict(Rows(), picture(64, 64))[0].max() > 0.95
    assert predict(Rows(), picture(64, 64), tta) == pytest.approx(np.full((2, 64, 64), 0.5), abs=1e-5)


def test_the_prediction_of_a_turned_image_is_the_turned_prediction(net: UNet) -> None:
    image = picture(128, 128)
    straight, turned = predict(net, image, "d4"), predict(net, np.ascontiguousarray(np.rot90(image)), "d4")
    assert np.abs(np.rot90(straight, axes=(1, 2)) - turned).max() < 1e-4
    assert np.abs(np.rot90(predict(net, image), axes=(1, 2)) - turned).max() > 1e-3  # without it, they differ


def test_an_unknown_augmentation_is_refused_with_those_there_are(net: UNet) -> None:
    with Lanes(1) as lanes, pytest.raises(RunError, match="tta 'mirror': give one of none, flips, d4"):
        Predictor(net, CPU, "float32", lanes, "mirror")


# ---- evaluation --------------------------------------------------------------------------------------------


def test_whole_rois_are_scored_without_their_ignored_pixels(net: UNet, make_pixels: MakePixels) -> None:
    rng, groups = np.random.default_rng(0), grouping("bcss-5")
    rois = [make_pixels(rng.integers(0, 22, (70, 90), np.uint8), f"roi{i}", picture(70, 90, i)) for i in range(2)]
    with Lanes(1) as lanes:
        predictor = Predictor(net, CPU, "float32", lanes)
        made = list(evaluate(predictor, rois, groups))
        assert [each.roi.name for each in made] == ["roi0", "roi1"]
        for roi, each in zip(rois, made, strict=True):
            truth, likely = groups.labels(roi.codes), predictor.probabilities(roi.image)
            labels = likely.argmax(0).astype(np.uint8)
            assert np.array_equal(each.labels, labels)
            assert np.array_equal(each.confusion, confusion(truth, labels, 5))
            assert each.confusion.sum() == each.calibration.pixels.sum() == (roi.codes != 0).sum()
            assert each.calibration.right.sum() == np.trace(each.confusion)
            sure = likely.max(0)[roi.codes != 0].astype(np.float64)
            assert each.calibration.confidence.sum() == pytest.approx(sure.sum())


def test_rois_are_predicted_one_at_a_time(net: UNet, make_pixels: MakePixels) -> None:
    opened = []

    def rois() -> object:
        for i in range(3):
            opened.append(i)
            yield make_pixels(np.ones((20, 20), np.uint8), f"roi{i}")

    with Lanes(1) as lanes:
        made = evaluate(Predictor(net, CPU, "float32", lanes), rois(), grouping("bcss-5"))  # type: ignore[arg-type]
        next(made)
        assert opened == [0]
