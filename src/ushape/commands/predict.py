"""`ushape evaluate` and `ushape predict`: a trained network on whole images."""

from __future__ import annotations

import argparse

from ushape.commands.shared import Bar, print_scores, say
from ushape.errors import DataError


def evaluate(options: argparse.Namespace) -> None:
    """Score a network on whole ROIs."""
    from functools import reduce
    from operator import add

    from ushape.data.classes import grouping
    from ushape.data.rois import find_rois, open_pixels
    from ushape.files import write_json
    from ushape.nets.device import pick_device, pick_precision
    from ushape.nets.weights import load_weights
    from ushape.predict.engine import Predictor
    from ushape.predict.engine import evaluate as run_evaluation
    from ushape.predict.score import plain, scores, summary
    from ushape.threads import Lanes, cores

    weights = load_weights(options.weights)
    about, groups = weights.about, grouping(weights.about["grouping"]["id"])
    rois = find_rois(options.data, options.mpp)
    device = pick_device(options.device)
    with Lanes(options.threads or cores()) as lanes, Bar("ROIs", len(rois)) as advance:
        tta = options.tta or about["tta"]
        predictor = Predictor(weights.net, device, pick_precision("auto", device), lanes, tta)
        matrices, sure = {}, {}
        pixels = (open_pixels(roi, about["mpp"], about["normalise"]) for roi in rois)
        for found in run_evaluation(predictor, pixels, groups):
            matrices[found.roi.name], sure[found.roi.name] = found.confusion, found.calibration
            advance()
    made = summary(matrices, {r.name: r.patient for r in rois}, groups.classes)
    made["calibration_error"] = plain(reduce(add, sure.values()).error)
    each = {
        name: scores(matrix, groups.classes) | {"calibration_error": plain(sure[name].error)}
        for name, matrix in matrices.items()
    }
    print_scores({"": made}, groups.id)
    seen = {*about["trained_on"], *about["validated_on"]} & {r.patient for r in rois}
    if seen:
        say(f"[bold]note[/]: {len(seen)} of these patients were in the network's training or validation set")
    if options.json:
        write_json(
            options.json, {"grouping": groups.id, "tta": tta, "seen_patients": sorted(seen), **made, "rois": each}
        )


def predict(options: argparse.Namespace) -> None:
    """Label images with a trained network."""
    from ushape.data.classes import grouping
    from ushape.data.rois import pixel_size, prepare, read_image
    from ushape.files import write_json
    from ushape.nets.device import pick_device, pick_precision
    from ushape.nets.weights import load_weights
    from ushape.predict.engine import Predictor
    from ushape.predict.outputs import composition, save_overlay, save_prediction
    from ushape.threads import Lanes, cores

    weights = load_weights(options.weights)
    about, groups = weights.about, grouping(weights.about["grouping"]["id"])
    names = [path.stem for path in options.images]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name}: two images have this name and would overwrite each other: rename one")
    sizes = {path: pixel_size(path.stem, options.mpp) for path in options.images}
    device = pick_device(options.device)
    with Lanes(options.threads or cores()) as lanes, Bar("images", len(sizes)) as advance:
        tta = options.tta or about["tta"]
        predictor = Predictor(weights.net, device, pick_precision("auto", device), lanes, tta)
        for path, mpp in sizes.items():
            image = read_image(path)
            labels = predictor.labels(prepare(image, mpp, about["mpp"], about["normalise"]))
            save_prediction(options.out / f"{path.stem}.png", labels, image.size, groups)
            save_overlay(options.out / f"{path.stem}-overlay.jpg", image, labels, groups)
            made = {"image": str(path), "mpp": about["mpp"], "grouping": groups.id, "tta": tta}
            write_json(
                options.out / f"{path.stem}.json", made | {"composition": composition(labels, about["mpp"], groups)}
            )
            advance()
    say(f"label maps, overlays and composition of {len(sizes)} images: {options.out}")
