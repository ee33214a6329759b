"""ColonSegNet (Jha et al. 2021, arXiv:2011.07631), as the authors' code has it.

Two encoder blocks, each with features before and after a strided convolution, so that four resolutions come across:
two joined at half of the image's, two at the whole. Residual blocks excite their shortcut, not their branch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.networks.resunet_plus_plus import Excite
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.parts.plain import Style

_STYLE = Style(BatchNorm, relu, depth=2, bias=True)


class ExcitedResidual(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]: two convolutions, plus an excited 1x1 convolution of the input."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_STYLE.unit(cin, cout), _STYLE.conv(cout, cout), BatchNorm(cout))
        self.shortcut = nn.Sequential(_STYLE.conv(cin, cout, kernel=1), BatchNorm(cout), Excite(cout))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.residual(x) + self.shortcut(x)).relu()
        return out


class Encoder(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W] and [N, cout, H / 2, W / 2]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.fine, self.coarse = ExcitedResidual(cin, cout), ExcitedResidual(cout, cout)
        self.strided = nn.Sequential(nn.Conv2d(cout, cout, 3, stride=2, padding=1), BatchNorm(cout), relu())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.fine(x)
        return x, self.coarse(self.strided(x))


def double(cin: int, cout: int) -> nn.ConvTranspose2d:
    """[N, cin, H, W] -> [N, cout, 2H, 2W]."""
    return nn.ConvTranspose2d(cin, cout, 4, stride=2, padding=1)


class ColonSegNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths: of the two encoder blocks."""

    multiple = 8

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(widths) != 2:
            raise SpecError(f"widths {'-'.join(map(str, widths))}: colonsegnet has two, as 64-256")
        first, second = widths
        half, narrow = max(1, second // 2), max(1, first // 2)
        self.first, self.second = Encoder(in_channels, first), Encoder(first, second)
        self.up_coarsest = nn.ConvTranspose2d(second, half, 4, stride=4)
        self.join_coarsest = ExcitedResidual(half + first, half)
        self.up_coarse, self.join_coarse = double(second, half), ExcitedResidual(2 * half, half)
        self.up_fine, self.join_fine = double(half, first), ExcitedResidual(2 * first, first)
        self.up_first, self.join_first = double(first, narrow), ExcitedResidual(first + narrow, narrow)
        self.score = nn.Conv2d(narrow, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        whole, half = self.first(image)  # [N, w_0, H, W], [N, w_0, H / 2, W / 2]
        quarter, eighth = self.second(F.max_pool2d(half, 2))  # [N, w_1, H / 4, W / 4], [N, w_1, H / 8, W / 8]
        x = self.join_coarsest(torch.cat([self.up_coarsest(eighth), half], dim=1))  # [N, w_1 / 2, H / 2, W / 2]
        x = self.join_coarse(torch.cat([x, self.up_coarse(quarter)], dim=1))
        x = self.join_fine(torch.cat([self.up_fine(x), whole], dim=1))  # [N, w_0, H, W]
        x = self.join_first(torch.cat([x, self.up_first(half)], dim=1))  # [N, w_0 / 2, H, W]
        out: Tensor = self.score(x)
        return out
