"""KiU-Net (Valanarasu et al. 2020, arXiv:2006.04878; details from the official code).

Two encoder-decoders side by side: a U that halves the resolution from level to level, and a Ki-Net that doubles it, so
that its filters see ever smaller details. After each level but the last one the two exchange features (the paper's
CRFB): each adds what the other one has, convolved and brought to its own resolution. Skips are added; at the end both
branches are, at the image's resolution and half of the first width.

Memory and time are those of the overcomplete branch: with L widths its finest features have 4^L pixels for each pixel
of the image. Scores are not rectified, as they are in the official code: a class of negative scores would not learn.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm


def resized(x: Tensor, like: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, H, W], the size of `like`, linear between the nearest pixels."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear")


class Branch(nn.Module):
    """[N, cin, H, W] -> [N, cout, 2H, 2W], or [N, cout, H/2, W/2]."""

    def __init__(self, cin: int, cout: int, finer: bool) -> None:
        super().__init__()
        self.finer = finer
        self.conv, self.norm = nn.Conv2d(cin, cout, 3, padding=1), BatchNorm(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear") if self.finer else F.max_pool2d(x, 2)
        return F.relu(self.norm(x))


class Exchange(nn.Module):
    """Features of the U [N, C, h, w] and of the Ki-Net [N, C, H, W] -> both, of the same shapes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_u, self.of_ki = self._unit(channels), self._unit(channels)

    @staticmethod
    def _unit(channels: int) -> nn.Module:
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        return nn.Sequential(conv, BatchNorm(channels), nn.ReLU(inplace=True))

    def forward(self, u: Tensor, ki: Tensor) -> tuple[Tensor, Tensor]:
        return u + resized(self.of_ki(ki), u), ki + resized(self.of_u(u), ki)


class KiUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        last = max(1, widths[0] // 2)
        inward = list(zip((in_channels, *widths), widths, strict=False))
        outward = list(zip(widths[::-1], (*widths[-2::-1], last), strict=True))
        self.u = nn.ModuleList(
            [Branch(a, b, finer=False) for a, b in inward] + [Branch(a, b, finer=True) for a, b in outward]
        )
        self.ki = nn.ModuleList(
            [Branch(a, b, finer=True) for a, b in inward] + [Branch(a, b, finer=False) for a, b in outward]
        )
        self.exchanges = nn.ModuleList(map(Exchange, (*widths, *widths[-2::-1])))
        self.score = nn.Conv2d(last, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        u = ki = image
        skips: list[tuple[Tensor, Tensor]] = []
        levels = len(self.u) // 2
        for i, exchange in enumerate(self.exchanges):
            u, ki = exchange(self.u[i](u), self.ki[i](ki))  # [N, c_i, H / 2^(i+1), ...], [N, c_i, 2^(i+1) H, ...]
            if i < levels - 1:
                skips.append((u, ki))
            elif i >= levels:
                left, right = skips.pop()
                u, ki = u + left, ki + right
        out: Tensor = self.score(self.u[-1](u) + self.ki[-1](ki))
        return out
