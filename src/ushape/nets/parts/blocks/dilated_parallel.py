"""Dilated parallel block (DPB) of the UNET_modifications experiments: parallel 3x3 convolutions, several dilations.

The experiments name DPB-3 and DPB-5 (three and five branches, at the input or in each level); the training scripts
head some of them "D=1,2,3,5,7", and publish neither which branches have which dilation nor how branches join. Our
assumptions: the dilations are the first three, or all five, of those; the branches share out the level's channels and
are concatenated, so that the block costs what the plain one costs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.blocks.common import shares
from ushape.nets.parts.blocks.dilated import dilated_conv
from ushape.nets.parts.plain import Style


class DilatedParallelStem(nn.Module):
    """Parallel dilated convolutions on the image: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip(shares(cout, len(dilations)), dilations, strict=False)  # fewer branches where channels are few
        self.branches = nn.ModuleList(dilated_conv(style, cin, w, d) for w, d in pairs)
        self.norm = style.norm(cout)
        self.activation = style.activation()
        self.channels = cout

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([branch(x) for branch in self.branches], dim=1)  # [N, cout, H, W]
        out: Tensor = self.activation(self.norm(features))
        return out


class DilatedParallelBlock(nn.Sequential):
    """The parallel unit, then depth - 1 plain units: [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, dilations: tuple[int, ...]) -> None:
        plain = (style.unit(cout, cout) for _ in range(style.depth - 1))
        super().__init__(DilatedParallelStem(cin, cout, style, dilations), *plain)
