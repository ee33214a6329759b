"""DoubleU-Net (Jha et al. 2020, arXiv:2006.04868, figure 1): a second U looks where the first one saw something.

The first U's finest features give a map, sigmoid(1x1 convolution); the image, multiplied by it, goes through a second
encoder and bridge; the second decoder takes the skips of both encoders, concatenated. The head sees the finest
features of both decoders side by side, and the second decoder's at coarser levels. The paper's VGG-19, its ASPP and
its squeeze-and-excitation are our axes encoder, bridge and attention; its map is one of the first U's class scores.
The second encoder is of our own levels, as in the paper, whatever the first is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ushape.nets.parts.plain import Kit
from ushape.nets.parts.topology.plain import PlainTopology


class DoubleTopology(nn.Module):
    """image, across and bottom -> decoder features [N, 2 w_0, H, W], [N, w_1, H / 2, W / 2], ..., finest first."""

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        self.first = PlainTopology(kit)
        self.map = nn.Conv2d(kit.widths[0], 1, 1)
        self.encoder = kit.encoder()
        self.bridge = kit.bridge(kit.widths[-1])
        both = tuple(a + b for a, b in zip(kit.channels[:-1], kit.widths[:-1], strict=True))
        self.second = PlainTopology(replace(kit, channels=(*both, kit.widths[-1])))
        self.widths = (2 * kit.widths[0], *kit.widths[1:-1])

    def forward(self, image: Tensor, across: list[Tensor | None], bottom: Tensor) -> list[Tensor]:
        first = self.first(image, across, bottom)[0]  # [N, w_0, H, W]
        *again, deepest = self.encoder(image * self.map(first).sigmoid())
        both: list[Tensor | None] = [
            b if a is None else torch.cat([a, b], dim=1) for a, b in zip(across, again, strict=True)
        ]
        decoded: list[Tensor] = self.second(image, both, self.bridge(deepest))
        return [torch.cat([first, decoded[0]], dim=1), *decoded[1:]]
