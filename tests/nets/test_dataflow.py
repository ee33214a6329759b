"""Dataflow: stages once each, edges that are known by hand, whatever stands between the stages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.dataflow import Dataflow, dataflow, flow_of
from ushape.nets.describe import describe, readable
from ushape.nets.spec import parse


def _conv(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride, padding=1)


class Gate(nn.Module):
    """skip [N, C, H, W], up [N, C, H, W] -> the skip weighed by both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        return skip * self.conv(skip + up).sigmoid(), up  # `up` only passes through


class Small(nn.Module):
    """Two levels down, tokens at the bottom, gates across; everything that is no stage lies between stages."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_conv(3, 4), _conv(4, 8), _conv(8, 16)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(8)])
        self.layers = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16))
        self.up = nn.ModuleList([_conv(12, 4), _conv(24, 8)])
        self.gates = nn.ModuleList([Gate(4)])
        self.side, self.score = nn.Conv2d(8, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for conv, norm in zip(self.down, self.norms, strict=False):
            skips.append(F.relu(norm(conv(x)), inplace=True))
            x = F.max_pool2d(skips[-1], 2)
        x = self.down[2](x)
        tokens = x.flatten(2).transpose(1, 2)  # [N, L, 16]
        for layer in self.layers:
            tokens = tokens + layer(tokens)
        x = tokens.transpose(1, 2).reshape(x.shape)
        x = self.up[1](torch.cat([F.interpolate(x, scale_factor=2), skips[1]], 1))
        side = self.side(x)
        gated, x = self.gates[0](skips[0], F.interpolate(x, scale_factor=2)[:, :4])
        x = self.up[0](torch.cat([gated, x.repeat(1, 2, 1, 1)], 1))
        x += skips[0]
        return [self.score(x), side]


def _flow(core: nn.Module, size: int = 16) -> Dataflow:
    return dataflow(core, core, torch.zeros(2, 3, size, size))


def _edges(flow: Dataflow) -> set[tuple[str, str]]:
    return {(flow.stages[a].name, flow.stages[b].name) for a, b in flow.edges}


def test_edges_of_a_network_known_by_hand() -> None:
    """Layers that are called one by one are stages of their list."""
    flow = _flow(Small())
    names = [stage.name for stage in flow.stages]
    ends = ["up 1", "side", "gates 0", "up 0", "score", "scores"]
    assert names == ["image", "down 0", "down 1", "down 2", "layers 0", "layers 1", "layers 2", *ends]
    assert _edges(flow) == {
        ("image", "down 0"), ("down 0", "down 1"), ("down 1", "down 2"), ("down 2", "layers 0"),
        ("down 2", "layers 1"), ("layers 0", "layers 1"), ("down 2", "layers 2"), ("layers 0", "layers 2"),
        ("layers 1", "layers 2"), ("down 2", "up 1"), ("layers 0", "up 1"), ("layers 1", "up 1"), ("layers 2", "up 1"),
        ("down 1", "up 1"), ("up 1", "side"), ("up 1", "gates 0"), ("down 0", "gates 0"), ("gates 0", "up 0"),
        ("up 1", "up 0"), ("up 0", "score"), ("down 0", "score"), ("score", "scores"),
    }  # fmt: skip
    by_name = {stage.name: stage for stage in flow.stages}
    assert [by_name[f"down {i}"].level for i in range(3)] == [0, 1, 2]
    assert (by_name["layers 1"].channels, by_name["layers 1"].side, by_name["layers 1"].level) == (16, 4, 2)
    assert [stage.name for stage in flow.stages if stage.supervised] == ["side"]
    assert by_name["up 0"].parameters == 12 * 4 * 9 + 4


class Chain(nn.Module):
    """Layers of one kind in a row, a stage that is called twice, and features kept as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_conv(3, 3) for _ in range(4)])
        self.shared = _conv(3, 5)
        self.keep = Keeping()
        self.score = _conv(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        both = torch.cat([self.shared(x), self.shared(F.max_pool2d(x, 2)).repeat(1, 1, 2, 2)], 1)
        out: Tensor = self.score(self.keep(both) + self.keep.kept)
        return out


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _conv(10, 10), _conv(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.first(x)
        out: Tensor = self.second(self.kept)
        return out


def test_rows_are_one_and_calls_are_several() -> None:
    flow = _flow(Chain())
    assert [stage.name for stage in flow.stages[1:-1]] == ["layers 0–3", "shared", "shared (2)", "keep", "score"]
    assert flow.stages[1].count == 4
    assert flow.stages[1].parameters == 4 * (3 * 3 * 9 + 3)
    assert [flow.stages[i].parameters for i in (2, 3)] == [3 * 5 * 9 + 5, 0]
    assert flow.edges == ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (5, 6))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([_conv(3, 4), _conv(4, 8, 2), _conv(8, 16, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


class Cascade(nn.Module):
    """Encoders are opened, for they give several levels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Encoder(), Encoder()
        self.score = _conv(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        coarse = self.first(x)[-1]
        x = x * F.interpolate(coarse, scale_factor=4).mean(1, keepdim=True)
        return F.interpolate(self.score(self.second(x)[-1]), scale_factor=4)


def test_what_gives_several_levels_is_opened() -> None:
    flow = _flow(Cascade())
    inner = [f"{which} levels {i}" for which in ("first", "second") for i in range(3)]
    assert [stage.name for stage in flow.stages[1:-1]] == [*inner, "score"]
    assert (0, 4) in flow.edges
    assert (3, 4) in flow.edges


def test_specs_of_the_one_u_are_refused() -> None:
    with pytest.raises(SpecError, match="own diagram"):
        flow_of(parse("unet[width=4,levels=2]"), 3, 2, 32)


def test_describe() -> None:
    unit = [_conv(3, 3), nn.BatchNorm2d(3), nn.ReLU()]
    assert describe(nn.Sequential(*unit, *unit))[0].title == "2 × (3×3 convolution, batch norm, ReLU)"
    kind, count = describe(nn.Sequential(Gate(4), Gate(4)))
    assert (kind.title, kind.text, count) == ("Gate", "the skip weighed by both", 2)
    assert describe(nn.Conv2d(8, 8, (1, 5), stride=2, groups=8))[0].title == "1×5 depthwise convolution of stride 2"
    assert describe(Keeping())[0].text == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HadamardAttention", "Hadamard attention"),
        ("MedNeXt", "MedNeXt"),
        ("RSU4F", "RSU4F"),
        ("KANLayer", "KAN layer"),
        ("ResidualBlockD", "Residual block D"),
    ],
)
def test_readable(name: str, words: str) -> None:
    assert readable(name) == words
