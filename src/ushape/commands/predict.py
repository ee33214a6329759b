"""`ushape evaluate`, `predict` and `export`: a trained network on ROIs, on whole slides, and elsewhere."""

from __future__ import annotations

import argparse
import sys

from ushape.commands.shared import Bar, check_mpp, check_output, print_scores, read_all, say


def evaluate(options: argparse.Namespace) -> None:
    """Score a network, or the mean of several, on whole ROIs."""
    from functools import reduce
    from operator import add

    from ushape.data.classes import grouping
    from ushape.data.crops import check_annotated
    from ushape.data.rois import find_rois, in_both, open_pixels
    from ushape.files import write_json
    from ushape.nets.device import pick_device, pick_precision
    from ushape.nets.weights import patients_seen
    from ushape.predict.engine import Predictor
    from ushape.predict.engine import evaluate as run_evaluation
    from ushape.predict.ensemble import Ensemble, common, load_ensemble
    from ushape.predict.score import plain, scores, summary
    from ushape.threads import Lanes, cores
    from ushape.train.sources import maybe_known

    check_output(options.json, ".json")
    networks = load_ensemble(options.weights)
    tta = options.tta or common("tta", networks)
    guided = common("guided", networks) if options.guided is None else options.guided
    about, groups = networks[0].about, grouping(networks[0].about["grouping"]["id"])
    rois = find_rois(options.data, options.mpp)
    check_mpp(options.mpp, [roi.name for roi in rois])
    device = pick_device(options.device)
    read_all(rois, about["mpp"], about["normalise"])
    check_annotated((open_pixels(roi, about["mpp"], about["normalise"]) for roi in rois), groups)
    precision = pick_precision("auto", device)
    with Lanes(options.threads or cores()) as lanes, Bar("ROIs", len(rois)) as advance:
        members = [Predictor(network.net, device, precision, lanes, tta, guided) for network in networks]
        matrices, sure = {}, {}
        pixels = (open_pixels(roi, about["mpp"], about["normalise"]) for roi in rois)
        for found in run_evaluation(Ensemble(members), pixels, groups):
            matrices[found.roi.name], sure[found.roi.name] = found.confusion, found.calibration
            advance()
    made = summary(matrices, {r.name: r.patient for r in rois}, groups.classes)
    made["calibration_error"] = plain(reduce(add, sure.values()).error)
    each = {
        name: scores(matrix, groups.classes) | {"calibration_error": plain(sure[name].error)}
        for name, matrix in matrices.items()
    }
    seen = in_both([r.name for r in rois], [p for network in networks for p in patients_seen(network.about)])
    if options.json:
        told = [
            {"weights": str(path), "spec": network.net.spec.name, "seed": network.about.get("seed")}
            for path, network in zip(options.weights, networks, strict=True)
        ]
        head = {"grouping": groups.id, "tta": tta, "guided": guided, "precision": precision, "networks": told}
        write_json(options.json, head | {"seen_patients": seen} | made | {"rois": each})
    print_scores({"": made}, groups.id)
    if seen:
        owner = "the network's" if len(networks) == 1 else "a network's"
        say(f"note: {len(seen)} of these patients were in {owner} training or validation set")
    for path, network in zip(options.weights, networks, strict=True):
        if "trained_on" not in network.about:
            say(f"note: {path} does not say on which patients it was trained: they may be among these")
        if unsure := maybe_known(network.about, [roi.patient for roi in rois]):
            say(f"note: {path} {unsure} may be one")


