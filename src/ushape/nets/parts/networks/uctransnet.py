"""UCTransNet (Wang et al. 2022, arXiv:2109.04335, figure 2; details from the official code).

A U whose skips pass a channel-wise transformer over all levels and then a gate (`skips.channel_transformer`). It is no
spec of the axes because its decoder is narrower than its encoder: a level has there the width of the next finer one.
The first level has one convolution, the others two; nearest up-sampling.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.activations import relu
from ushape.nets.parts.networks.tokens import set_eps
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style
from ushape.nets.parts.skips.channel_transformer import ChannelFusion, ChannelGate

STYLE = Style(BatchNorm, relu, 2, True)


def two(cin: int, cout: int) -> nn.Sequential:
    """Two 3x3 units: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(STYLE.unit(cin, cout), STYLE.unit(cout, cout))


class UCTransNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 2^(levels - 1)."""

    def __init__(
        self, in_channels: int, classes: int, widths: tuple[int, ...], layers: int, heads: int, grid: int
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        *across, bottom = widths
        self.first = STYLE.unit(in_channels, widths[0])
        self.downs = nn.ModuleList(two(fine, coarse) for fine, coarse in pairwise(widths))
        self.fusion = ChannelFusion(tuple(across), STYLE, layers, heads, grid)
        set_eps(self.fusion, 1e-6)
        outs = (across[0], *across[:-1])
        coarser = (*outs[1:], bottom)
        gates = [
            ChannelGate(a, b, STYLE, i, layers, heads) for i, (a, b) in enumerate(zip(across, coarser, strict=True))
        ]
        self.gates = nn.ModuleList(gates)
        self.decoder = nn.ModuleList(two(gate.channels, out) for gate, out in zip(gates, outs, strict=True))
        self.score = nn.Conv2d(outs[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.first(image)]  # [N, w_i, H / 2^i, W / 2^i]
        for down in self.downs:
            features.append(down(F.max_pool2d(features[-1], 2)))
        x = features.pop()
        across = self.fusion(features)
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](self.gates[i](across[i], F.interpolate(x, scale_factor=2.0, mode="nearest")))
        out: Tensor = self.score(x)
        return out
