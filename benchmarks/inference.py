"""Speed of prediction, from a file to a label map, side by side in one run; results/inference.csv.

    bare PRECISION    an engine on tiles in memory, their cores counted, all lanes
    ours PRECISION    `predict_slides` as users run it, with a label pyramid as the only output
    monai             MONAI's sliding_window_inference as its documentation shows it: float32, overlap .25, Gaussian
                      weights, tiles of 512 px and of the size that we use, the faster counts; default threads
    10k, large        ours, in the first precision, on slides of 10,240 px and of --large px a side; memory of both

Precisions are those that OpenVINO computes on this CPU: bf16 where it does, float32 where not, and int8. Each arm is a
process of its own; the rounds are interleaved; a ratio is of medians over the rounds. A slide is a pyramid of JPEG
tiles with procedural tissue. Imports and opening the engine (compilation, quantisation) are not counted for any of
them; so ours predicts a small slide first.
TIAToolbox is not among them: it does not install beside. Version 2.1.3 asks for torch below 2.13, openslide-bin below
4.0.1.2 and imagecodecs below 2026.3.6; pip then falls back to 1.3.2, which does not import.
Run it on a quiet machine: python benchmarks/inference.py [--rounds N] [--weights RUN]
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPEC, MPP, TILE = "unet[width=16]", 1.2, 512
SMALL, MIDDLE = 4480, 10240
"""Sides of slides in px: 20 and 105 Mpx."""


def write_slide(path: Path, side: int, patients: int = 8) -> None:
    """A tiled pyramid of JPEG tiles (levels 1, 1/4, 1/16) with tissue of `patients` phantom ROIs, over and over."""
    import numpy as np
    import tifffile
    from imagecodecs import jpeg_encode
    from PIL import Image

    from ushape.data.phantom import phantom_roi

    rois = [phantom_roi(0, i, TILE, MPP)[0] for i in range(patients)]

    def at(row: int, column: int) -> int:
        return (row * 5 + column * 3) % patients

    def tiles(factor: int) -> Iterator[bytes]:
        small = [np.asarray(Image.fromarray(r).resize((TILE // factor,) * 2, Image.Resampling.BOX)) for r in rois]
        made: dict[tuple[int, ...], bytes] = {}
        count = -(-(side // factor) // TILE)
        for row in range(count):
            for column in range(count):
                ids = tuple(at(row * factor + i, column * factor + j) for i in range(factor) for j in range(factor))
                if ids not in made:
                    bands = [np.concatenate([small[k] for k in ids[i * factor :][:factor]], 1) for i in range(factor)]
                    made[ids] = jpeg_encode(np.concatenate(bands), level=85)
                yield made[ids]

    common: dict[str, Any] = {"tile": (TILE, TILE), "compression": "jpeg", "photometric": "ycbcr", "dtype": "uint8"}
    common |= {"subsampling": (2, 2), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, factor in enumerate((1, 4, 16)):
            shape = (side // factor, side // factor, 3)
            density = (1e4 / MPP / factor,) * 2
            kind = {"subfiletype": 1} if level else {}
            file.write(tiles(factor), shape=shape, resolution=density, **common, **kind)


def measure(arm: str, precision: str, slide: Path, weights: Path, tile: int) -> dict[str, float]:
    """Mpx per second of one arm, and the growth of resident memory in MB."""
    if arm == "monai":
        return _monai(slide, weights, tile)
    import numpy as np
    import torch

    from ushape.data.classes import grouping
    from ushape.files import content_hash
    from ushape.nets.weights import load_weights
    from ushape.predict import whole
    from ushape.predict.engines import open_engine
    from ushape.predict.pyramid import save_label_pyramid
    from ushape.predict.slides import View, open_slide
    from ushape.predict.tiling import cut_from, plan, thrifty
    from ushape.threads import Lanes, cores

    loaded = load_weights(weights)
    groups = grouping(loaded.about["grouping"]["id"])
    with open_slide(slide) as opened:
        view = View(opened, MPP)
        crops = [view.read(i * 512, i * 512, 512, 512) for i in range(8)]
        with Lanes(cores()) as lanes:
            calibrate = crops if precision == "int8" else None
            engine = open_engine(loaded, "openvino", precision, lanes, torch.device("cpu"), "none", calibrate)
            settings = whole.settings_for(
                content_hash(weights), loaded, engine, "none", 0, "auto", None, tile or None, False
            )
            if arm == "bare":
                assert settings.margin is not None
                layout = plan(view.height, view.width, settings.tile, settings.margin, settings.grid)
                stain = np.eye(3, dtype=np.float32) * np.float32(1.1)
                shown = [cut_from(view.read, (view.height, view.width), c, layout.size) for c in layout.corners[:9]]
                for _ in lanes.map(lambda t: engine.labels(t, stain), shown[: 2 * lanes.count]):
                    pass
                began = time.perf_counter()
                for _ in lanes.map(lambda t: engine.labels(t, stain), shown * 4):
                    pass
                side = settings.tile - 2 * settings.margin
                return {"rate": len(shown) * 4 * side**2 / 1e6 / (time.perf_counter() - began)}

            def label_map(job: Any, found: Any, store: Any, grouping: Any, outputs: Any) -> dict[str, Any]:
                save_label_pyramid(job.folder / "labels.ome.tiff", store.labels, found.view.mpp, grouping, {})
                from ushape.predict.composition import composition

                return {"composition": composition(store.labels, found.view.mpp, grouping)}

            whole.write_outputs = label_map  # type: ignore[assignment]
            assert settings.margin is not None
            warm = thrifty(view.height, view.width, settings.tile, settings.margin, settings.grid)
            for _ in lanes.map(
                lambda t: engine.labels(t, np.eye(3, dtype=np.float32) * np.float32(1.1)),
                [np.zeros((warm, warm, 3), np.uint8)] * 2 * lanes.count,
            ):
                pass
            outputs = whole.Outputs(groups.classes, 2.0)
            with tempfile.TemporaryDirectory() as folder:
                write_slide(Path(folder) / "small_MPP-1.2000.tif", 2 * TILE, 1)
                small = [Path(folder) / "small_MPP-1.2000.tif"]
                whole.predict_slides(small, Path(folder), engine, settings, groups, outputs, lanes)
            with tempfile.TemporaryDirectory() as folder, _Memory() as memory:
                began = time.perf_counter()
                whole.predict_slides([slide], Path(folder), engine, settings, groups, outputs, lanes)
                seconds = time.perf_counter() - began
            return {"rate": view.height * view.width / 1e6 / seconds, "memory": memory.growth}


def _monai(slide: Path, weights: Path, tile: int) -> dict[str, float]:
    import numpy as np
    import tifffile
    import torch
    from monai.inferers import sliding_window_inference

    from ushape.nets.weights import as_input, load_weights

    net = load_weights(weights).net.eval()
    began = time.perf_counter()
    image = tifffile.imread(slide)
    x = as_input(torch.from_numpy(image)[None] / 255)
    with torch.no_grad():
        scores = sliding_window_inference(x, (tile, tile), 4, net, overlap=0.25, mode="gaussian")
    labels = scores.argmax(1)[0].numpy().astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        tifffile.imwrite(Path(folder) / "labels.tif", labels, tile=(512, 512), compression="zlib")
    return {"rate": labels.size / 1e6 / (time.perf_counter() - began)}


class _Memory:
    """The growth of this process's resident memory in MB, sampled while the block runs."""

    def __enter__(self) -> _Memory:
        import psutil

        process = psutil.Process()
        self.growth, start, self._go = 0.0, process.memory_info().rss, True

        def watch() -> None:
            while self._go:
                self.growth = max(self.growth, (process.memory_info().rss - start) / 2**20)
                time.sleep(0.05)

        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go = False
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="a trained run of unet[width=16] (else: untrained weights)")
    parser.add_argument("--tile", type=int, default=0, help="side of our tiles in px (what predict chooses)")
    parser.add_argument("--skip-large", action="store_true", help="only the slide of 20 Mpx")
    parser.add_argument("--large", type=int, default=40960, help="side of the large slide in px (40960: 1678 Mpx)")
    parser.add_argument("--folder", type=Path, help="where 1 GB is free for the slides")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="", help=argparse.SUPPRESS)
    parser.add_argument("--slide", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(measure(options.arm, options.precision, options.slide, options.weights, options.tile)))
        return
    fast = "bf16" if _computes_bf16() else "float32"
    sides = {"20 Mpx": SMALL} if options.skip_large else {"20 Mpx": SMALL, "10k": MIDDLE, "large": options.large}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        slides = {name: Path(folder) / f"{side}_MPP-1.2000.tif" for name, side in sides.items()}
        for name, side in sides.items():
            write_slide(slides[name], side)
        weights = options.weights or _untrained(Path(folder))
        arms = [(arm, precision, "20 Mpx") for precision in (fast, "int8") for arm in ("bare", "ours")]
        arms += [("monai", "512", "20 Mpx"), ("monai", "1536", "20 Mpx")]
        found: dict[str, list[dict[str, float]]] = {}
        once = [("ours", fast, name) for name in sides if name != "20 Mpx"]  # long enough to need no repetition
        for number in range(options.rounds):
            for arm, precision, which in arms + (once if number == options.rounds - 1 else []):
                tile = int(precision) if arm == "monai" else options.tile
                words = ["--arm", arm, "--precision", precision, "--slide", slides[which], "--weights", weights]
                made = subprocess.run(
                    [sys.executable, __file__, *map(str, words), "--tile", str(tile)],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                name = f"{arm} {precision}" if which == "20 Mpx" else f"{arm} {precision}, {which}"
                found.setdefault(name, []).append(json.loads(made.stdout.splitlines()[-1]))
                print(f"round {number + 1}  {name:20} {found[name][-1]}", flush=True)
    median = {name: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for name, rows in found.items()}
    rows = [{"what": name, "Mpx/s": round(m["rate"], 2), "MB": round(m.get("memory", 0))} for name, m in median.items()]
    peer = max(("monai 512", "monai 1536"), key=lambda name: median[name]["rate"])
    ratios = [(f"ours {precision}", other) for precision in (fast, "int8") for other in (peer, f"bare {precision}")]
    if once:
        ratios.append((f"ours {fast}, large", f"ours {fast}, 10k"))
    for over, under in ratios:
        ratio = median[over]["rate"] / median[under]["rate"]
        rows.append({"what": f"{over} / {under}", "Mpx/s": round(ratio, 3), "MB": ""})
    large = f"; side of the large slide: {options.large} px" if once else ""
    rows.append({"what": f"{_processor()}; rounds: {options.rounds}{large}", "Mpx/s": "", "MB": ""})
    for row in rows:
        print(f"{row['what']:40} {row['Mpx/s']:>8}  {row['MB']}")
    with (Path(__file__).parent / "results" / "inference.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["what", "Mpx/s", "MB"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _computes_bf16() -> bool:
    from ushape.predict.engines.openvino_engine import computes_bf16

    return computes_bf16()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "processor unknown"


def _untrained(folder: Path) -> Path:
    from ushape.data.classes import grouping
    from ushape.nets.unet import build
    from ushape.nets.weights import save_weights
    from ushape.train.recipe import Recipe

    recipe = Recipe()
    about = {"grouping": grouping(recipe.grouping).describe(), "mpp": MPP, "normalise": recipe.normalise, "tta": "none"}
    path = folder / "weights.safetensors"
    save_weights(path, build(SPEC, seed=0), about | {"trained_on": [], "validated_on": []})
    return path


if __name__ == "__main__":
    main()
