"""Whole images through a network: tiles, test-time augmentation, blending, guided filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ushape.data.classes import Grouping
from ushape.data.rois import Pixels, Roi
from ushape.data.windows import cut
from ushape.nets.device import autocast
from ushape.nets.unet import Network
from ushape.nets.weights import as_input
from ushape.predict.calibration import Calibration, calibration
from ushape.predict.ensemble import Member
from ushape.predict.guided import guided
from ushape.predict.score import Matrix, confusion, likeliest
from ushape.predict.tiling import Blend, plan
from ushape.predict.turns import turn, turn_back, views
from ushape.threads import Lanes

Float = NDArray[np.float32]


class Predictor:
    """A network, a device and lanes: images in, class probabilities out.

    tta: see `turns`. guided: px of the guided filter's radius, 0 for none, see `guided`.
    """

    def __init__(
        self,
        net: Network,
        device: torch.device,
        precision: str,
        lanes: Lanes,
        tta: str = "none",
        guided: int = 0,
    ) -> None:
        self.views, self.guided = views(tta), guided
        self.net = net.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.precision, self.lanes = device, precision, lanes

    def probabilities(self, image: NDArray[np.uint8]) -> Float:
        """RGB uint8 [H, W, 3] of any size -> float32 [classes, H, W], summing to 1 over the classes."""
        layout = plan(*image.shape[:2])
        blend = Blend(layout, self.net.classes)

        def one(corner: tuple[int, int]) -> tuple[tuple[int, int], Float]:
            return corner, self._tile(cut(image, corner, layout.size))

        for corner, tile in self.lanes.map(one, layout.corners):
            blend.add(corner, tile)
        return guided(blend.mean(), image, self.guided)

    def labels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] -> the likeliest class of each pixel, uint8 [H, W]."""
        return likeliest(self.probabilities(image))

    @torch.inference_mode()
    def _tile(self, tile: NDArray[np.uint8]) -> Float:
        image, size = torch.from_numpy(np.array(tile)).to(self.device), (tile.shape[0], tile.shape[1])
        total = torch.zeros((), device=self.device)
        for view in self.views:
            x = as_input(turn(image, view, 0, 1)[None] / 255)  # [1, 3, S, S]
            total = total + turn_back(self._scores(x).float().softmax(1), view, size)
        made: Float = (total[0] / len(self.views)).cpu().numpy()
        return made

    def _scores(self, x: Tensor) -> Tensor:
        with autocast(self.precision, self.device):
            scores = self.net(x.contiguous(memory_format=torch.channels_last))
        assert isinstance(scores, Tensor)  # a network in evaluation gives the finest level alone
        return scores


@dataclass(frozen=True)
class Evaluated:
    """What a network made of a ROI: labels uint8 [H, W] at the network's pixel size, and how right they are."""

    roi: Roi
    labels: NDArray[np.uint8]
    confusion: Matrix
    calibration: Calibration


def evaluate(predictor: Member, pixels: Iterable[Pixels], grouping: Grouping) -> Iterator[Evaluated]:
    """Predict whole ROIs, one after the other, by a network or an ensemble, and count where they are right."""
    for each in pixels:
        likely = predictor.probabilities(each.image)
        labels, truth = likeliest(likely), grouping.labels(each.codes)
        matrix = confusion(truth, labels, len(grouping.classes))
        yield Evaluated(each.roi, labels, matrix, calibration(truth, labels, likely.max(0)))
