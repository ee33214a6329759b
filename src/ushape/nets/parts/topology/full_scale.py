"""UNet 3+ (Huang et al. 2020, arXiv:2004.08790, section 2.1, equation 1 and figure 2): every level sees all levels.

Decoder level i takes the encoder's levels above it (max-pooled), its own, and all coarser decoder levels (bilinearly
enlarged); each is brought to `widths[0]` channels by a 3x3 unit, all are concatenated and joined by one more. All
decoder levels are therefore levels x widths[0] wide. Up-sampling and skips are part of the topology: other choices
on those axes are refused. Attention follows the joining unit. Without the paper's classification-guided module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import Kit


class FullScaleTopology(nn.Module):
    """across [N, c_i, H / 2^i, W / 2^i] and the bottom -> [N, levels * w_0, H / 2^i, W / 2^i], finest first."""

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        if not all(kit.channels):
            raise SpecError(
                "topology=full-scale needs encoder features at every level, which this encoder lacks at the finest: "
                "give the encoder [full=1], or topology=plain"
            )
        levels, share = len(kit.channels), kit.widths[0]
        wide = levels * share
        self.widths = (wide,) * (levels - 1)
        self.sources, self.joins = nn.ModuleDict(), nn.ModuleList()
        for i in range(levels - 1):
            given = [*kit.channels[: i + 1], *(wide,) * (levels - 2 - i), kit.channels[-1]]
            for k, channels in enumerate(given):
                self.sources[f"{i}_{k}"] = kit.style.unit(channels, share)
            self.joins.append(nn.Sequential(kit.style.unit(wide, wide), kit.attention(wide)))

    def forward(self, image: Tensor, across: list[Tensor], bottom: Tensor) -> list[Tensor]:
        features = [*across, bottom]  # encoder's; from the bottom up replaced by the decoder's
        for i in reversed(range(len(across))):
            parts = []  # each [N, w_0, H / 2^i, W / 2^i]
            for k, x in enumerate(features):
                parts.append(self.sources[f"{i}_{k}"](_resize(x, k - i)))
            features[i] = self.joins[i](torch.cat(parts, dim=1))
        return features[:-1]


def _resize(x: Tensor, coarser: int) -> Tensor:
    """From a level `coarser` levels below this one (enlarge), or above it (negative: max-pool)."""
    if coarser < 0:
        return F.max_pool2d(x, 2**-coarser)
    return F.interpolate(x, scale_factor=float(2**coarser), mode="bilinear") if coarser else x
