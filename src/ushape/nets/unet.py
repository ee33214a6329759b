"""The one U-Net that every spec describes.

    image -> stem -> level 0 ------------ skip 0 ------------> level 0' -> head
                       | down                                    ^ up
                     level 1 ------------ skip 1 ------------> level 1'
                       | down                                    ^ up
                      ...                                       ...
                     level L ------------ bridge ----------------+

Each letter of that picture is one axis of the spec. A part is a module with one of these signatures:

    stem(cin, cout, style), down(cin, cout, style), up(cin, cout, style)   .channels: what it gives
    block(cin, cout, style)     bridge(channels, style)     attention(channels, style)
    skip(cskip, cup, style)     forward(skip, up), .channels
    head(widths, classes, style)     forward(features, finest first) -> list of scores
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import Dropout, Style
from ushape.nets.registry import lookup
from ushape.nets.spec import Spec, parse


class UNet(nn.Module):
    """A network from a spec.

    forward: image [N, in_channels, H, W], any H, W >= 1, roughly zero-mean -> scores (logits)
    [N, classes, H, W]. In training with several supervised levels: a list of scores, finest first, the i-th at
    1/2^i of the (padded) resolution. Sizes that 2^(levels-1) does not divide are padded at the right and bottom
    by repeating the border, and the scores are cropped back.
    """

    def __init__(self, spec: Spec, in_channels: int, classes: int) -> None:
        super().__init__()
        if in_channels < 1 or classes < 1:
            raise SpecError(f"in_channels={in_channels}, classes={classes}: both must be at least 1")
        self.spec, self.in_channels, self.classes = spec, in_channels, classes
        style = Style(
            norm=_part(spec, "norm"),
            activation=_part(spec, "activation"),
            depth=spec.depth,
            bias=spec.norm.name == "none",
        )
        widths = spec.widths

        def level(cin: int, cout: int) -> nn.Sequential:
            return nn.Sequential(_part(spec, "block")(cin, cout, style), _part(spec, "attention")(cout, style))

        self.stem = _part(spec, "stem")(in_channels, widths[0], style)
        self.encoder = nn.ModuleList([level(self.stem.channels, widths[0])])
        self.downs = nn.ModuleList()
        for fine, coarse in pairwise(widths):
            self.downs.append(_part(spec, "down")(fine, coarse, style))
            self.encoder.append(level(_channels(self.downs[-1]), coarse))
        self.dropout = Dropout(spec.dropout)
        self.bridge = _part(spec, "bridge")(widths[-1], style)
        self.ups, self.skips, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for fine, coarse in pairwise(widths):  # finest first
            self.ups.append(_part(spec, "up")(coarse, fine, style))
            self.skips.append(_part(spec, "skip")(fine, _channels(self.ups[-1]), style))
            self.decoder.append(level(_channels(self.skips[-1]), fine))
        self.head = _part(spec, "head")(widths[:-1], classes, style)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        height, width = image.shape[2:]
        multiple = 2 ** (self.spec.levels - 1)
        right, bottom = -width % multiple, -height % multiple
        x = F.pad(image, (0, right, 0, bottom), mode="replicate") if right or bottom else image
        x = self.stem(x)
        across: list[Tensor] = []  # encoder features, finest first: [N, w_i, H / 2^i, W / 2^i]
        for i, encode in enumerate(self.encoder):
            x = encode(x if i == 0 else self.downs[i - 1](x))
            if i >= self.spec.levels - 2:
                x = self.dropout(x)
            across.append(x)
        x = self.bridge(across.pop())  # [N, w_L, H / 2^L, W / 2^L]
        decoded: list[Tensor] = []
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](self.skips[i](across[i], self.ups[i](x)))  # [N, w_i, H / 2^i, W / 2^i]
            decoded.insert(0, x)
        scores: list[Tensor] = self.head(decoded)
        scores[0] = scores[0][:, :, :height, :width]
        return scores if len(scores) > 1 else scores[0]


def build(spec: Spec | str, in_channels: int = 3, classes: int = 5, seed: int | None = None) -> UNet:
    """The network of a spec (or its string). The same seed gives the same weights; None: torch's own state.

    Weights: He et al. 2015 (arXiv:1502.01852), normal with variance 2 / fan-in, for convolutions. SpecError where
    the spec cannot be read or built.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    if seed is None:
        return UNet(spec, in_channels, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(spec, in_channels, classes)


def parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _part(spec: Spec, axis: str) -> Any:
    """What makes the module on this axis, with the spec's options bound."""
    choice = spec.choice(axis)
    modification = lookup(axis, choice.name)
    options = {**modification.options, **dict(choice.options)}
    return partial(modification.load(), **options) if options else modification.load()


def _channels(module: nn.Module) -> int:
    channels = module.channels
    assert isinstance(channels, int)
    return channels


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
