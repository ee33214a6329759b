"""UNet++ (Zhou et al. 2018, arXiv:1807.10165, equation 1 and figure 1a): nested, densely connected decoders.

Node (i, j) at level i computes block([all nodes (i, 0..j-1)], up(node (i + 1, j - 1))). The nodes before it form one
feature map that goes through the spec's skip, so that a gate or an addition can be nested as well (the paper only
concatenates). The head sees the right edge of the triangle, nodes (i, L - i), one a level; the paper's deep
supervision scores the top row, all at full resolution, instead.

`inner=1`, as in segmentation_models.pytorch: nodes inside the triangle are as wide as the encoder's features, only its
right edge has the decoder's widths, and a level whose encoder features are missing has no node but the last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.plain import Kit, channels_of


class NestedTopology(nn.Module):
    """across [N, c_i, H / 2^i, W / 2^i] and the bottom -> decoder features [N, w_i, H / 2^i, W / 2^i], finest first."""

    def __init__(self, kit: Kit, inner: int) -> None:
        super().__init__()
        if inner not in (0, 1):
            raise SpecError(f"inner={inner}: give 1 for inner nodes as wide as the encoder's features, or 0")
        if not all(kit.channels) and not inner:
            raise SpecError(
                "topology=nested needs encoder features at every level, which this encoder lacks at the finest: give "
                "the encoder [full=1], or topology=nested[inner=1], or topology=plain"
            )
        self.widths, self.coarsest = kit.widths[:-1], len(kit.widths) - 1
        self.ups, self.skips, self.nodes = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        width = {(i, 0): channels for i, channels in enumerate(kit.channels)}  # of node (i, j)
        for j in range(1, self.coarsest + 1):
            for i in range(self.coarsest + 1 - j):
                name, last = f"{i}_{j}", i + j == self.coarsest
                if not kit.channels[i] and not last:
                    continue
                width[i, j] = kit.channels[i] if inner and not last else kit.widths[i]
                before = sum(width[i, k] for k in range(j) if (i, k) in width)
                self.ups[name] = kit.up(width[i + 1, j - 1], width[i, j])
                self.skips[name] = kit.skip(before, channels_of(self.ups[name]), i)
                self.nodes[name] = kit.level(channels_of(self.skips[name]), width[i, j])

    def forward(self, image: Tensor, across: list[Tensor | None], bottom: Tensor) -> list[Tensor]:
        rows = [
            [] if x is None else [x] for x in (*across, bottom)
        ]  # node (i, 0), (i, 1), ...: [N, *, H / 2^i, W / 2^i]
        for j in range(1, self.coarsest + 1):
            for i in range(self.coarsest + 1 - j):
                name = f"{i}_{j}"
                if name not in self.nodes:
                    continue
                up = self.ups[name](rows[i + 1][min(j, len(rows[i + 1])) - 1])
                before = torch.cat(rows[i], dim=1) if rows[i] else None
                rows[i].append(self.nodes[name](self.skips[name](before, up)))
        return [row[-1] for row in rows[:-1]]