def predict(options: argparse.Namespace) -> int:
    """Label slides and images with a trained network; 2 where some of them are not possible."""
    from ushape.data.classes import grouping
    from ushape.errors import DataError
    from ushape.files import content_hash
    from ushape.nets.device import pick_device
    from ushape.nets.weights import check_of_tissue, load_weights, weights_file
    from ushape.predict.calibrate import crops_for
    from ushape.predict.engines.choose import candidates, check_calibrates, open_engine
    from ushape.predict.slides import find_slides
    from ushape.predict.whole import Outputs, begun_with, check_classes, predict_slides, settings_for
    from ushape.progress import Progress
    from ushape.threads import Lanes, cores

    path, slides = options.weights, options.slides
    if path is None:
        path, *slides = slides
    if not slides:
        raise DataError(f"no slide is named after the network {path}: name some, or the network with --weights")
    weights = load_weights(path)
    check_of_tissue(path, weights.about)
    groups = grouping(weights.about["grouping"]["id"])
    slides = find_slides(slides)
    outputs = Outputs(check_classes(options.classes, groups), options.tolerance, options.dicom)
    device = pick_device(options.device)
    if options.calibrate:
        check_calibrates(options.engine, options.precision, device)
    if options.dicom:
        from ushape.predict.dicom import highdicom_module

        highdicom_module()  # where it is missing, this is heard of now and not after hours
    network = content_hash(weights_file(path))
    asked = options.engine, options.precision
    possible = candidates(*asked, device, bool(options.calibrate))
    asked = begun_with(options.out, slides, network, asked, possible)
    int8 = asked[1] == "int8" or (options.calibrate and asked[1] == "auto")
    crops = crops_for(path, options.calibrate, weights.about, options.mpp) if int8 else None
    with Lanes(options.jobs or cores()) as lanes:
        guided = weights.guided if options.guided is None else options.guided
        engine = open_engine(weights, *asked, lanes, device, options.tta, crops)
        chosen = options.tta, guided, options.tissue, options.saturation, options.tile, options.probabilities
        settings = settings_for(network, weights, engine, *chosen, crops)
        say(f"{weights.net.spec.name} at {settings.mpp:g} µm per pixel in {engine.description}")
        if weights.tta != options.tta:
            say(f"note: predicts with --tta {options.tta}; what `evaluate` and reports say of it is with {weights.tta}")
        bar = Progress("tiles", 0)
        bar.start()
        try:
            limits = {"mpp": options.mpp, "max_pixels": options.max_pixels}
            made = predict_slides(
                slides, options.out, engine, settings, groups, outputs, lanes, **limits, advance=bar.update
            )
        finally:
            bar.stop()
    for note in made.notes:
        say(f"note: {note}")
    for name, (count, why) in made.broken.items():
        first = f" (the first: {why})" if why else ""
        say(f"note: {name}: unreadable, counted as background: {_many(count, 'tile')} of the file{first}")
    if made.before:
        say(f"finished before: {_many(len(made.before), 'slide')} ({', '.join(made.before)})")
    if made.predicted:
        say(f"predicted: {_many(len(made.predicted), 'slide')} ({options.out})")
    for name, error in made.failed.items():
        print(f"ushape: {error}" if name in str(error) else f"ushape: {name}: {error}", file=sys.stderr)
    return 2 if made.failed else 0


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def export(options: argparse.Namespace) -> None:
    """Write a trained network as one file that other programs run."""
    from ushape.errors import RunError
    from ushape.nets.weights import check_of_tissue, read_about, weights_file
    from ushape.predict.calibrate import crops_for
    from ushape.predict.export import export as run_export

    crops, about = None, read_about(options.weights)
    check_of_tissue(options.weights, about)
    if options.out.resolve() == weights_file(options.weights).resolve():
        raise RunError(f"{options.out}: are the weights themselves: name another file")
    if options.out.name in ("weights.safetensors", "state.safetensors") and any(
        (options.out.parent / name).exists() for name in ("run.yaml", "pretrain.yaml")
    ):
        raise RunError(f"{options.out}: belongs to another run: name another file")
    if options.int8 and options.mpp and not options.calibrate:
        raise RunError("--mpp is the pixel size of the images of --calibrate: name these, or leave it out")
    if options.int8:
        crops = crops_for(options.weights, options.calibrate, about, options.mpp)
    elif options.calibrate or options.mpp:
        raise RunError("--calibrate and --mpp have no effect without --int8: add it, or leave them out")
    made = run_export(options.weights, options.format, options.out, options.stain, crops)
    about = made.about
    say(f"{options.out}: {about['spec']}, {about['precision']}, for {about['mpp']} µm per pixel")
    say(
        f"computed again by the file on {made.images} images: {made.agreement:.2%} of pixels have the class that "
        f"PyTorch gives them in float32; probabilities differ by {made.difference:.1g} at most"
    )
