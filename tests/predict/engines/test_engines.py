"""Every engine gives the classes that the network gives in PyTorch, in every precision that this machine computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ushape.data.classes import grouping
from ushape.data.stain import restained, strength_matrix
from ushape.errors import RunError
from ushape.nets.unet import Network, build
from ushape.nets.weights import Weights, as_input, load_weights, save_weights
from ushape.predict.engine import Predictor
from ushape.predict.engines import NO_STAIN, Engine, choose, open_engine
from ushape.predict.engines.libraries import installed
from ushape.predict.engines.program import Kept, Programs
from ushape.predict.invented import invented_tissue
from ushape.predict.turns import TTA, turn, views
from ushape.threads import Lanes

Bytes = NDArray[np.uint8]
CPU = torch.device("cpu")
KINDS = [("torch", "float32"), ("torch", "bf16"), ("openvino", "float32"), ("openvino", "bf16"), ("onnx", "float32")]
AGREE = {"float32": 0.999, "bf16": 0.97, "int8": 0.9}
"""Of a network with random weights, whose classes lie nearer to each other than a trained one's."""


def weights(spec: str = "unet[width=4,levels=3]", channels: int = 3) -> Weights:
    about = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": "stain", "tta": "none"}
    return Weights(build(spec, channels, seed=0).eval(), about)


@pytest.fixture(scope="module")
def lanes() -> Lanes:
    return Lanes(2)


