"""MONAI's UNet with residual units (Kerfoot et al. 2019, doi 10.1007/978-3-030-12029-0_40), in two dimensions.

Each level begins by halving the resolution: its unit's first convolution has stride 2, as has the 3x3 convolution of
its shortcut; so there is no level at full resolution, and nothing comes across there. The bottom's unit keeps the
resolution. On the way back a 3x3 transposed convolution and a unit of one convolution, the last of them without
normalisation. Instance normalisation without scale and shift, parametric rectifiers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ushape.nets.parts.activations import prelu
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.plain import Style


class BareInstanceNorm(nn.GroupNorm):
    """Each channel of each image by itself, no parameters: [N, C, H, W] -> the same; a single pixel gives 0."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, None, None, self.eps)


STYLE = Style(norm=BareInstanceNorm, activation=prelu, depth=1, bias=True)


def _strided(cin: int, cout: int, stride: int, kernel: int = 3) -> nn.Conv2d:
    conv = STYLE.conv(cin, cout, kernel)
    conv.stride = (stride, stride)
    return conv


class Unit(nn.Module):
    """[N, cin, H, W] -> [N, cout, H / stride, W / stride]: `units` convolutions and a shortcut."""

    def __init__(self, cin: int, cout: int, units: int, stride: int = 1, bare: bool = False) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or cin != cout:
            self.shortcut = _strided(cin, cout, stride, kernel=3 if stride > 1 else 1)
        layers: list[nn.Module] = [_strided(cin, cout, stride)]
        if not bare:
            layers += [STYLE.norm(cout), STYLE.activation(), *(STYLE.unit(cout, cout) for _ in range(units - 1))]
        self.residual = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.residual(x)
        return out


class StridedResidualUNet(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]; widths: of 1/2, 1/4, ... and, last, the bottom."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], units: int) -> None:
        super().__init__()
        at_least(1, units=units)
        self.multiple = 2 ** (len(widths) - 1)
        before = (in_channels, *widths[:-1])
        last = len(widths) - 1
        self.encoder = nn.ModuleList(Unit(before[i], w, units, 2 if i < last else 1) for i, w in enumerate(widths))
        self.decoder = nn.ModuleList()
        below = widths[-1]
        for i in reversed(range(last)):
            cout = widths[i - 1] if i else classes
            up = nn.ConvTranspose2d(widths[i] + below, cout, 3, stride=2, padding=1, output_padding=1)
            unit = Unit(cout, cout, units=1, bare=i == 0)
            self.decoder.append(nn.Sequential(up, STYLE.norm(cout), STYLE.activation(), unit))
            below = cout

    def forward(self, image: Tensor) -> Tensor:
        x = image
        across: list[Tensor] = []
        for unit in self.encoder:
            x = unit(x)
            across.append(x)  # [N, w_i, H / 2^(i + 1), W / 2^(i + 1)]; the bottom's as large as the one before
        across.pop()
        for up in self.decoder:
            x = up(torch.cat([across.pop(), x], dim=1))
        return x
