"""A study's numbers as small tables to commit: `python benchmarks/tables.py STUDY benchmarks/studies/NAME`.

Writes arms.csv (scores of every arm), comparisons.csv (differences with intervals), rois.csv (accuracy and Dice of each
ROI) and study.yaml as the study has it. No picture of the data.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import yaml


def main(study: Path, out: Path) -> None:
    results = json.loads((study / "results.json").read_text())
    classes = results["grouping"]["classes"]
    out.mkdir(parents=True, exist_ok=True)

    arms = []
    for arm in results["arms"]:
        row = {"arm": arm["name"], "parameters": arm["parameters"], "train_minutes": arm["train_minutes"]}
        for part, scores in arm["scores"].items():
            row |= {f"{part} {key}": scores[key] for key in ("macro_dice", "accuracy")}
        arms.append(row | {f"pooled Dice {c}": arm["scores"]["pooled"]["dice"][c] for c in classes})
    _write(out / "arms.csv", arms)
    _write(out / "comparisons.csv", results["comparisons"])

    rois = []
    for name, roi in results["rois"].items():
        row = {"roi": name.split("_")[0], "fold": roi["fold"]}
        for arm, scores in roi["arms"].items():
            row |= {f"{arm} accuracy": scores["accuracy"], f"{arm} macro Dice": scores["macro_dice"]}
        rois.append(row)
    _write(out / "rois.csv", rois)

    about = yaml.safe_load((study / "study.yaml").read_text())
    about["data"] = Path(about["data"]).name
    (out / "study.yaml").write_text(yaml.safe_dump(about, sort_keys=False))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
