"""Medical Transformer, MedT (Valanarasu et al. 2021, arXiv:2102.10662, figures 2, 3; details from the official code).

Two branches of axial attention, added at the end. The shallow one sees the whole image, with gated positions; the deep
one sees each of 4x4 patches by itself, without positions. Both take 1/2 of the resolution at once and go up by 3x3
convolutions and linear interpolation, adding what the encoder had.

`length`: of the tables of positions at 1/2 of the resolution (64 for the paper's images of 128²). Patches are a quarter
of the image, as in the paper; in the code they are 32 pixels, whatever the image. Here they pass together, so that in
training batch norms see all of them at once. The code's patch branch also holds a 1x1 convolution in each block and a
head that nothing ever reaches; they are not here. It learns the gates from the 11th epoch on, here from the first.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.networks.axial_attention import AxialBlock
from ushape.nets.parts.norms import BatchNorm

GRID = 4
"""Patches along a side."""

BLOCKS = (1, 2, 4, 1)
"""In the levels at 1/2, 1/4, 1/8, 1/16."""


def stem(cin: int, cout: int, inner: int) -> nn.Sequential:
    """[N, cin, H, W] -> [N, cout, H / 2, W / 2]."""
    layers: list[nn.Module] = []
    for a, b, kernel, stride in ((cin, cout, 7, 2), (cout, inner, 3, 1), (inner, cout, 3, 1)):
        conv = nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False)
        layers += [conv, BatchNorm(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def doubled(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W], rectified."""
    return F.relu(F.interpolate(x, scale_factor=2.0, mode="bilinear"))


class Branch(nn.Module):
    """[N, cin, H, W] -> [N, w0, H, W]; `length` as for AxialAttention, at 1/2 of the resolution."""

    def __init__(self, cin: int, first: int, inner: int, widths: tuple[int, ...], length: int, deep: bool) -> None:
        super().__init__()
        self.stem = stem(cin, first, inner)
        self.levels, self.ups = nn.ModuleList(), nn.ModuleList()
        for i, (c, width) in enumerate(zip((first, *(2 * w for w in widths)), widths, strict=False)):
            at = [length if i == 0 else max(1, length >> (i - 1)), max(1, length >> i)]  # before, after the stride
            at = at if length else [0, 0]
            blocks = [AxialBlock(c, width, 2 if i else 1, at[0])]
            blocks += [AxialBlock(2 * width, width, 1, at[1]) for _ in range(BLOCKS[i] - 1)]
            self.levels.append(nn.Sequential(*blocks))
            self.ups.append(nn.Conv2d(2 * width, 2 * widths[i - 1] if i else width, 3, padding=1))
        bottom = 2 * widths[-1]
        self.bottom = nn.Conv2d(bottom, bottom, 3, stride=2, padding=1) if deep else None

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        features: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            features.append(x)  # [N, 2 w_i, H / (2 2^i), W / (2 2^i)]
        if self.bottom is not None:
            x = doubled(self.bottom(x)) + x
        for i in reversed(range(len(self.ups))):
            x = doubled(self.ups[i](x))
            if i:
                x = x + features[i - 1]
        return x


class MedT(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; H and W multiples of 128: 4 patches, 5 times halved."""

    multiple = GRID * 32

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], length: int) -> None:
        super().__init__()
        if len(widths) != 4:
            raise SpecError(f"medt has widths of four levels: {len(widths)}, give 4")
        at_least(1, length=length)
        first, inner = max(1, widths[0] // 2), widths[-1]
        self.whole = Branch(in_channels, first, inner, widths[:2], length, deep=False)
        self.patches = Branch(in_channels, 2 * widths[1], inner, widths, 0, deep=True)
        self.fuse = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.score = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        n, channels, height, width = image.shape
        grid = image.reshape(n, channels, GRID, height // GRID, GRID, width // GRID).permute(0, 2, 4, 1, 3, 5)
        local = self.patches(grid.flatten(0, 2))  # [16 N, w0, H / 4, W / 4]
        local = local.reshape(n, GRID, GRID, *local.shape[1:]).permute(0, 3, 1, 4, 2, 5)  # [N, w0, 4, H / 4, 4, W / 4]
        x = self.whole(image) + local.reshape(n, -1, height, width)
        out: Tensor = self.score(F.relu(self.fuse(x)))
        return out
