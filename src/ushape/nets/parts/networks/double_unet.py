"""DoubleU-Net (Jha et al. 2020, arXiv:2006.04868, figure 1).

A U with the encoder of VGG-19 gives a map; the image, weighed by it, goes through a second U, whose decoder takes the
skips of both encoders. Both Us have atrous pooling at the bottom and squeeze and excitation behind each block of two
convolutions. Layers are those of the authors' PyTorch code. Its first output, which the authors train as well, is only
the map here: it always has one channel, and the scores are those of the second U. VGG-19 starts from scratch.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.activations import relu
from ushape.nets.parts.attention.se import SqueezeExcitation
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style

_STYLE = Style(BatchNorm, relu, depth=2, bias=False)


def _block(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(_STYLE.unit(cin, cout), _STYLE.unit(cout, cout), SqueezeExcitation(cout, _STYLE, reduction=8))


class AtrousPooling(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]: 1x1, three dilations and the means of 2x2 cells, joined."""

    def __init__(self, cin: int, cout: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.cells = _STYLE.unit(cin, cout, kernel=1)
        self.branches = nn.ModuleList(
            [_STYLE.unit(cin, cout, kernel=1), *(_STYLE.unit(cin, cout, dilation=d) for d in dilations)]
        )
        self.join = _STYLE.unit((len(dilations) + 2) * cout, cout, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.cells(means_of_halves(means_of_halves(x, 2), 3))  # [N, cout, 2, 2]
        cells = F.interpolate(cells, size=x.shape[2:], mode="bilinear", align_corners=True)
        out: Tensor = self.join(torch.cat([cells, *(branch(x) for branch in self.branches)], dim=1))
        return out


def means_of_halves(x: Tensor, dim: int) -> Tensor:
    """The means of both halves along `dim`, which overlap by one where the size is odd: size 2 there."""
    size = x.shape[dim]
    half = (size + 1) // 2
    both = (x.narrow(dim, 0, half), x.narrow(dim, size - half, half))
    return torch.cat([part.mean(dim, keepdim=True) for part in both], dim=dim)


class Decoder(nn.Module):
    """The bottom and skips, finest first, -> [N, widths[0], H, W]; each level enlarges, concatenates, convolves."""

    def __init__(self, bottom: int, skips: list[int], widths: list[int]) -> None:
        super().__init__()
        below = [*widths[1:], bottom]
        self.blocks = nn.ModuleList(_block(a + b, c) for a, b, c in zip(below, skips, widths, strict=True))

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for block, skip in zip(reversed(self.blocks), reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skip], dim=1))
        return x


class DoubleUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W].

    widths: of the VGG encoder, finest first. Decoders and the second encoder have half of each but the last, the atrous
    pooling as many as the first.
    """

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        convolutions = [2, 2, *(4 for _ in widths[2:])]  # VGG-19's in each level
        self.vgg = nn.ModuleList()
        for (cin, cout), n in zip(pairwise([in_channels, *widths]), convolutions, strict=False):
            layers: list[nn.Module] = []
            for i in range(n):
                layers += [nn.Conv2d(cout if i else cin, cout, 3, padding=1), relu()]
            self.vgg.append(nn.Sequential(*layers))
        levels, half = list(widths[:-1]), [max(1, width // 2) for width in widths[:-1]]
        self.pooling = AtrousPooling(widths[-1], widths[0], dilations)
        self.decoder = Decoder(widths[0], levels, half)
        self.map = nn.Conv2d(half[0], 1, 1)
        self.second = nn.ModuleList(_block(a, b) for a, b in pairwise([in_channels, *half]))
        self.second_pooling = AtrousPooling(half[-1], widths[0], dilations)
        self.second_decoder = Decoder(widths[0], [a + b for a, b in zip(levels, half, strict=True)], half)
        self.score = nn.Conv2d(half[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        across: list[Tensor] = []
        x = image
        for i, level in enumerate(self.vgg):
            x = level(F.max_pool2d(x, 2) if i else x)  # [N, w_i, H / 2^i, W / 2^i]
            across.append(x)
        seen = self.map(self.decoder(self.pooling(across.pop()), across))  # [N, 1, H, W]
        x = image * seen.sigmoid()
        both: list[Tensor] = []
        for first, block in zip(across, self.second, strict=True):
            x = block(x)  # [N, w_i / 2, H / 2^i, W / 2^i]
            both.append(torch.cat([first, x], dim=1))
            x = F.max_pool2d(x, 2)
        out: Tensor = self.score(self.second_decoder(self.second_pooling(x), both))
        return out
