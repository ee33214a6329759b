"""From a network and slides to folders of results: what `ushape predict` does, as one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ushape import __version__
from ushape.data.classes import Grouping
from ushape.errors import DataError, UshapeError
from ushape.locks import holding
from ushape.nets.weights import Weights
from ushape.predict.calibrate import fingerprint
from ushape.predict.canvas import Part
from ushape.predict.composition import composition, row, write_composition_csv
from ushape.predict.job import (
    LABELS,
    PROVENANCE,
    Found,
    Settings,
    SlideJob,
    begun,
    finished,
    overlap,
    provenance,
    unfinished,
)
from ushape.predict.margin import effective_margin
from ushape.predict.overlay import save_overlay
from ushape.predict.polygons import save_geojson
from ushape.predict.pyramid import save_label_pyramid, save_probability_pyramid
from ushape.predict.slides import View, slide_name
from ushape.predict.slides.base import Bytes
from ushape.predict.slides.overview import overview
from ushape.predict.store import Store
from ushape.predict.stream import Job, stream
from ushape.predict.tissue import check_saturation
from ushape.predict.turns import views
from ushape.threads import Lanes

if TYPE_CHECKING:
    from ushape.predict.engines import Engine

Advance = Callable[[int, str, int], None]
"""Told of tiles done, the slide at work, and tiles in all as far as is known."""


@dataclass(frozen=True)
class Outputs:
    """What is written of each slide besides label map, overlay and composition.

    classes: those that become polygons. tolerance: detail in µm that outlines may lose. dicom: a segmentation as well.
    """

    classes: tuple[str, ...]
    tolerance: float
    dicom: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"classes": list(self.classes)}


@dataclass(frozen=True)
class Outcome:
    """Slides by name: predicted, found finished, impossible with the reason; notes.

    broken: how many tiles of the file could not be read, and why the first could not (empty where that was earlier).
    """

    predicted: tuple[str, ...]
    before: tuple[str, ...]
    failed: dict[str, UshapeError]
    broken: dict[str, tuple[int, str]]
    notes: tuple[str, ...]


def predict_slides(
    slides: Sequence[Path],
    out: Path,
    engine: Engine,
    settings: Settings,
    grouping: Grouping,
    outputs: Outputs,
    lanes: Lanes,
    mpp: float | None = None,
    max_pixels: int | None = None,
    advance: Advance = lambda done, name, total: None,
) -> Outcome:
    """Predict slides into `out/NAME/`, and write `out/composition.csv`; what was finished before is left as it is.

    The table is of all finished slides in `out` whose classes are these. All slides are opened first, so that wrong
    ones among many are heard of, all at once, before hours of work. UshapeError: see `open_slide`, `stream` and
    `SlideJob`.
    """
    jobs: list[SlideJob] = []
    wrong: list[DataError] = []
    before: list[str] = []
    counts: dict[str, int] = {}  # tiles
    for path in slides:
        finish = partial(write_outputs, grouping=grouping, outputs=outputs)
        folder, asked = out / slide_name(path), outputs.to_dict()
        job = SlideJob(path, folder, settings, engine, finish, asked, lanes, mpp, max_pixels)
        if finished(job):
            before.append(job.name)
            continue
        begun(job)
        try:
            with job.open_slide() as slide:
                counts[job.name] = len(job.layout(View(slide, settings.mpp)).corners)
            if outputs.dicom:
                from ushape.predict.dicom import finest

                finest(path)
        except DataError as error:
            wrong.append(error)
        jobs.append(job)
    if len(wrong) > 1:
        raise DataError("\n".join([f"{len(wrong)} of {len(slides)} slides cannot be predicted:", *map(str, wrong)]))
    if wrong:
        raise wrong[0]
    done = 0

    def report(job: Job, part: Part | None) -> None:
        nonlocal done
        if part is None:
            assert isinstance(job, SlideJob)
            counts[job.name] = job.left()
        else:
            done += 1
        advance(done, job.name, sum(counts.values()))

    try:
        failed = stream(jobs, lanes, report)
    finally:  # those finished before an interruption are in it, too
        with holding(out):  # another process's table would be older than this one, or newer
            if rows := _rows(out, settings.grouping):
                write_composition_csv(out / "composition.csv", rows)
    done_jobs = [job for job in jobs if job.name not in failed]
    broken = {job.name: (job.broken, job.why or "") for job in done_jobs if job.broken}
    notes = tuple(job.note for job in done_jobs if job.note)
    before += [job.name for job in done_jobs if job.elsewhere]
    return Outcome(tuple(job.name for job in done_jobs if not job.elsewhere), tuple(before), failed, broken, notes)


def _rows(out: Path, classes: str) -> list[dict[str, Any]]:
    """The rows of the table: of each finished slide in `out` with the classes of this grouping."""
    rows = []
    for file in sorted(out.glob(f"*/{PROVENANCE}")):
        try:
            there = provenance(file.parent)
        except UshapeError:  # another program's, of which nothing is known
            continue
        if there is not None and there["settings"].get("grouping") == classes:
            rows.append({"slide": file.parent.name, "file": there["slide"]["path"], **row(there["composition"])})
    return rows


def write_outputs(job: SlideJob, found: Found, store: Store, grouping: Grouping, outputs: Outputs) -> dict[str, Any]:
    """Write a slide's results into its folder; what provenance.json says of them."""
    folder, view, labels = job.folder, found.view, store.labels
    told = {"slide": job.name, "slide_mpp": view.slide.mpp, "network": job.settings.network}
    x, y = view.slide.corner
    told |= {"slide_corner_x": x, "slide_corner_y": y}
    save_label_pyramid(folder / LABELS, labels, view.mpp, grouping, told)
    job.check()
    if store.probabilities is not None:
        save_probability_pyramid(folder / "probabilities.ome.tiff", store.probabilities, view.mpp, grouping, told)
        job.check()
    polygons = folder / "polygons.geojson"
    save_geojson(
        polygons, labels, view.mpp, view.to_slide, grouping, outputs.classes, outputs.tolerance, origin=(-x, -y)
    )
    job.check()
    save_overlay(folder / "overlay.png", overview(view), labels, view.mpp, grouping)
    if outputs.dicom:
        from ushape.predict.dicom import save_dicom

        save_dicom(folder / "segmentation.dcm", labels, view.mpp, grouping, told, view.slide.path)
    return {
        "ushape": __version__,
        "mpp": view.mpp,
        "pixels": [view.height, view.width],
        "slide_mpp": view.slide.mpp,
        "metadata": view.slide.metadata,
        "tissue": {"share": found.tissue.share, "saturation": found.tissue.threshold},
        "stain": found.stain.tolist(),
        "broken": [list(box) for box in view.broken],
        "composition": composition(labels, view.mpp, grouping),
        "computed": job.engine.description,
    }


