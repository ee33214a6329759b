"""One slide from its file to the folder of its results, in steps that `stream` calls and a later command can continue.

While it is predicted, `OUT/NAME/.work/` holds its store, `plan.json`, which says what the store is of, and
`unread.json`, the tiles of the file that could not be decoded. A finished slide's folder has `provenance.json`, written
last, and no `.work` any more. The folder is locked meanwhile.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ushape.data.rois import check_coarseness
from ushape.errors import DataError, RunError, UshapeError
from ushape.files import cannot_write, read_json, remove_parts, write_json
from ushape.locks import holding
from ushape.predict.canvas import Blended, Canvas, Crop, Part
from ushape.predict.filtering import filter_cells
from ushape.predict.guided import GUIDES, cells
from ushape.predict.slides import Slide, View, open_slide
from ushape.predict.store import Store
from ushape.predict.strength import slide_strength
from ushape.predict.tiling import CELL, Plan, plan, thrifty
from ushape.predict.tissue import Tissue, find_tissue
from ushape.threads import Lanes

if TYPE_CHECKING:
    from ushape.predict.engines import Engine

WORK, PLAN, UNREAD, PROVENANCE, LABELS = ".work", "plan.json", "unread.json", "provenance.json", "labels.ome.tiff"

MARGIN = 64
"""px that blended tiles overlap on each side, as in `evaluate`; more where tiles lie on a coarser grid."""


def overlap(grid: int) -> int:
    """px by which blended tiles overlap on each side where they lie on a grid of so many px."""
    return -(-MARGIN // grid) * grid


@dataclass(frozen=True)
class Settings:
    """What a prediction is: all that its label map depends on, but the slide.

    network: hash of the weights. mpp: µm per px that it sees. guided: radius in px of the guided filter. tile: side in
    px. margin: px of a tile's edge that its core leaves out, None: tiles are blended. saturation: threshold of the
    tissue mask, None: found for each slide. calibration: hash of the crops that int8 was calibrated on, None for other
    precisions.
    """

    network: str
    grouping: str
    classes: int
    mpp: float
    normalise: str
    engine: str
    precision: str
    tta: str
    guided: int
    tissue: Literal["auto", "all"]
    saturation: float | None
    tile: int
    margin: int | None
    grid: int
    probabilities: bool
    calibration: str | None = None


@dataclass(frozen=True)
class Found:
    """What is known of a slide before its first tile: its view, tissue, strength of stain."""

    view: View
    tissue: Tissue
    stain: NDArray[np.float32]


Finish = Callable[["SlideJob", Found, Store], dict[str, Any]]
"""Writes what is asked for into the job's folder; what it returns goes into provenance.json."""


