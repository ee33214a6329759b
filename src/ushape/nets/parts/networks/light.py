"""What MALUNet and EGE-UNet share: a light U whose decoder adds, with the computing left to its two parts.

    image -> stage 0 -> norm, 2x2 max-pooling, GELU -> stage 1 -> ... -> stage L -> GELU: the bottom
    bottom -> decoder stage L - 1 -> norm, GELU, + skip -> decoder stage L - 2 -> norm, doubled, GELU, + skip -> ...

Skips are taken behind the pooling, so the finest one has half of the image's resolution and the coarsest one that of
the bottom; the scores are doubled once more. Fine stages (`PLAIN`) are 3x3 convolutions, the coarser ones the paper's
own. Normalisation is over 4 groups of channels, interpolation linear with corners aligned, as in the code of both
papers.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import GroupNorm

PLAIN = 3
"""So many of the finest stages are 3x3 convolutions."""


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """[N, C, h, w] -> [N, C, height, width], linear, corners aligned."""
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


def doubled(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W], linear, corners aligned."""
    return resized(x, 2 * x.shape[2], 2 * x.shape[3])


class LightU(nn.Module):
    """The stages and their order; `left(cin, cout)` and `right(cin, cout)` make those that are not plain."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        left: Callable[[int, int], nn.Module],
        right: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        sides = list(zip((in_channels, *widths), widths, strict=False))
        self.down = nn.ModuleList(self._stage(i, cin, cout, left) for i, (cin, cout) in enumerate(sides))
        self.up = nn.ModuleList(self._stage(i, cout, cin, right) for i, (cin, cout) in enumerate(sides[1:], 1))
        self.down_norms = nn.ModuleList(GroupNorm(width, 4) for width in widths[:-1])
        self.up_norms = nn.ModuleList(GroupNorm(width, 4) for width in widths[:-1])
        self.score = nn.Conv2d(widths[0], classes, 1)

    def _stage(self, level: int, cin: int, cout: int, make: Callable[[int, int], nn.Module]) -> nn.Module:
        return nn.Conv2d(cin, cout, 3, padding=1) if level < PLAIN else make(cin, cout)

    def encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """[N, in_channels, H, W] -> skips [N, c_i, H / 2^(i+1), W / 2^(i+1)], finest first, and the bottom."""
        x, skips = image, []
        for stage, norm in zip(self.down, self.down_norms, strict=False):
            x = F.gelu(F.max_pool2d(norm(stage(x)), 2))
            skips.append(x)
        return skips, F.gelu(self.down[-1](x))  # the bottom: [N, c_L, H / 2^L, W / 2^L]

    def decode(self, level: int, x: Tensor) -> Tensor:
        """Decoder features of the level below -> those of `level`, of its skip's shape."""
        x = self.up_norms[level](self.up[level](x))
        return F.gelu(x if level == len(self.up) - 1 else doubled(x))
