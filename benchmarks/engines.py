"""Do all engines say what float32 PyTorch says? Agreement, Dice and speed on whole ROIs; results/engines.csv.

Each engine and precision that this machine has labels every ROI as a whole. Agreement: share of pixels with the class
of torch in float32. Dice: pooled macro Dice minus that of torch in float32. Speed: of tiles of 480 px on all cores,
while nothing else should run. int8 is calibrated on crops of the ROIs that the run was trained on.

python benchmarks/engines.py RUN --data ../shared/data/bcss-seed10
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch

from ushape.data.classes import grouping
from ushape.data.rois import find_rois, open_pixels
from ushape.data.stain import strength_matrix
from ushape.errors import UshapeError
from ushape.nets.weights import load_weights
from ushape.predict.calibrate import crops_for
from ushape.predict.engines import NO_STAIN, Engine, open_engine
from ushape.predict.engines.base import Bytes, Float
from ushape.predict.score import confusion, macro_dice
from ushape.threads import Lanes, cores

TILE = 480

KINDS = [
    ("torch", "float32"), ("torch", "bf16"), ("openvino", "float32"), ("openvino", "bf16"), ("openvino", "int8"),
    ("onnx", "float32"),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    weights = load_weights(options.run)
    about, groups = weights.about, grouping(weights.about["grouping"]["id"])
    pixels = [open_pixels(roi, about["mpp"]) for roi in find_rois(options.data)]
    images = [np.array(each.image) for each in pixels]
    stains = [strength_matrix(image) if about["normalise"] == "stain" else NO_STAIN for image in images]
    truths = [groups.labels(each.codes) for each in pixels]
    tiles = [np.ascontiguousarray(image[:TILE, :TILE]) for image in images]
    area = sum(tile[..., 0].size for tile in tiles) / 1e6
    first: list[Bytes] = []
    base = 0.0
    rows = []
    with Lanes(cores()) as lanes:
        for kind in KINDS:
            try:
                crops = crops_for(options.run, None, about) if kind[1] == "int8" else None
                engine = open_engine(weights, *kind, lanes, torch.device("cpu"), "none", crops)
            except UshapeError as error:
                print(f"{' '.join(kind):18} not here: {error}", flush=True)
                continue
            found = _labels(engine, images, stains, lanes)
            _labels(engine, tiles[:2], stains[:2], lanes)  # makes it ready
            began = time.perf_counter()
            _labels(engine, tiles, stains, lanes)
            seconds = time.perf_counter() - began
            total = sum(confusion(t, f, len(groups.classes)) for t, f in zip(truths, found, strict=True))
            dice = float(macro_dice(total))
            if not first:
                first, base = found, dice
            same = sum(int((a == b).sum()) for a, b in zip(first, found, strict=True)) / sum(a.size for a in first)
            row = {
                "engine": kind[0], "precision": kind[1], "agreement": round(same, 5), "Dice": round(dice, 4),
                "Dice minus float32": round(dice - base, 5), "Mpx/s": round(area / seconds, 2),
            }  # fmt: skip
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    with (Path(__file__).parent / "results" / "engines.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _labels(engine: Engine, images: list[Bytes], stains: list[Float], lanes: Lanes) -> list[Bytes]:
    return list(lanes.map(lambda each: engine.labels(*each), zip(images, stains, strict=True)))


if __name__ == "__main__":
    main()