def opened(kind: tuple[str, str], lanes: Lanes, made: Weights | None = None, tta: str = "none") -> Engine:
    engine, precision = kind
    for library in {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx", "onnxscript"]}.get(engine, []):
        if not installed(library):
            pytest.skip(f"{library} is not installed")
    if kind == ("openvino", "bf16"):
        from ushape.predict.engines.openvino_engine import computes_bf16

        if not computes_bf16():
            pytest.skip("this CPU does not compute bfloat16")
    return open_engine(made or weights(), engine, precision, lanes, CPU, tta)


def expected(net: Network, tile: Bytes, stain: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        scores = net(as_input(torch.from_numpy(restained(tile, stain).copy())[None].float() / 255))
    assert isinstance(scores, torch.Tensor)
    return scores.softmax(1)[0].numpy()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_an_engine_gives_what_the_network_gives(kind: tuple[str, str], lanes: Lanes) -> None:
    made = weights()
    engine = opened(kind, lanes, made)
    tissue = invented_tissue(256)
    for size in ((61, 83), (3, 5)):
        tile = tissue[: size[0], : size[1]]
        for stain in (NO_STAIN, strength_matrix(tissue // 2)):
            truth = expected(made.net, tile, stain)
            probabilities, labels = engine.probabilities(tile, stain), engine.labels(tile, stain)
            assert probabilities.shape == truth.shape
            assert labels.dtype == np.uint8
            np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-2)
            np.testing.assert_allclose(probabilities, truth, atol=0.02 if kind[1] == "float32" else 0.1)
            if labels.size > 100:
                assert (labels == truth.argmax(0)).mean() > AGREE[kind[1]]


@pytest.mark.parametrize("kind", [("openvino", "float32"), ("onnx", "float32")], ids="-".join)
def test_a_network_without_a_general_graph_gets_one_a_size(
    kind: tuple[str, str], lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Programs, "general", lambda self: None)
    made = weights("unet[width=2,levels=2]")
    engine = opened(kind, lanes, made)
    tile = invented_tissue(64)[:50, :34]
    np.testing.assert_allclose(engine.probabilities(tile, NO_STAIN), expected(made.net, tile, NO_STAIN), atol=1e-4)


@pytest.mark.parametrize("kind", [("torch", "float32"), ("openvino", "float32")], ids="-".join)
def test_views_are_averaged_and_lanes_do_not_mix_tiles(kind: tuple[str, str], lanes: Lanes) -> None:
    made = weights("unet[width=2,levels=2]")
    engine = opened(kind, lanes, made, "d4")
    tiles = [invented_tissue(256)[i * 8 : i * 8 + 40, i * 4 : i * 4 + 56] for i in range(12)]
    several = list(lanes.map(lambda tile: engine.probabilities(tile, NO_STAIN), tiles))
    for tile, probabilities in zip(tiles, several, strict=True):
        views = [expected(made.net, np.rot90(tile, k).copy(), NO_STAIN) for k in range(4)]
        mirrored = [expected(made.net, np.rot90(tile, k)[:, ::-1].copy(), NO_STAIN) for k in range(4)]
        back = [np.rot90(v, -k, (1, 2)) for k, v in enumerate(views)]
        back += [np.rot90(v[:, :, ::-1], -k, (1, 2)) for k, v in enumerate(mirrored)]
        np.testing.assert_allclose(probabilities, np.mean(back, 0), atol=1e-4)
        assert (engine.labels(tile, NO_STAIN) == probabilities.argmax(0)).all()


def test_an_engine_sees_the_sizes_that_evaluation_sees(lanes: Lanes) -> None:
    made, tile = weights("unet[width=2,levels=2]"), invented_tissue(256)[:192, :192]
    predictor = Predictor(made.net, CPU, "float32", lanes, "zooms")
    seen = opened(("torch", "float32"), lanes, made, "zooms").probabilities(np.ascontiguousarray(tile), NO_STAIN)
    np.testing.assert_allclose(seen, predictor._tile(tile), atol=1e-4)


@pytest.mark.parametrize("tta", TTA)
def test_what_a_tile_needs_is_made_once(tta: str) -> None:
    made: list[tuple[str, int, int]] = []
    kept = Kept(lambda *key: made.append(key), views(tta))
    tile = torch.zeros(64, 48, 3, dtype=torch.uint8)
    for _ in range(3):
        for view in views(tta):
            seen = turn(tile, view, 0, 1)[None].numpy()
            for what in ("stain", "probabilities"):
                kept.of(what, seen)
    assert len(made) == len(set(made))


def test_int8_is_near_float32_where_it_was_calibrated(lanes: Lanes) -> None:
    pytest.importorskip("nncf", reason="the extra `openvino` is not installed")
    made = weights()
    crops = [invented_tissue(256)[i : i + 96, i : i + 80] for i in range(0, 96, 12)]
    engine = open_engine(made, "openvino", "int8", lanes, CPU, "none", crops)
    assert engine.precision == "int8"
    assert "calibrated on 8 crops" in engine.description
    same = [(engine.labels(c, NO_STAIN) == expected(made.net, c, NO_STAIN).argmax(0)).mean() for c in crops]
    assert np.mean(same) > AGREE["int8"]
    exact = open_engine(made, "openvino", "float32", lanes, CPU, "none")
    assert not np.array_equal(engine.probabilities(crops[0], NO_STAIN), exact.probabilities(crops[0], NO_STAIN))


class Fake:
    """An engine that gives every pixel one class, at a rate of its own."""

    name = "fake"

    def __init__(self, precision: str, label: int, rate: float) -> None:
        self.precision, self.label, self.rate = precision, label, rate
        self.description = f"fake, {precision}"

    def labels(self, tile: Bytes, stain: NDArray[np.float32]) -> Bytes:
        return np.full(tile.shape[:2], self.label, np.uint8)


def test_auto_takes_the_fastest_that_agrees(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_rate", lambda engine, *_: engine.rate)
    slow, fast, wrong = Fake("float32", 1, 1.0), Fake("bf16", 1, 3.0), Fake("int8", 2, 9.0)
    told: dict[str, str] = {}
    best = choose._fastest([slow, fast, wrong], slow, lanes, 64, NO_STAIN, told, 0.1)  # type: ignore[list-item,arg-type]
    assert best is fast  # type: ignore[comparison-overlap]
    assert told == {"fake float32": "1.00", "fake bf16": "3.00", "fake int8": "refused, 0.0% of labels as in float32"}
    assert choose._fastest([wrong], slow, lanes, 64, NO_STAIN, {}, 0.1) is None  # type: ignore[list-item,arg-type]


def test_auto_compares_with_float32_and_passes_over_what_cannot(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced precision that is slower here is not taken, and an engine that fails ends nothing."""
    made = {"float32": Fake("float32", 1, 2.0), "bf16": Fake("bf16", 1, 1.0)}

    def make(_: Weights, kind: tuple[str, str], *others: object) -> Fake:
        if kind[1] == "int8":
            raise RunError("OpenVINO cannot convert it")
        return made[kind[1]]

    monkeypatch.setattr(choose, "_make", make)
    monkeypatch.setattr(choose, "_rate", lambda engine, *_: engine.rate)
    monkeypatch.setattr(choose, "candidates", lambda *_: [("openvino", p) for p in ("int8", "bf16", "float32")])
    monkeypatch.setattr(choose, "TorchEngine", lambda *_: made["float32"])
    engine = open_engine(weights(), "auto", "auto", lanes, torch.device("cpu"), "none")
    assert engine is made["float32"]  # type: ignore[comparison-overlap]
    assert "openvino int8 cannot: OpenVINO cannot convert it, fake bf16 1.00, fake float32 2.00" in engine.description


def test_auto_measures_what_is_here_and_says_so(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "SECONDS", 0.01)
    monkeypatch.setattr(choose, "installed", lambda name: False)
    monkeypatch.setattr(choose, "pick_precision", lambda asked, device: "float32")
    engine = open_engine(weights("unet[width=2,levels=2]"), "auto", "auto", lanes, CPU, "none", tile=64)
    assert (engine.name, engine.precision) == ("torch", "float32")
    engine = open_engine(weights("unet[width=2,levels=2]"), "torch", "auto", lanes, CPU, "none", tile=64)
    assert (engine.name, engine.precision) == ("torch", "float32")


@pytest.mark.parametrize(
    ("engine", "precision", "spec", "channels", "said"),
    [
        ("torch", "int8", "unet[width=2,levels=2]", 3, "precision int8 with engine torch"),
        ("onnx", "bf16", "unet[width=2,levels=2]", 3, "it computes float32; or give engine openvino"),
        ("openvino", "int8", "unet[width=2,levels=2]", 3, "needs images to calibrate on: give --calibrate"),
        ("tensorrt", "auto", "unet[width=2,levels=2]", 3, "give one of auto, torch"),
        ("torch", "fp8", "unet[width=2,levels=2]", 3, "give one of auto, float32"),
        ("torch", "float32", "unet[width=2,levels=2]", 1, "takes 1 channels, not the 3 of an RGB image"),
        ("torch", "float32", "unet[width=2,levels=2,padding=valid]", 3, "give weights with padding=same"),
    ],
)
def test_what_cannot_be_is_refused(
    lanes: Lanes, engine: str, precision: str, spec: str, channels: int, said: str
) -> None:
    with pytest.raises(RunError, match=said):
        open_engine(weights(spec, channels), engine, precision, lanes, CPU, "none")


@pytest.mark.parametrize(
    ("engine", "precision", "device"),
    [("torch", "auto", "cpu"), ("onnx", "auto", "cpu"), ("auto", "auto", "meta"), ("auto", "auto", "cpu"),
     ("torch", "int8", "cpu"), ("openvino", "float32", "cpu")],
)  # fmt: skip
def test_crops_are_refused_where_nothing_is_int8(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch, engine: str, precision: str, device: str
) -> None:
    monkeypatch.setattr(choose, "installed", lambda name: name != "openvino")
    crops = [invented_tissue(64)]
    with pytest.raises(RunError, match=f"precision {precision} and engine {engine} on {device}: leave them out, or"):
        open_engine(weights(), engine, precision, lanes, torch.device(device), "none", crops)


def test_crops_without_effect_and_other_devices_are_refused(lanes: Lanes) -> None:
    with pytest.raises(RunError, match="have no effect with precision float32"):
        open_engine(weights(), "torch", "float32", lanes, CPU, "none", [invented_tissue(64)])
    with pytest.raises(RunError, match="engine onnx computes on the CPU, not on meta"):
        open_engine(weights(), "onnx", "float32", lanes, torch.device("meta"), "none")


def test_weights_read_back_compute_the_same(lanes: Lanes, tmp_path: Path) -> None:
    made = weights()
    save_weights(tmp_path / "weights.safetensors", made.net, made.about)
    tile = invented_tissue(64)
    both = [open_engine(w, "torch", "float32", lanes, CPU, "none") for w in (made, load_weights(tmp_path))]
    assert np.array_equal(*(engine.probabilities(tile, NO_STAIN) for engine in both))
