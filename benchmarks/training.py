"""Speed of training, as ratios measured side by side: `make bench` on a quiet machine; results/training.csv.

    ours    `ushape train` as users run it: reading, augmentation, averaging, logging, all cores
    bare    the same optimisation steps on one fixed batch, nothing else
    stock   a stock loop: float32, NCHW, DataLoader with two workers, default threads; same network, crops and loss
    busy    ours, while another process keeps one core busy

Each is a process of its own; the rounds are interleaved; a ratio is of medians over the rounds. Start-up times of the
package and its command line follow.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC, STEPS, WARMUP = "unet[width=16]", 40, 8
MODES = ("ours", "bare", "stock", "busy")


def measure(mode: str, data: Path) -> float:
    """Steps per second of one mode, after WARMUP steps."""
    import torch

    from ushape.data.augment import CropSettings
    from ushape.data.classes import grouping
    from ushape.data.crops import Crops
    from ushape.data.rois import find_rois, open_pixels
    from ushape.nets.spec import parse
    from ushape.nets.unet import build
    from ushape.nets.weights import as_input
    from ushape.threads import Lanes, cores
    from ushape.train.loop import _Run, train
    from ushape.train.losses import segmentation_loss
    from ushape.train.recipe import Recipe, make_recipe
    from ushape.train.run import RunPlan
    from ushape.train.steps import read_log

    rois = tuple(find_rois(data))
    recipe = make_recipe({"steps": STEPS})
    plan, device = RunPlan(parse(SPEC), recipe, 0, data, rois), torch.device("cpu")
    pixels = [open_pixels(roi, recipe.mpp, recipe.normalise) for roi in rois]
    if mode in ("ours", "busy"):
        with tempfile.TemporaryDirectory() as folder, Lanes(min(cores(), recipe.shards)) as lanes:
            train(plan, Path(folder), lanes, device)
            seconds = read_log(Path(folder) / "log.csv")["seconds"]
        return (STEPS - WARMUP) / (seconds[-1] - seconds[WARMUP - 1])
    if mode == "bare":
        with tempfile.TemporaryDirectory() as folder, Lanes(min(cores(), recipe.shards)) as lanes:
            run = _Run(plan, Path(folder), lanes, device, pixels, [])
            fixed = [run.crops.draw_all(0, i) for i in range(recipe.batch)]
            run.crops.draw_all = lambda step, place: fixed[place]  # type: ignore[method-assign]
            run._average_weights = lambda: None  # type: ignore[method-assign]
            for step in range(STEPS):
                if step == WARMUP:
                    began = time.perf_counter()
                run.update()
            return (STEPS - WARMUP) / (time.perf_counter() - began)
    settings = CropSettings(recipe.crop, recipe.balanced, recipe.stain, recipe.scale, recipe.sharpness, recipe.elastic)
    crops = Crops(pixels, grouping(recipe.grouping), settings, 0)

    class Stock(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return STEPS * recipe.batch

        def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
            light, labels = crops.draw(i // recipe.batch, i % recipe.batch)
            return as_input(torch.from_numpy(light)[None])[0].contiguous(), torch.from_numpy(labels)

    net = build(SPEC, seed=0).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=Recipe().rate)
    for step, (x, labels) in enumerate(torch.utils.data.DataLoader(Stock(), recipe.batch, num_workers=2)):
        if step == WARMUP:
            began = time.perf_counter()
        optimiser.zero_grad()
        loss = segmentation_loss(net(x), labels, recipe.dice)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        optimiser.step()
        loss.item()
    return (STEPS - WARMUP) / (time.perf_counter() - began)


def in_process(mode: str, data: Path) -> float:
    """`measure` in a fresh process; only the stock loop keeps torch's default threads."""
    environment = dict(os.environ)
    for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(key, None)
        if mode != "stock":
            environment[key] = "1"
    spinner = None
    if mode == "busy":
        spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        command = [sys.executable, __file__, "--mode", mode, "--data", str(data)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    finally:
        if spinner:
            spinner.kill()
            spinner.wait()
    return float(json.loads(done.stdout.splitlines()[-1]))


def start_up(arguments: list[str], rounds: int = 5) -> float:
    """Median seconds of a whole process."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options.mode, options.data)))
        return
    from ushape.data.phantom import write_phantom

    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder)
        if options.data is None:
            write_phantom(data, patients=8)
        rates: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(options.rounds):
            for mode in MODES:
                rates[mode].append(in_process(mode, data))
                print(f"{mode}: {rates[mode][-1]:.3f} steps/s", flush=True)
    median = {mode: statistics.median(values) for mode, values in rates.items()}
    rows = [
        ("ours / stock loop", median["ours"] / median["stock"], "at least 2.2"),
        ("ours / bare step", median["ours"] / median["bare"], "at least 0.90"),
        ("ours with one core kept busy / undisturbed", median["busy"] / median["ours"], "at least 0.45"),
        ("import ushape, s", start_up(["-c", "import ushape"]), "under 0.5"),
        ("ushape --help, s", start_up(["-m", "ushape", "--help"]), "under 0.5"),
    ]
    results = Path(__file__).parent / "results" / "training.csv"
    results.parent.mkdir(exist_ok=True)
    with results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["figure", "measured", "wanted"])
        writer.writerows((name, f"{value:.3f}", wanted) for name, value, wanted in rows)
        writer.writerows(
            (f"{mode}, steps/s, rounds", " ".join(f"{v:.3f}" for v in values), "") for mode, values in rates.items()
        )
    print(results.read_text())


if __name__ == "__main__":
    main()
