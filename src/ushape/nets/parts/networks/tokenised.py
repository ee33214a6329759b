"""UNeXt (Valanarasu and Patel 2022, arXiv:2203.04967) and U-KAN (Li et al. 2024, arXiv:2406.02918): one U, two blocks.

Three convolutional levels, each max-pooled, then two levels of tokens: a strided overlapping 3x3 embedding, a block,
layer normalisation. On the way back a convolution, bilinear upsampling and a rectifier, then the pooled features of the
encoder are added; the two coarsest levels have a block there too. Nothing is added at full resolution. UNeXt's block
is a shifted MLP, its levels one convolution; U-KAN's block three KAN layers, its levels two convolutions.

UNeXt's shifts go along the width first, as in the paper (its code: the height), in groups as equal as can be.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.activations import relu
from ushape.nets.parts.blocks.common import at_least
from ushape.nets.parts.blocks.kan import KANUnit
from ushape.nets.parts.blocks.plain import PlainBlock
from ushape.nets.parts.blocks.shifted_mlp import ShiftedMLP
from ushape.nets.parts.norms import BatchNorm, ChannelNorm
from ushape.nets.parts.plain import Style

Make = Callable[[int, int], nn.Module]
"""(cin, cout) -> a module."""

STYLE = Style(norm=BatchNorm, activation=relu, depth=2, bias=True)


class Tokenised(nn.Module):
    """image [N, in_channels, H, W] -> scores [N, classes, H, W]; widths: of 1/2, 1/4, ... 1/32 of the resolution."""

    multiple = 32

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: tuple[int, ...],
        down: Make,
        block: Callable[[int], nn.Module],
        up: Make,
        last: Make,
    ) -> None:
        super().__init__()
        if len(widths) != 5:
            raise SpecError(
                f"{type(self).__name__} has three levels of convolutions and two of tokens: give five widths"
            )
        a, b, c, d, e = widths
        self.convs = nn.ModuleList([down(in_channels, a), down(a, b), down(b, c)])
        self.tokens = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(cin, cout, 3, stride=2, padding=1), ChannelNorm(cout), block(cout), ChannelNorm(cout)
            )
            for cin, cout in ((c, d), (d, e))
        )
        self.ups = nn.ModuleList([up(e, d), up(d, c), up(c, b), up(b, a), last(a, a)])
        self.mixes = nn.ModuleList(nn.Sequential(block(width), ChannelNorm(width)) for width in (d, c))
        self.score = nn.Conv2d(a, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        across: list[Tensor] = []  # [N, w_i, H / 2^(i + 1), W / 2^(i + 1)]
        for conv in self.convs:
            x = F.relu(F.max_pool2d(conv(x), 2))
            across.append(x)
        for tokens in self.tokens:
            x = tokens(x)
            across.append(x)
        across.pop()
        for i, up in enumerate(self.ups):
            x = F.relu(F.interpolate(up(x), scale_factor=2.0, mode="bilinear"))
            if across:
                x = x + across.pop()
            if i < len(self.mixes):
                x = self.mixes[i](x)
        scores: Tensor = self.score(x)
        return scores


class UNeXt(Tokenised):
    """Convolution and normalisation as levels, shifted MLPs as blocks."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], shifts: int) -> None:
        if shifts < 1 or shifts % 2 == 0:
            raise SpecError(f"shifts={shifts}: give an odd number, as 5, so that one group stays in place")

        def level(cin: int, cout: int) -> nn.Module:
            return nn.Sequential(STYLE.conv(cin, cout), STYLE.norm(cout))

        super().__init__(
            in_channels, classes, widths, level, lambda width: ShiftedMLP(width, shifts), level, STYLE.conv
        )


class UKAN(Tokenised):
    """Two convolution units as levels, KAN layers as blocks; on the way back the second unit changes the width."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], grid: int, order: int) -> None:
        at_least(1, grid=grid, order=order)

        def down(cin: int, cout: int) -> nn.Module:
            return PlainBlock(cin, cout, STYLE)

        def up(cin: int, cout: int) -> nn.Module:
            return nn.Sequential(STYLE.unit(cin, cin), STYLE.unit(cin, cout))

        super().__init__(in_channels, classes, widths, down, lambda width: KANUnit(width, STYLE, grid, order), up, up)
