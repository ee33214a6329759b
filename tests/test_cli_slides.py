"""`ushape predict` as a process: killed, interrupted, on a full disk; and slides with something wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from ushape.data.classes import grouping
from ushape.nets.unet import build
from ushape.nets.weights import save_weights
from ushape.train.recipe import Recipe

Run = Callable[..., SimpleNamespace]
SETTINGS = ["--engine", "torch", "--precision", "float32", "--tile", "256", "--tissue", "all"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights, as a run leaves it."""
    path = tmp_path_factory.mktemp("net") / "weights.safetensors"
    about = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": Recipe().normalise, "tta": "none"}
    save_weights(path, build("unet[width=4,levels=3,up=bilinear]", seed=0), about)
    return path


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "tissue_MPP-1.2000.png"
    patches = np.random.default_rng(0).integers(60, 240, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(patches.repeat(80, 0).repeat(80, 1)).save(path)  # flat: labelled calmly
    return path


@pytest.fixture(scope="module")
def whole(weights: Path, slide: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The label map of a prediction that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    assert ushape(["predict", weights, slide, "--out", out, *SETTINGS]).returncode == 0
    return labels(out)


def ushape(words: list[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ushape", *map(str, words)], capture_output=True, text=True)


def labels(out: Path) -> np.ndarray:
    return tifffile.imread(out / "tissue_MPP-1.2000" / "labels.ome.tiff")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_prediction_goes_on(
    weights: Path, slide: Path, whole: np.ndarray, tmp_path: Path, how: signal.Signals
) -> None:
    words = ["predict", weights, slide, "--out", tmp_path, *SETTINGS]
    line = [sys.executable, "-m", "ushape", *map(str, words), "--jobs", "1"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    work = tmp_path / "tissue_MPP-1.2000" / ".work"
    while not (work / "labels.raw").exists() or not (np.fromfile(work / "labels.raw", np.uint8) < 255).any():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(how)
    _, told = process.communicate()
    assert process.returncode == (-how if how == signal.SIGKILL else 130), told
    if how != signal.SIGKILL:
        assert "the same command goes on from there" in told
        done = np.fromfile(work / "done.raw", np.uint8)
        assert 0 < done.sum() < len(done)
    assert not (work.parent / "labels.ome.tiff").exists()
    made = ushape(words)
    assert made.returncode == 0, made.stderr
    assert np.array_equal(labels(tmp_path), whole)
    assert not work.exists()


def test_lanes_change_nothing(weights: Path, slide: Path, whole: np.ndarray, tmp_path: Path) -> None:
    assert ushape(["predict", weights, slide, "--out", tmp_path, *SETTINGS, "--jobs", 3]).returncode == 0
    assert np.array_equal(labels(tmp_path), whole)


def test_the_filter_knows_no_tiles(weights: Path, slide: Path, whole: np.ndarray, tmp_path: Path) -> None:
    made = []
    for tile in (512, 1024):
        words = [*SETTINGS[:4], "--tile", tile, *SETTINGS[6:], "--guided", 8]
        told = ushape(["predict", weights, slide, "--out", tmp_path / str(tile), *words])
        assert told.returncode == 0, told.stderr
        made.append(labels(tmp_path / str(tile)))
    assert (made[0] == made[1]).mean() > 0.9999  # rounding of float32 decides where two classes are alike
    assert (made[0] != whole).sum() > 10 * (made[0] != made[1]).sum() + 100
    refused = ushape(["predict", weights, slide, "--out", tmp_path / "512", *words[:-1], 4])
    assert (refused.returncode, "setting (guided 8, not 4)" in refused.stderr) == (2, True)
    assert ushape(["predict", weights, slide, "--out", tmp_path, "--guided", 6]).returncode == 2


@pytest.mark.parametrize("room", [900, 1900])  # kB: not even for the raw map; for that, not for the results
def test_a_full_disk_is_told_and_room_lets_it_go_on(
    weights: Path, slide: Path, whole: np.ndarray, tiny_disk: Callable[[int], Path], room: int
) -> None:
    out = tiny_disk(room) / "out"
    words = ["predict", weights, slide, "--out", out, *SETTINGS, "--probabilities"]
    made = ushape(words)
    assert made.returncode == 2
    assert len(made.stderr.splitlines()) == 1
    assert made.stderr.startswith(f"ushape: cannot write {out}")
    assert "free some space" in made.stderr
    assert not list(out.rglob("*.part"))
    tiny_disk(60_000)
    made = ushape(words)
    assert made.returncode == 0, made.stderr
    assert np.array_equal(labels(out), whole)


def test_a_broken_tile_is_counted_and_one_bad_slide_ends_in_code_2(
    run: Run, weights: Path, slide: Path, tmp_path: Path
) -> None:
    with Image.open(slide) as opened:
        pixels = np.asarray(opened)
    path = tmp_path / "broken_MPP-1.2000.tif"
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]
    data = bytearray(path.read_bytes())
    data[offset : offset + length] = bytes(length)
    path.write_bytes(data)
    made = run("predict", weights, path, "--out", tmp_path / "out", *SETTINGS)
    assert made.code == 0, made.err
    assert "unreadable, counted as background: 1 tile of the file" in " ".join(made.out.split())
    told = json.loads((tmp_path / "out" / path.stem / "provenance.json").read_text())
    assert told["broken"] == [[256, 0, 256, 256]]
    for bad, reason in (("deep.tif", "16-bit"), ("nameless.png", "--mpp")):
        array = pixels.astype(np.uint16) * 200 if bad == "deep.tif" else pixels[..., :3]
        tifffile.imwrite(tmp_path / bad, array) if bad == "deep.tif" else Image.fromarray(array).save(tmp_path / bad)
        made = run("predict", weights, path, tmp_path / bad, "--out", tmp_path / "out2", *SETTINGS)
        assert made.code == 2
        assert bad in made.err
        assert reason in made.err
        assert len(made.err.splitlines()) == 1
    assert not (tmp_path / "out2").exists()


BARE = """
import sys
for name in ("imagecodecs", "openslide", "openvino", "nncf", "onnx", "onnxruntime", "onnxscript", "highdicom"):
    sys.modules[name] = None
from ushape.cli import main
main()
"""


def test_the_default_install_predicts_images_and_names_the_extra_for_slides(
    weights: Path, slide: Path, whole: np.ndarray, tmp_path: Path
) -> None:
    def bare(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", BARE, *map(str, words)], capture_output=True, text=True)

    made = bare("predict", weights, slide, "--out", tmp_path, "--precision", "float32", *SETTINGS[4:])
    assert made.returncode == 0, made.stderr
    assert "in torch, float32" in made.stdout
    assert (labels(tmp_path) == whole).mean() > 0.9999
    assert bare("measure", tmp_path).returncode == 0
    tiff = tmp_path / "a_MPP-1.2000.tif"
    tifffile.imwrite(tiff, np.zeros((64, 64, 3), np.uint8), tile=(16, 16))
    for words, extra in (([tiff], "slides"), ([slide, "--engine", "openvino"], "openvino")):
        made = bare("predict", weights, *words, "--out", tmp_path / "other")
        assert made.returncode == 2
        assert f"ushape[{extra}]" in made.stderr
