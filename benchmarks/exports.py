"""Which published networks can leave as a file? `ushape export` of every one, narrowed; results/exports.csv.

Each network, its widths scaled down to 8 at the finest level, is written as ONNX, for OpenVINO and for torch, each of
which computes images of four sizes again (see `ushape.predict.export`). A row a network: the share of pixels with the
class of PyTorch in float32, or why there is no file. An hour or two on one core; rows that are there already stay.

python benchmarks/exports.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

from ushape.data.classes import grouping
from ushape.errors import UshapeError
from ushape.nets.spec import Spec, parse
from ushape.nets.unet import build
from ushape.nets.weights import save_weights
from ushape.nets.zoo import published
from ushape.predict.export import SUFFIXES, export

KINDS = ("onnx", "openvino", "torch")
RESULTS = Path(__file__).parent / "results" / "exports.csv"


def narrow(name: str) -> Spec:
    spec = parse(name)
    factor = min(1.0, 8 / min(spec.widths))
    return replace(spec, widths=tuple(max(2, round(width * factor)) for width in spec.widths))


def row(name: str, folder: Path) -> dict[str, str]:
    made = {"network": name}
    spec = narrow(name)
    about = {"grouping": grouping("bcss-5").describe(), "mpp": 1.2, "normalise": "stain", "tta": "none"}
    try:
        save_weights(folder / "weights.safetensors", build(spec, seed=0), about)
    except UshapeError as error:
        return made | dict.fromkeys(KINDS, str(error))
    for kind in KINDS:
        try:
            made[kind] = (
                f"{export(folder / 'weights.safetensors', kind, folder / f'net{SUFFIXES[kind]}').agreement:.5f}"
            )
        except UshapeError as error:
            made[kind] = str(error).removeprefix(f"{spec.name} as {kind}: ")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    options = parser.parse_args()
    rows: dict[str, dict[str, str]] = {}
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = {each["network"]: each for each in csv.DictReader(file)}
    names = [network.name for network in published()]
    for name in options.only or [name for name in names if name not in rows]:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row(name, Path(folder))
        print(*rows[name].values(), sep="  ", flush=True)
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["network", *KINDS], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[each] for each in names if each in rows)


if __name__ == "__main__":
    main()
