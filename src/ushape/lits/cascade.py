"""Both networks over a volume, slice by slice: its labels in its own geometry, in little memory.

1. The liver network labels the volume on voxels of about 2.5 x 1 x 1 mm; the largest component is the liver, roughly.
2. The lesion network labels the volume's own slices that this liver touches, within the box around it.
3. The largest component of its liver and lesions stays; a component of lesions whose largest probability is under .80
   becomes liver.

Held at a time: a few slices, the coarse liver (a byte a coarse voxel) and the labels (a byte a voxel, mapped to the
file that is written). Nothing else grows with the volume.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ushape.errors import RunError
from ushape.files import content_hash, read_json, remove_parts, write_json
from ushape.lits.components import Components
from ushape.lits.recipe import SPACING, STAGES, Stage
from ushape.lits.resample import Shape, new_shape, resampled, span
from ushape.lits.volumes import Labels, Volume, new_labels, open_volume
from ushape.lits.window import as_input, window
from ushape.locks import holding
from ushape.nets.device import autocast
from ushape.nets.unet import Network
from ushape.nets.weights import load_weights
from ushape.threads import Lanes
from ushape.train.run import claim

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

SURE = 0.80
"""Lesions of which no voxel is as probable as this are dropped (the paper's)."""
AROUND = 15.0
"""mm added on all sides of the coarse liver, for what it missed (our assumption)."""


class Predictor:
    """One network of the cascade: adjacent slices in, the probabilities of the middle one out."""

    def __init__(self, net: Network, slices: int, device: torch.device, precision: str, lanes: Lanes) -> None:
        self.net = net.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.slices, self.device, self.precision, self.lanes = slices, device, precision, lanes

    def probabilities(self, windowed: Iterable[Float]) -> Iterator[Float]:
        """Slices of HU within the window, in order -> float32 [classes, y, x] for each, in order."""
        return self.lanes.map(self._one, stacks(map(as_input, windowed), self.slices))

    @torch.inference_mode()
    def _one(self, stack: Float) -> Float:
        image = torch.from_numpy(stack[None]).to(self.device)  # [1, slices, y, x]
        height, width = image.shape[2:]
        multiple = self.net.multiple
        image = F.pad(image, (0, -width % multiple, 0, -height % multiple), value=-1)  # air, as around training crops
        with autocast(self.precision, self.device):
            scores = self.net(image.contiguous(memory_format=torch.channels_last))
        made: Float = scores[0, :, :height, :width].float().softmax(0).cpu().numpy()
        return made


def stacks(slices: Iterable[Float], count: int) -> Iterator[Float]:
    """Slices [y, x] in order -> for each, it amid its `count` - 1 neighbours: [count, y, x]; see `neighbours`."""
    reach, held = count // 2, deque[Float](maxlen=count)
    for each in slices:
        held.extend([each] * (1 if held else 1 + reach))  # before the first slice it stands again
        if len(held) == count:
            yield np.stack(held)
    for _ in range(reach if held else 0):
        held.append(held[-1])
        if len(held) == count:
            yield np.stack(held)


@dataclass(frozen=True)
class Box:
    """Voxels z0..z1-1, y0..y1-1, x0..x1-1 of a volume."""

    z: tuple[int, int]
    y: tuple[int, int]
    x: tuple[int, int]


class Cascade:
    """The two networks of a run's folder; `about` tells them from others."""

    def __init__(self, run: Path, device: torch.device, lanes: Lanes) -> None:
        made = {}
        self.about: dict[str, str] = {}
        for stage in STAGES:
            weights = load_weights(run / stage)
            self.about[stage] = content_hash(run / stage / "weights.safetensors")
            if weights.about.get("lits") != stage:
                raise RunError(f"{run / stage}: is no {stage} network of `ushape lits train`")
            made[stage] = Predictor(weights.net, weights.about["slices"], device, weights.about["precision"], lanes)
        self.networks: dict[Stage, Predictor] = made

    def predict(self, path: Path, out: Path, progress: Callable[[float], None] = lambda share: None) -> None:
        """Label a NIfTI volume into the file `out`; `progress` is told the share done, 0 to 1."""
        volume = open_volume(path)
        with new_labels(out, volume) as labels:
            box = self.find_liver(volume, lambda share: progress(0.5 * share))
            if box is not None:
                self.find_lesions(volume, box, labels, lambda share: progress(0.5 + 0.5 * share))
        progress(1.0)

    def predict_all(
        self, volumes: Mapping[str, Path], folder: Path, progress: Callable[[float], None] = lambda share: None
    ) -> None:
        """Label volumes into files of these names in a folder, going on where it was left; `progress`: 0 to 1.

        RunError where the folder holds another cascade's labels, or those of another volume under one of the names.
        """
        claim(folder, folder / "networks.yaml", self.about, "prediction")
        with holding(folder / "networks.yaml"):
            remove_parts(folder)
            marks = folder / "volumes.json"
            known: dict[str, str] = read_json(marks) if marks.exists() else {}
            for i, (name, path) in enumerate(volumes.items()):
                mark, there = content_hash(path), (folder / name).exists()
                if there and known.get(name) != mark:
                    raise RunError(
                        f"{folder / name}: holds the labels of another volume than {path}: choose another --out, or "
                        "remove that file"
                    )
                if not there:
                    write_json(marks, known := known | {name: mark})
                    self.predict(path, folder / name, lambda share, i=i: progress((i + share) / len(volumes)))  # type: ignore[misc]
                progress((i + 1) / len(volumes))

    def find_liver(self, volume: Volume, progress: Callable[[float], None] = lambda share: None) -> Box | None:
        """The box around the liver in the volume's own voxels; None where there is no liver."""
        coarse = new_shape(volume.shape, volume.spacing, SPACING)
        seen = resampled(lambda z: window(volume.slice(z)), volume.shape, coarse)
        components, masks = Components(), np.zeros(coarse, bool)
        for z, likely in enumerate(self.networks["liver"].probabilities(seen)):
            masks[z] = likely[1] > likely[0]
            components.add(masks[z])
            progress((z + 1) / coarse[0])
        liver = components.largest()
        if liver is None:
            return None
        inside = np.stack([_sides(components.slice(z, masks[z]) == liver) for z in range(coarse[0])])  # [z, 4]
        return _box(inside, coarse, volume)

    def find_lesions(
        self, volume: Volume, box: Box, labels: Labels, progress: Callable[[float], None] = lambda share: None
    ) -> None:
        """Write liver and lesions within a box of the volume into `labels`, uint8 [z, y, x], which is 0."""
        (z0, z1), rows, columns = box.z, slice(*box.y), slice(*box.x)
        reach = self.networks["lesion"].slices // 2
        low, high = max(0, z0 - reach), min(volume.shape[0], z1 + reach)  # the ends' neighbours, where there are any
        seen = (window(volume.slice(z)[rows, columns]) for z in range(low, high))
        organs, lesions = Components(), Components()
        for z, likely in enumerate(self.networks["lesion"].probabilities(seen), low):
            if not z0 <= z < z1:
                continue
            made = likely.argmax(0).astype(np.uint8)
            organs.add(made > 0)
            lesions.add(made == 2, likely[2])
            labels[z, rows, columns] = made
            progress((z + 1 - z0) / (z1 - z0))
        clean(labels[z0:z1, rows, columns], organs, lesions)


def clean(labels: Labels, organs: Components, lesions: Components) -> None:
    """Keep the largest component of liver and lesions together, and of the lesions those that are sure; in place.

    labels: [z, y, x]; organs, lesions: the components of labels > 0 and of labels == 2.
    """
    liver, sure = organs.largest(), [i for i, most in lesions.most().items() if most >= SURE]
    for z in range(len(labels)):
        now = np.array(labels[z])
        kept = organs.slice(z, now > 0) == liver if liver is not None else now < 0
        doubtful = (now == 2) & ~np.isin(lesions.slice(z, now == 2), sure)
        made = np.where(doubtful, 1, now)
        made[~kept] = 0
        labels[z] = made


def _sides(mask: Mask) -> NDArray[np.int64]:
    """First and last + 1 row and column of a mask [y, x]; all 0 where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1] if len(rows) else [0] * 4)


def _box(sides: NDArray[np.int64], coarse: Shape, volume: Volume) -> Box:
    """Sides of the liver in each coarse slice -> the volume's own voxels, `AROUND` mm wider."""
    there = np.flatnonzero(sides[:, 1])
    ends = (
        (int(there[0]), int(there[-1]) + 1),
        (int(sides[there, 0].min()), int(sides[there, 1].max())),
        (int(sides[there, 2].min()), int(sides[there, 3].max())),
    )
    made = []
    for (first, last), old, new, spacing in zip(ends, coarse, volume.shape, volume.spacing, strict=True):
        low, high = span(first, last, old, new)
        more = int(np.ceil(AROUND / spacing))
        made.append((max(0, low - more), min(new, high + more)))
    return Box(*made)
