"""Every modification beside every modification of another axis: builds, computes and receives gradients?

    python benchmarks/pairs.py [--jobs 2]

A pair is put on a small U; forward pass in training mode, loss, backward pass, all parameters reached, then scores in
evaluation mode. results/pairs.csv counts, for each two axes, the pairs that ran, those refused with a reason, and those
that failed (any is a defect, and makes this program end with code 1); results/pairs-refused.csv gives the reasons.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: each process computes with one thread

from rich.progress import track

BASE = "unet[width=8,levels=3]"
RESULTS = Path(__file__).parent / "results"


def pairs() -> list[tuple[str, str, str, str]]:
    """(axis, name, axis, name) of every two modifications of different axes; defaults are modifications too."""
    from ushape.nets.registry import AXES, modifications

    order = list(AXES)
    listed = sorted(modifications(), key=lambda m: order.index(m.axis))
    return [(a.axis, a.name, b.axis, b.name) for a, b in combinations(listed, 2) if a.axis != b.axis]


def attempt(pair: tuple[str, str, str, str]) -> tuple[str, str]:
    """("ran", ""), ("refused", reason) or ("failed", what happened)."""
    import torch

    from ushape.errors import SpecError
    from ushape.nets.pairs import refusal
    from ushape.nets.spec import Choice, parse
    from ushape.nets.unet import build
    from ushape.train.losses import segmentation_loss

    torch.set_num_threads(1)
    first, one, second, other = pair
    changed: dict[str, Any] = {first: Choice(one), second: Choice(other)}
    spec = replace(parse(BASE), **changed)
    if reason := refusal(spec):
        return "refused", reason
    try:
        net = build(spec, in_channels=3, classes=5, seed=0)
        height, width = (60, 76) if net.shrink else (37, 53)  # valid padding takes 4k + 40 on three levels
        x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        labels = torch.zeros(2, height - net.shrink, width - net.shrink, dtype=torch.int64)
        labels[:, ::2] = 1
        segmentation_loss(net.train()(x), labels, dice=1.0).backward()
        missed = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        if missed:
            return "failed", f"no finite gradient for {missed[0]}"
        with torch.no_grad():
            scores = net.eval()(x)
        if scores.shape != (2, 5, *labels.shape[1:]) or not scores.isfinite().all():
            return "failed", f"scores of shape {tuple(scores.shape)}, or not finite"
    except SpecError as error:  # refused by a part while it is built
        return "refused", str(error)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "ran", ""


def main() -> None:
    from multiprocessing import get_context

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    todo = pairs()
    with get_context("spawn").Pool(options.jobs) as pool:
        outcomes = list(track(pool.imap(attempt, todo, chunksize=16), "pairs", len(todo)))
    tally: dict[tuple[str, str], Counter[str]] = {}
    for (first, _, second, _), (outcome, _) in zip(todo, outcomes, strict=True):
        tally.setdefault((first, second), Counter())[outcome] += 1
    with (RESULTS / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["axis", "other axis", "pairs", "ran", "refused", "failed"])
        for (first, second), counts in tally.items():
            row = [counts[key] for key in ("ran", "refused", "failed")]
            writer.writerow([first, second, sum(row), *row])
        total = [sum(counts[key] for counts in tally.values()) for key in ("ran", "refused", "failed")]
        writer.writerow(["all", "all", sum(total), *total])
    with (RESULTS / "pairs-refused.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["axis", "modification", "other axis", "other modification", "outcome", "reason"])
        writer.writerows([*pair, *outcome] for pair, outcome in zip(todo, outcomes, strict=True) if outcome[0] != "ran")
    print(f"{sum(total)} pairs: {total[0]} ran, {total[1]} refused with a reason, {total[2]} failed")
    for pair, (outcome, what) in zip(todo, outcomes, strict=True):
        if outcome == "failed":
            print(f"  {pair[0]}={pair[1]} with {pair[2]}={pair[3]}: {what}")
    sys.exit(1 if total[2] else 0)


if __name__ == "__main__":
    main()
