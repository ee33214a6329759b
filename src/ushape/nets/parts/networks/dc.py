"""DC-UNet: dual channel (Lou et al. 2020, arXiv:2006.00414; details from the authors' PyTorch code).

MultiResUNet (Ibtehaz and Rahman 2020, arXiv:1902.04049) with two chains of three 3x3 convolutions in each block, their
joined outputs added, and its residual paths across the U. Widths are the paper's U: a block of U gives 1.67 U
channels, which the chain shares out as 1/6, 1/3 and 1/2.

The paper's Keras code has no 1x1 shortcut around the two chains; the PyTorch code, from which the count comes, has
one, and so do we. As there a normalisation in front of a rectifier has no scale and shift. Not as there: convolutions
see zeros beyond the border (Keras code; there reflections), and the normalised scores do not pass a tanh.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.norms import BatchNorm


def dual_widths(unit: int) -> list[int]:
    """Channels of a chain's three convolutions, none of them 0: 32 -> [8, 17, 26]."""
    total = 1.67 * unit
    return [max(1, int(total * part)) for part in (0.167, 0.333, 0.5)]


def rectified(cin: int, cout: int) -> nn.Sequential:
    """3x3 convolution, norm, ReLU: [N, cin, H, W] -> [N, cout, H, W]."""
    conv = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
    return nn.Sequential(conv, BatchNorm(cout, affine=False), nn.ReLU(inplace=True))


def pointwise(cin: int, cout: int) -> nn.Sequential:
    """1x1 convolution, norm: [N, cin, H, W] -> [N, cout, H, W]."""
    return nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), BatchNorm(cout))


class Chain(nn.Module):
    """[N, cin, H, W] -> [N, sum of widths, H, W]: three convolutions in series, all of them joined."""

    def __init__(self, cin: int, widths: list[int]) -> None:
        super().__init__()
        self.units = nn.ModuleList(map(rectified, (cin, *widths), widths))
        self.norm = BatchNorm(sum(widths))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for unit in self.units:
            features.append(unit(features[-1]))
        out: Tensor = self.norm(torch.cat(features[1:], dim=1))
        return out


class Sum(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]: branches added, rectified, normalised."""

    def __init__(self, cout: int, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.norm = BatchNorm(cout)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.stack([branch(x) for branch in self.branches]).sum(0)
        out: Tensor = self.norm(F.relu(total))
        return out


def dual(cin: int, unit: int) -> Sum:
    """[N, cin, H, W] -> [N, sum(dual_widths(unit)), H, W] (the paper's DC block)."""
    widths = dual_widths(unit)
    return Sum(sum(widths), pointwise(cin, sum(widths)), Chain(cin, widths), Chain(cin, widths))


def residual_path(cin: int, cout: int, length: int) -> nn.Sequential:
    """[N, cin, H, W] -> [N, cout, H, W] (MultiResUNet's)."""
    sides = [(cin if i == 0 else cout, cout) for i in range(length)]
    return nn.Sequential(*(Sum(b, pointwise(a, b), rectified(a, b)) for a, b in sides))


class DCUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        given = [sum(dual_widths(width)) for width in widths]
        fine = widths[:-1]
        self.down = nn.ModuleList(map(dual, (in_channels, *given), widths))
        self.paths = nn.ModuleList(
            residual_path(cin, cout, len(fine) - i) for i, (cin, cout) in enumerate(zip(given, fine, strict=False))
        )
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in zip(given[1:], fine, strict=True))
        self.up = nn.ModuleList(dual(2 * width, width) for width in fine)
        self.score = pointwise(given[0], classes)

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for stage, path in zip(self.down, self.paths, strict=False):
            x = stage(x)  # [N, given_i, H / 2^i, W / 2^i]
            skips.append(path(x))  # [N, width_i, H / 2^i, W / 2^i]
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for i in reversed(range(len(skips))):
            x = self.up[i](torch.cat([self.raise_[i](x), skips[i]], dim=1))
        out: Tensor = self.score(x)
        return out
