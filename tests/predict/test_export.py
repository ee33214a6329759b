"""Exported files compute what PyTorch computes, with nothing of ushape, and say what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ushape.data.classes import grouping
from ushape.data.stain import restained, strength_matrix
from ushape.errors import RunError, UshapeError
from ushape.nets.unet import build
from ushape.nets.weights import as_input, load_weights, save_weights
from ushape.predict import export as module
from ushape.predict.export import SUFFIXES, export
from ushape.predict.invented import invented_tissue

Bytes = NDArray[np.uint8]
Compute = Callable[..., list[NDArray[Any]]]

SPEC = "unet[width=2,levels=2]+attention-gate"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(spec: str = SPEC, normalise: str = "stain", channels: int = 3) -> Path:
        path = tmp_path_factory.mktemp("net") / "weights.safetensors"
        about = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": normalise, "tta": "none"}
        save_weights(path, build(spec, channels, seed=0), about)
        return path

    return make


def opened(kind: str, path: Path) -> tuple[Compute, dict[str, str]]:
    """What the library of a format makes of a file: a function of arrays, and the metadata."""
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        told = session.get_modelmeta().custom_metadata_map
        return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True))), told
    if kind == "openvino":
        import openvino

        model = openvino.Core().read_model(path)
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        told = {key: value.astype(str) for key, value in model.get_rt_info()["ushape"].items()}
        return lambda *arrays: list(compiled(list(arrays)).values()), told
    extra = {"ushape.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    return lambda *arrays: [t.detach().numpy() for t in program(*map(torch.from_numpy, arrays))], json.loads(
        extra["ushape.json"]
    )


def needed(kind: str) -> None:
    for library in {"onnx": ["onnxruntime", "onnx", "onnxscript"], "openvino": ["openvino"]}.get(kind, []):
        pytest.importorskip(library, reason=f"the extra `{kind}` is not installed")


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torch"])
def test_a_file_takes_pixels_of_any_size_and_gives_classes(
    kind: str, weights: Callable[..., Path], tmp_path: Path
) -> None:
    needed(kind)
    path, out = weights(), tmp_path / f"net{SUFFIXES[kind]}"
    made = export(path, kind, out)
    assert made.agreement > 0.999
    compute, about = opened(kind, out)
    assert about == made.about
    assert json.loads(about["classes"]) == list(grouping("bcss-5").classes)
    assert json.loads(about["colours"])[0].startswith("#")
    assert (about["mpp"], about["stain"], about["precision"], about["grouping"]) == (
        "1.2", "image", "float32", grouping("bcss-5").id,
    )  # fmt: skip
    net = load_weights(path).net
    for size in ((40, 64), (33, 91), (3, 3)):
        image = invented_tissue(256)[100 : 100 + size[0], 30 : 30 + size[1]].copy()
        probabilities, labels, stain = compute(image[None])
        matrix = strength_matrix(image)
        with torch.no_grad():
            scores = net(as_input(torch.from_numpy(restained(image, matrix).copy())[None].float() / 255))
        assert isinstance(scores, torch.Tensor)
        np.testing.assert_allclose(stain, matrix, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(probabilities, scores.softmax(1).numpy(), atol=0.02)  # a level of grey, at times
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, probabilities.argmax(1))


def test_the_stain_can_be_given(weights: Callable[..., Path], tmp_path: Path) -> None:
    needed("onnx")
    path, out = weights(), tmp_path / "net.onnx"
    assert export(path, "onnx", out, "given").about["stain"] == "given"
    compute, _ = opened("onnx", out)
    image = invented_tissue(64)
    same, darker = (compute(image[None], np.eye(3, dtype=np.float32) * np.float32(f)) for f in (1, 1.5))
    assert len(same) == 2
    assert not np.array_equal(same[0], darker[0])
    with torch.no_grad():
        scores = load_weights(path).net(as_input(torch.from_numpy(image)[None].float() / 255))
    assert isinstance(scores, torch.Tensor)
    np.testing.assert_allclose(same[0], scores.softmax(1).numpy(), atol=1e-3)


def test_weights_for_ushape_take_half_the_bytes(weights: Callable[..., Path], tmp_path: Path) -> None:
    path, out = weights("unet[width=8,levels=3]"), tmp_path / "half.safetensors"
    made = export(path, "safetensors", out)
    assert made.about["precision"] == "float16"
    assert made.agreement > 0.999
    assert out.stat().st_size < 0.6 * path.stat().st_size
    assert load_weights(out).about == load_weights(path).about


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_is_near(kind: str, weights: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INT8", 0.85)  # classes of random weights lie nearer to each other than trained ones
    needed(kind)
    pytest.importorskip("nncf", reason="the extra `openvino` is not installed")
    path = weights("unet[width=8,levels=2]", "none")
    crops = [invented_tissue(256)[i : i + 64, i : i + 64] for i in range(0, 128, 16)]
    out = tmp_path / f"net{SUFFIXES[kind]}"
    made = export(path, kind, out, None, crops)
    assert (made.about["precision"], made.about["stain"], made.images) == ("int8", "none", 8)
    assert 0.85 < made.agreement < 1
    compute, about = opened(kind, out)
    assert about == made.about
    probabilities, _labels = compute(crops[0][None, :33])
    assert probabilities.shape == (1, 5, 33, 64)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_takes_a_stain_that_is_given(
    kind: str, weights: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INT8", 0.85)
    needed(kind)
    pytest.importorskip("nncf", reason="the extra `openvino` is not installed")
    crops = [invented_tissue(256)[i : i + 64, i : i + 64] for i in range(0, 128, 16)]
    out = tmp_path / f"net{SUFFIXES[kind]}"
    made = export(weights("unet[width=8,levels=2]"), kind, out, "given", crops)
    assert (made.about["precision"], made.about["stain"], made.images) == ("int8", "given", 8)
    compute, _ = opened(kind, out)
    same, darker = (compute(crops[0][None], np.eye(3, dtype=np.float32) * np.float32(f))[0] for f in (1, 1.5))
    assert not np.allclose(same, darker, atol=0.01)


def test_images_that_are_too_small_to_calibrate_on_are_told(weights: Callable[..., Path], tmp_path: Path) -> None:
    needed("openvino")
    pytest.importorskip("nncf", reason="the extra `openvino` is not installed")
    with pytest.raises(RunError, match=r"no image to calibrate on is larger than 2 px .*name larger ones"):
        export(weights(), "openvino", tmp_path / "net.xml", crops=[np.zeros((2, 4, 3), np.uint8)])
    assert not (tmp_path / "net.xml").exists()


def test_what_cannot_be_quantised_is_told(
    weights: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("openvino")
    nncf = pytest.importorskip("nncf", reason="the extra `openvino` is not installed")

    def fails(*_: object, **__: object) -> None:
        raise KeyError("no such node\nand more")

    monkeypatch.setattr(nncf, "quantize", fails)
    with pytest.raises(RunError, match=r"as openvino: NNCF cannot quantise it \(.*no such node.*\): leave int8 out"):
        export(weights(), "openvino", tmp_path / "net.xml", None, [invented_tissue(64)])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    weights: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plain = weights(), weights(normalise="none")
    for arguments, said in (
        ((path, "onnx", tmp_path / "net.xml"), r"net\.xml: a file of onnx ends with \.onnx"),
        ((plain, "torch", tmp_path / "net.pt2", "given"), "--stain given has no effect"),
        (
            (path, "torch", tmp_path / "net.pt2", None, [invented_tissue(64)]),
            "int8 has no effect with --format torch",
        ),
        ((weights(channels=1), "torch", tmp_path / "net.pt2"), "takes 1 channels"),
        ((weights("unet[width=2,levels=2,padding=valid]"), "torch", tmp_path / "net.pt2"), "padding=same"),
        ((tmp_path / "gone", "torch", tmp_path / "net.pt2"), "cannot read weights"),
    ):
        with pytest.raises(UshapeError, match=said):
            export(*arguments)
    monkeypatch.setattr(module, "EXACT", 1.1)
    (tmp_path / "net.pt2").write_bytes(b"the one before")
    with pytest.raises(RunError, match="have the class that PyTorch gives them: give another --format"):
        export(plain, "torch", tmp_path / "net.pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2"]
    assert (tmp_path / "net.pt2").read_bytes() == b"the one before"


def test_a_full_disk_is_told(weights: Callable[..., Path], tiny_disk: Callable[[int], Path]) -> None:
    disk = tiny_disk(300)  # kB
    with pytest.raises(RunError, match="cannot write"):
        export(weights("unet[width=16,levels=3]", "none"), "torch", disk / "net.pt2")
    assert not list(disk.iterdir())