class SlideJob:
    """See `stream.Job`. `finish` writes the outputs, `outputs` says which: what was asked for, as plain data.

    `lanes` look over the slide when it is opened, which must not be done by one of them.

    Once finished: `broken`, how many tiles of its file could not be read, and `why` the first could not; `note`, a line
    for the user or None.
    `elsewhere`: another process finished it after it was found unfinished; there is nothing to do then.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        settings: Settings,
        engine: Engine,
        finish: Finish,
        outputs: dict[str, Any],
        lanes: Lanes,
        mpp: float | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self._lanes = lanes
        self.path, self.folder, self.settings, self.engine = path, folder, settings, engine
        self.name = path.name
        self._finish, self.outputs, self._mpp, self._limit = finish, outputs, mpp, max_pixels
        self.broken, self.elsewhere = 0, False
        self.note: str | None = None
        self.why: str | None = None
        self._abandoned = Event()

    def about(self) -> dict[str, Any]:
        """What the label map is of, as plain data; DataError where the file is gone."""
        try:
            stat = self.path.stat()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read any more ({error.strerror})") from error
        slide = {"path": str(self.path.resolve()), "bytes": stat.st_size, "modified": stat.st_mtime, "mpp": self._mpp}
        return {"slide": slide, "settings": vars(self.settings)}

    def open_slide(self) -> Slide:
        """DataError where it cannot be opened, has no pixel size, or one that is FAR too coarse for the network."""
        slide = open_slide(self.path, self._mpp, **({} if self._limit is None else {"max_pixels": self._limit}))
        try:
            check_coarseness(self.path, slide.mpp, self.settings.mpp)
        except DataError:
            slide.close()
            raise
        return slide

    def layout(self, view: View) -> Plan:
        """The tiles over a view of this slide. Where only cores are kept, their size changes no result."""
        tile, margin, grid = self.settings.tile, self.settings.margin, self.settings.grid
        if margin is None:
            return plan(view.height, view.width, tile, overlap(grid), grid)
        return plan(view.height, view.width, thrifty(view.height, view.width, tile, margin, grid), margin, grid)

    def open(self) -> None:
        """Open the slide and find its tissue; UshapeError where another process is at work in the folder."""
        self.began = time.time()
        self._things = ExitStack()
        try:
            self._claim()
            self._about = self.about()
            if finished(self):
                self.elsewhere = True
                self._things.close()
                return
            if not begun(self):  # whatever lies there is of nobody knows what
                if (self.folder / WORK).exists():
                    shutil.rmtree(self.folder / WORK)
                write_json(self.folder / WORK / PLAN, self._about)
            slide = self._things.enter_context(self.open_slide())
            view = View(slide, self.settings.mpp)
            view.leave_out(read_json(self._unread) if self._unread.exists() else [])
            self._known = len(view.unread)
            tissue = find_tissue(view, self.settings.tissue, self.settings.saturation, self._lanes)
            normal = self.settings.normalise == "stain"
            stain = slide_strength(view, tissue, lanes=self._lanes) if normal else np.eye(3, dtype=np.float32)
            self.found = Found(view, tissue, stain)
            self.canvas = self._canvas()
            classes = self.settings.classes if self.settings.probabilities else 0
            told = (self._planes, self.canvas.plan.height, self.canvas.plan.width)
            cells = told if self.settings.guided else None
            self.store = Store(self.folder / WORK, view.height, view.width, self.canvas.units, classes, cells)
            self._things.callback(self.store.close)
            self.canvas.open(self.store)
        except BaseException:
            self._things.close()
            raise

    def left(self) -> int:
        """Tiles that are to be computed."""
        return sum(1 for _ in self.parts())

    def parts(self) -> Iterator[Part]:
        return iter(()) if self.elsewhere else self.canvas.parts()

    def tile(self, part: Part) -> NDArray[np.uint8]:
        return self.canvas.tile(part)

    def compute(self, tile: NDArray[np.uint8]) -> NDArray[Any]:
        if self.canvas.wants == "labels":
            return self.engine.labels(tile, self.found.stain)
        made = self.engine.probabilities(tile, self.found.stain)
        return cells(made, tile, self.found.stain) if self.canvas.wants == "cells" else made

    def put(self, part: Part, result: NDArray[Any]) -> None:
        self._remember()
        self.canvas.put(part, result)

    def keep(self) -> None:
        if not self.elsewhere:
            self.store.flush()
            self._let_go()

    def finish(self) -> None:
        if self.elsewhere:
            return
        try:
            self.canvas.close()
            self.store.flush()  # what was computed is kept, whatever comes now
            if self.about() != self._about:
                raise UshapeError(f"{self.path}: was changed while it was predicted: remove {self.folder}, and repeat")
            broken = self.found.view.broken
            if self.settings.guided:
                where = self.found.tissue, self.settings.guided, self._lanes, broken
                filter_cells(self.store, *where, check=self.check)
            for box in broken:
                self.store.erase(*box)
            self.store.flush()
            self.check()
            made = self._finish(self, self.found, self.store)
            times = {"began": self.began, "ended": time.time()}
            write_json(self.folder / PROVENANCE, self._about | {"outputs": self.outputs} | times | made)
            self.why = self.found.view.reason
            self.broken, self.note = len(broken), self.found.view.note
            self.store.close()
            shutil.rmtree(self.folder / WORK, ignore_errors=True)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._things.close()
        del self.found, self.canvas, self.store  # a thousand slides would add up

    def abandon(self) -> None:
        self._abandoned.set()

    def check(self) -> None:
        """UshapeError where this slide is abandoned; its store stays, from which all else can be made again."""
        if self._abandoned.is_set():
            raise UshapeError(f"{self.path}: was interrupted")

    @property
    def _unread(self) -> Path:
        return self.folder / WORK / UNREAD

    @property
    def _planes(self) -> int:
        """How many maps a tile gives: of the classes, and what the filter needs."""
        return self.settings.classes + (GUIDES if self.settings.guided else 0)

    def _remember(self) -> None:
        """Keep which tiles of the file could not be decoded, before what was made without them counts as done."""
        if len(unread := self.found.view.unread) > self._known:
            write_json(self._unread, unread)
            self._known = len(unread)

    def _canvas(self) -> Canvas:
        view, settings = self.found.view, self.settings
        layout, cell = self.layout(view), CELL if settings.guided else 1
        if settings.margin is None:
            return Blended(layout, view, self.found.tissue, self._planes, cell)
        return Crop(layout, view, self.found.tissue, settings.probabilities, cell)

    def _claim(self) -> None:
        """Make the folder this prediction's own, and hold it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(cannot_write(self.folder / WORK / PLAN, error)) from error
        try:
            self._things.enter_context(holding(self.folder))
        except RunError as error:  # which ends this slide, not all of them
            raise UshapeError(str(error)) from None
        remove_parts(self.folder)


def provenance(folder: Path) -> dict[str, Any] | None:
    """What provenance.json says in a folder, None where there is none; UshapeError where it is of another program."""
    file = folder / PROVENANCE
    if not file.exists():
        return None
    there = read_json(file)
    if not isinstance(there, dict) or not all(isinstance(there.get(k), dict) for k in ("slide", "settings")):
        raise UshapeError(f"{file}: is not of `ushape predict`: choose another --out, or move that file away")
    return there


def unfinished(folder: Path) -> dict[str, Any] | None:
    """What an interrupted prediction in a folder is of."""
    file = folder / WORK / PLAN
    return read_json(file) if file.exists() else None


def begun(job: SlideJob) -> bool:
    """Whether a job's folder holds a part of its results; UshapeError where it holds one of something else."""
    there, about = unfinished(job.folder), job.about()
    if there is not None and there != about:
        raise UshapeError(
            f"{job.folder} holds an unfinished prediction of {_difference(there, about)}: repeat the command that "
            "began it, or choose another --out"
        )
    return there is not None


def finished(job: SlideJob) -> bool:
    """Whether a job's folder holds its results; UshapeError where it holds those of something else.

    Without their label map, from which all is measured, they are made again.
    """
    folder, about = job.folder, job.about() | {"outputs": job.outputs}
    there = provenance(folder)
    if there is None:
        return False
    if {key: there.get(key) for key in about} != about:
        raise UshapeError(
            f"{folder} holds the results of {_difference(there, about)}: choose another --out, or remove that folder"
        )
    if not (folder / LABELS).is_file():
        return False
    shutil.rmtree(folder / WORK, ignore_errors=True)  # of a process that ended between the two
    return True


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first thing that differs, in words."""
    for part, name in {"slide": "slide", "settings": "setting", "outputs": "output"}.items():
        for key, value in new.get(part, {}).items():
            if (there := old.get(part, {}).get(key)) != value:
                return f"another {name} ({key} {there}, not {value})"
    return "something else"