CORE, BLENDED = 1536, 512
"""Sides of tiles in px: those of which cores are kept are large, since margins are computed twice."""


def settings_for(
    network: str,
    weights: Weights,
    engine: Engine,
    tta: str,
    guided: int,
    tissue: Literal["auto", "all"],
    saturation: float | None,
    tile: int | None,
    probabilities: bool,
    crops: Sequence[Bytes] | None = None,
) -> Settings:
    """The settings of predictions by these weights, whose file has this hash. tile: side in px, None: chosen.

    crops: that int8 is calibrated on.

    Cores of tiles are kept where a network looks no further than a quarter of one, else tiles are blended. DataError on
    a tile that is no multiple of the network's, or too small.
    """
    net, about = weights.net, weights.about
    blended, zooms = math.lcm(net.multiple, 16), [view.zoom for view in views(tta)]
    # tiles begin where the network's pooling does, however large they are seen: 0.8 of 20 px are whole, 0.8 of 16 not
    grid = blended * math.lcm(*(Fraction(zoom).limit_denominator(100).denominator for zoom in zooms))
    margin = _margin(effective_margin(net), min(zooms), blended, grid)
    side = tile or -(-CORE // grid) * grid
    if margin is None or 4 * margin > side:
        margin, grid = None, blended
        side = tile or -(-BLENDED // grid) * grid
    least = 4 * (overlap(grid) if margin is None else margin)
    if side % grid or side < least:
        how = "with --tta zooms " if grid > blended else ""
        raise DataError(f"--tile {side}: {net.spec.name} {how}takes multiples of {grid}, from {least} on")
    check_saturation(saturation)
    if saturation is not None and tissue == "all":
        raise DataError("--saturation has no effect with --tissue all: leave one of them out")
    return Settings(
        network=network,
        grouping=about["grouping"]["id"],
        classes=net.classes,
        mpp=about["mpp"],
        normalise=about["normalise"],
        engine=engine.name,
        precision=engine.precision,
        tta=tta,
        guided=guided,
        tissue=tissue,
        saturation=saturation,
        tile=side,
        margin=margin,
        grid=grid,
        probabilities=probabilities,
        calibration=fingerprint(crops) if crops and engine.precision == "int8" else None,
    )


def _margin(reach: int | None, zoom: float, unit: int, grid: int) -> int | None:
    """px around the cores of tiles whose network looks so far, which sees them `zoom` times as large or larger.

    A multiple of `unit`, so that tiles begin at such multiples, and twice of it one of `grid`: all tiles lie alike.
    """
    if reach is None:
        return None
    least = reach if zoom >= 1 else math.ceil(reach / zoom)
    step = math.lcm(2 * unit, grid) // 2
    return -(-(least + BESIDE * (grid > unit)) // step) * step


BESIDE = 4
"""px beyond those that a pixel is made of when an image is seen larger or smaller: bicubic, by 0.8 times at least."""


def begun_with(
    out: Path, slides: Sequence[Path], network: str, asked: tuple[str, str], possible: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """Engine and precision as asked, where `auto` those by which `out` has results of a network, by its hash.

    What measuring finds twice may differ, but a prediction goes on with what it began with, and a folder of slides is
    of one, where that is among what is `possible` now. Of these slides first, then of others in `out`.
    """
    named = [out / slide_name(path) for path in slides]
    others = sorted(each for each in out.iterdir() if each.is_dir()) if out.is_dir() else []
    for folder in dict.fromkeys([*named, *others]):
        try:
            there = provenance(folder) or unfinished(folder)
        except UshapeError:
            if folder in named:
                raise
            continue  # another program's
        if there is None or there["settings"].get("network") != network:
            continue
        engine, precision = there["settings"]["engine"], there["settings"]["precision"]
        if folder not in named and (engine, precision) not in possible:
            continue
        if asked[0] in ("auto", engine) and asked[1] in ("auto", precision):
            return engine, precision
    return asked


def check_classes(wanted: Sequence[str] | None, grouping: Grouping) -> tuple[str, ...]:
    """The classes wanted, None for all; DataError on one that the grouping has not, or that is named twice."""
    from ushape.errors import nearest

    for i, name in enumerate(wanted or ()):
        if name not in grouping.classes:
            close = nearest(name, list(grouping.classes))
            raise DataError(f"class {name!r}: {grouping.id} has {', '.join(grouping.classes)}{close}")
        if name in (wanted or ())[:i]:
            raise DataError(f"class {name!r} is named twice: name it once")
    return grouping.classes if wanted is None else tuple(c for c in grouping.classes if c in wanted)
