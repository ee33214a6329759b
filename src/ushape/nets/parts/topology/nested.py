"""UNet++ (Zhou et al. 2018, arXiv:1807.10165, equation 1 and figure 1a): nested, densely connected decoders.

Node (i, j) at level i computes block([all nodes (i, 0..j-1)], up(node (i + 1, j - 1))). The nodes before it form one
feature map that goes through the spec's skip, so that a gate or an addition can be nested as well (the paper only
concatenates). The head sees the right edge of the triangle, nodes (i, L - i), one a level; the paper's deep
supervision scores the top row, all at full resolution, instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.plain import Kit, channels_of


class NestedTopology(nn.Module):
    """across [N, c_i, H / 2^i, W / 2^i] and the bottom -> decoder features [N, w_i, H / 2^i, W / 2^i], finest first."""

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        if not all(kit.channels):
            raise SpecError(
                "topology=nested needs encoder features at every level, which this encoder lacks at the finest: give "
                "the encoder [full=1], or topology=plain"
            )
        self.widths, self.coarsest = kit.widths[:-1], len(kit.widths) - 1
        self.ups, self.skips, self.nodes = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for j in range(1, self.coarsest + 1):
            for i in range(self.coarsest + 1 - j):
                name = f"{i}_{j}"
                below = kit.channels[i + 1] if j == 1 else kit.widths[i + 1]
                before = kit.channels[i] + (j - 1) * kit.widths[i]
                self.ups[name] = kit.up(below, kit.widths[i])
                self.skips[name] = kit.skip(before, channels_of(self.ups[name]), i)
                self.nodes[name] = kit.level(channels_of(self.skips[name]), kit.widths[i])

    def forward(self, image: Tensor, across: list[Tensor], bottom: Tensor) -> list[Tensor]:
        rows = [[x] for x in (*across, bottom)]  # rows[i][j]: node (i, j), [N, w_i, H / 2^i, W / 2^i]
        for j in range(1, self.coarsest + 1):
            for i in range(self.coarsest + 1 - j):
                name = f"{i}_{j}"
                up = self.ups[name](rows[i + 1][j - 1])
                rows[i].append(self.nodes[name](self.skips[name](torch.cat(rows[i], dim=1), up)))
        return [row[-1] for row in rows[:-1]]
