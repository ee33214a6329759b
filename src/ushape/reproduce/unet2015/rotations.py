"""A slice through the trained network: the mean over rotated versions of it (Ronneberger et al. 2015, section 4)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ushape.data.deform import read
from ushape.nets.device import autocast, pick_precision
from ushape.nets.unet import Network
from ushape.reproduce.unet2015.deform import placed
from ushape.reproduce.unet2015.overlap import overlap_tile
from ushape.reproduce.unet2015.stack import INTERIOR

Float = NDArray[np.float32]


class Seer:
    """A network and its device: slices in, probabilities of cell interior out."""

    def __init__(self, net: Network, device: torch.device, largest: int) -> None:
        self.net = net.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.largest, self.precision = device, largest, pick_precision("auto", device)

    def interior(self, light: Float) -> Float:
        """Grey values [H, W] as `Stack` has them -> probability of interior [H, W], by overlapping tiles."""
        return overlap_tile(self._tile, self.net, light, self.largest)[INTERIOR]

    def rotated(self, light: Float, rotations: int) -> Float:
        """The same, of the slice turned by 0, 1, ... of `rotations` equal parts of a circle: [rotations, H, W].

        Which angles the paper averages over is not stated. The corners that a turned slice leaves open are mirrored;
        probabilities are turned back by linear interpolation.
        """
        return np.stack([self._turned(light, 2 * np.pi * i / rotations) for i in range(rotations)])

    def _turned(self, light: Float, angle: float) -> Float:
        if angle == 0:
            return self.interior(light)
        height, width = light.shape
        sin, cos = abs(np.sin(angle)), abs(np.cos(angle))
        canvas = int(np.ceil(height * cos + width * sin)) + 2, int(np.ceil(height * sin + width * cos)) + 2
        middle = (height - 1) / 2, (width - 1) / 2
        seen = self.interior(read(light, placed(middle, angle, False, canvas), 3))
        back = placed([(n - 1) / 2 for n in canvas], -angle, False, (height, width))
        return read(seen, back, 1)

    @torch.inference_mode()
    def _tile(self, tile: Float) -> Float:
        """[h, w] -> probabilities of both classes [2, h - shrink, w - shrink]."""
        x = torch.from_numpy(np.ascontiguousarray(tile)).to(self.device)[None, None]
        with autocast(self.precision, self.device):
            scores = self.net(x.contiguous(memory_format=torch.channels_last))
        assert isinstance(scores, torch.Tensor)
        made: Float = scores.float().softmax(1)[0].cpu().numpy()
        return made
