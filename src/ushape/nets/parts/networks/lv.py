"""LV-UNet: lightweight and vanilla (Jiang et al. 2024, arXiv:2408.16886; details from the official code).

The encoder is the front of MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244, table 1, rows 1 to 10), down to a
sixteenth of the resolution, and three steps of VanillaNet (Chen et al. 2023, arXiv:2305.12972) below it; the decoder is
made of such steps and adds its skips. A step is two normalised 1x1 convolutions with a rectifier between, a change of
resolution, and a rectifier that is followed by a normalised depthwise 3x3 convolution (the series activation).

The paper starts from ImageNet weights; here they start as everywhere. It also lets the rectifier between the 1x1
convolutions fade to the identity in training, so that the two can be fused afterwards; here it stays.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.norms import BatchNorm

BLOCKS: tuple[tuple[tuple[int, float, bool], ...], ...] = (
    ((3, 1, False),),
    ((3, 4, False), (3, 3, False)),
    ((5, 3, True), (5, 3, True), (5, 3, True)),
    ((3, 6, False), (3, 2.5, False), (3, 2.3, False)),
)
"""MobileNetV3's blocks by width: kernel, expansion, squeeze and excitation. The first of each, but of the first width,
halves the resolution; of the last width all use hard swish, the others rectifiers."""

LEVELS = len(BLOCKS) + 3


def eighths(channels: float) -> int:
    """The multiple of 8 nearest to `channels` and not below 90% of it, at least 8: 18 -> 24, 30 -> 32."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class Squeeze(nn.Module):
    """Channels re-weighted from their means: [N, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = eighths(channels / 4)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.weigh(x.mean((2, 3), keepdim=True))
        return out


def _unit(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = DepthwiseConv(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, BatchNorm(cout, eps=1e-3, momentum=0.01)]


class Inverted(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W], or half of H and W with stride 2."""

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        expansion: float,
        squeeze: bool,
        stride: int,
        act: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        inner = round(cin * expansion)
        widen = [*_unit(cin, inner, 1), act()] if inner != cin else []
        weigh = [Squeeze(inner)] if squeeze else []
        filters = [*_unit(inner, inner, kernel, stride, groups=inner), act()]
        self.body = nn.Sequential(*widen, *filters, *weigh, *_unit(inner, cout, 1))
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return x + out if self.residual else out


class Step(nn.Module):
    """[N, cin, H, W] -> [N, cout, H', W']: half (`down`) or double the resolution."""

    def __init__(self, cin: int, cout: int, down: bool) -> None:
        super().__init__()
        self.down = down
        mix = [nn.Conv2d(cin, cin, 1), BatchNorm(cin, eps=1e-6), nn.ReLU(inplace=True)]
        self.mix = nn.Sequential(*mix, nn.Conv2d(cin, cout, 1), BatchNorm(cout, eps=1e-6))
        series = nn.Conv2d(cout, cout, 3, padding=1, groups=cout, bias=False)
        self.series = nn.Sequential(series, BatchNorm(cout, eps=1e-6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(x)
        x = F.max_pool2d(x, 2) if self.down else F.interpolate(x, scale_factor=2.0, mode="bilinear")
        out: Tensor = self.series(F.relu(x))
        return out


class LVUNet(nn.Module):
    """[N, in_channels, H, W] -> [N, classes, H, W]; widths are those at 1/2, 1/4, ... 1/128 of the resolution."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(widths) != LEVELS:
            raise SpecError(f"lv-unet has {LEVELS} levels: give {LEVELS} widths, not {len(widths)}")
        self.multiple = 2**LEVELS
        stem = nn.Sequential(*_unit(in_channels, widths[0], 3, stride=2), nn.Hardswish())
        levels = [nn.Sequential(stem, *self._blocks(0, widths[0], widths[0]))]
        for i, (fine, coarse) in enumerate(pairwise(widths), 1):
            levels.append(nn.Sequential(*self._blocks(i, fine, coarse)))
        self.down = nn.ModuleList(levels)
        self.up = nn.ModuleList(Step(coarse, fine, down=False) for fine, coarse in pairwise(widths))
        self.last = Step(widths[0], widths[0], down=False)
        self.score = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def _blocks(index: int, cin: int, cout: int) -> list[nn.Module]:
        if index >= len(BLOCKS):
            return [Step(cin, cout, down=True)]
        made: list[nn.Module] = []
        act = nn.Hardswish if index == len(BLOCKS) - 1 else nn.ReLU
        for i, (kernel, expansion, squeeze) in enumerate(BLOCKS[index]):
            stride = 2 if index and not i else 1
            made.append(Inverted(cout if i else cin, cout, kernel, expansion, squeeze, stride, act))
        return made

    def forward(self, image: Tensor) -> Tensor:
        x, features = image, []
        for stage in self.down:
            x = stage(x)
            features.append(x)  # [N, c_i, H / 2^(i+1), W / 2^(i+1)]
        for i in reversed(range(len(self.up))):
            x = self.up[i](x)
            x = x + features[i] if i else x  # nothing comes across at half of the resolution
        out: Tensor = self.score(self.last(x))
        return out
