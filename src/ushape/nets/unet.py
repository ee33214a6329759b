"""The one U-Net that every spec describes.

    image -> stem -> level 0 ------------ skip 0 ------------> level 0' -> head
                       | down                                    ^ up
                     level 1 ------------ skip 1 ------------> level 1'
                       | down                                    ^ up
                      ...                                       ...
                     level L ------------ bridge ----------------+

Left of the skips stands the encoder (axis `encoder`: these levels, or a network of timm), right of them the decoder
(axis `topology`: this one, or another way to join all levels). Each other word is an axis of the spec too. A part is
a module with one of these signatures; a part with options takes them as keyword arguments:

    stem(cin, cout, style), down(cin, cout, style), up(cin, cout, style)   .channels: what it gives
        down.units: optional; convolutions of the next level that it stands for
    encoder(in_channels, widths, *, stem, down, level, dropout)     forward(image) -> features, finest first; .channels
    block(cin, cout, style)     bridge(channels, style)     attention(channels, style)
    skip(cskip, cup, style, level)     forward(skip, up), .channels
        .across(channels, style): optional; a class whose forward changes the list of all skips, finest first
    topology(kit)     forward(image, across, bottom) -> features, finest first; .widths
    head(widths, classes, style)     forward(features, finest first) -> list of scores
    norm(channels), activation()

When a network is built, all kernels of its convolutions are drawn anew (He et al. 2015). A module with `initialise()`
has it called after that; one with `own_initialisation = True` is left as it is, pretrained parts say.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.pairs import refusal
from ushape.nets.parts.plain import Kit, Style
from ushape.nets.parts.skips.plain import NoSkip
from ushape.nets.registry import NETWORK, lookup
from ushape.nets.spec import Spec, parse
from ushape.nets.valid import check_valid, lost


class Network(nn.Module):
    """What every network here is: a spec made computable.

    forward: image [N, in_channels, H, W] -> scores (logits) [N, classes, H - shrink, W - shrink]; in training with
    several supervised levels: a list of scores, finest first.
    """

    shrink = 0

    def __init__(self, spec: Spec, in_channels: int, classes: int) -> None:
        super().__init__()
        if in_channels < 1 or classes < 1:
            raise SpecError(f"in_channels={in_channels}, classes={classes}: both must be at least 1")
        if reason := refusal(spec):
            raise SpecError(f"{spec.name}: {reason}")
        self.spec, self.in_channels, self.classes = spec, in_channels, classes

    @property
    def multiple(self) -> int:
        """Sides that this divides need no padding."""
        return 2 ** (self.spec.levels - 1)


class Whole(Network):
    """A published network that leaves the U: a module of `parts/networks/` behind the interface of all networks.

    The module is made with (in_channels, classes, widths) and its options; it has `multiple`, the number that must
    divide H and W, and gives scores [N, classes, H, W] (or a list of them in training). Other sizes are padded at
    the right and bottom by repeating the border, and the scores are cropped back.
    """

    def __init__(self, spec: Spec, in_channels: int, classes: int) -> None:
        super().__init__(spec, in_channels, classes)
        make = lookup(NETWORK, spec.network.name).load()
        self.core: Any = make(in_channels, classes, spec.widths, **_options(spec, NETWORK))
        _initialise(self)

    @property
    def multiple(self) -> int:
        return int(self.core.multiple)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        height, width = image.shape[2:]
        scores: Tensor | list[Tensor] = self.core(_padded(image, self.multiple))
        if isinstance(scores, list):
            return [scores[0][:, :, :height, :width], *scores[1:]]
        return scores[:, :, :height, :width]


class UNet(Network):
    """A U from a spec.

    forward: image [N, in_channels, H, W], any H, W >= 1, roughly zero-mean -> scores (logits)
    [N, classes, H, W]. In training with several supervised levels: a list of scores, finest first, the i-th at
    1/2^i of the (padded) resolution. Sizes that 2^(levels-1) does not divide are padded at the right and bottom
    by repeating the border, and the scores are cropped back.

    With padding=valid (U-Net 2015) nothing is padded: scores are [N, classes, H - shrink, W - shrink], those of the
    image's centre (shrink: 184 for 5 levels of depth 2; else 0). Only some sizes pass down and up without a remainder
    (16k + 60 for that net); any other raises SpecError, which names the next ones.
    """

    def __init__(self, spec: Spec, in_channels: int, classes: int) -> None:
        super().__init__(spec, in_channels, classes)
        self.valid: bool = _part(spec, "padding")()
        self.shrink = lost(spec.levels, spec.depth) if self.valid else 0
        make = _Maker(spec, in_channels)
        encoder: Any = make.encoder()
        self.encoder = encoder
        channels: tuple[int, ...] = encoder.channels
        self.bridge = make.bridge(channels[-1])
        self.across = make.across(channels[:-1])
        self.topology = _part(spec, "topology")(make.kit(channels))
        self.head = _part(spec, "head")(self.topology.widths, classes, make.style)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        height, width = image.shape[2:]
        if self.valid:
            check_valid(height, width, self.spec.levels, self.spec.depth)
        else:
            image = _padded(image, self.multiple)
        *across, deepest = self.encoder(image)  # finest first: [N, c_i, H / 2^i, W / 2^i]
        if self.across is not None:
            across = self.across(across)
        decoded: list[Tensor] = self.topology(image, across, self.bridge(deepest))
        scores: list[Tensor] = self.head(decoded)
        if not self.valid:
            scores[0] = scores[0][:, :, :height, :width]
        return scores if len(scores) > 1 else scores[0]


class _Maker:
    """A spec's choices as functions that make modules."""

    def __init__(self, spec: Spec, in_channels: int) -> None:
        self.spec, self.in_channels = spec, in_channels
        self.style = Style(
            norm=_part(spec, "norm"),
            activation=_part(spec, "activation"),
            depth=spec.depth,
            bias=spec.norm.name == "none" or _part(spec, "bias")(),
        )
        valid: bool = _part(spec, "padding")()
        self.of_block = Style(self.style.norm, self.style.activation, spec.depth, self.style.bias, valid)

    def make(self, axis: str, *arguments: int) -> nn.Module:
        module: nn.Module = _part(self.spec, axis)(*arguments, self.style)
        return module

    def level(self, cin: int, cout: int, done: int = 0) -> nn.Module:
        if done >= self.spec.depth:
            raise SpecError(
                f"depth={self.spec.depth} leaves a level nothing behind down={self.spec.down}: give 2 or more"
            )
        style = replace(self.of_block, depth=self.spec.depth - done)
        return nn.Sequential(_part(self.spec, "block")(cin, cout, style), self.attention(cout))

    def attention(self, channels: int) -> nn.Module:
        return self.make("attention", channels)

    def bridge(self, channels: int) -> nn.Module:
        return self.make("bridge", channels)

    def skip(self, cskip: int, cup: int, level: int) -> nn.Module:
        module: nn.Module = (
            _part(self.spec, "skip")(cskip, cup, self.style, level) if cskip else NoSkip(0, cup, self.style, level)
        )
        return module

    def across(self, channels: tuple[int, ...]) -> nn.Module | None:
        """What the spec's skip does to all encoder features at once, if it does."""
        choice = self.spec.choice("skip")
        target = getattr(lookup("skip", choice.name).load(), "across", None)
        if target is None:
            return None
        if not all(channels):
            raise SpecError(
                f"skip={choice.name} needs encoder features at every level, which {self.spec.encoder.name} lacks at "
                "the finest: give the encoder [full=1], or choose skip=concatenate"
            )
        module: nn.Module = target(channels, self.style, **_options(self.spec, "skip"))
        return module

    def encoder(self, axis_choice: bool = True) -> nn.Module:
        """The spec's encoder; with `axis_choice=False` one of its own levels, whatever the axis says."""
        spec = self.spec
        made = _part(spec, "encoder") if axis_choice else lookup("encoder", "own").load()
        module: nn.Module = made(
            self.in_channels,
            spec.widths,
            stem=partial(self.make, "stem"),
            down=partial(self.make, "down"),
            level=self.level,
            dropout=spec.dropout,
        )
        return module

    def kit(self, channels: tuple[int, ...]) -> Kit:
        return Kit(
            widths=self.spec.widths,
            channels=channels,
            style=self.style,
            level=self.level,
            attention=self.attention,
            up=partial(self.make, "up"),
            skip=self.skip,
            bridge=self.bridge,
            encoder=partial(self.encoder, axis_choice=False),
        )


def build(
    spec: Spec | str,
    in_channels: int = 3,
    classes: int = 5,
    seed: int | None = None,
    pretrained: Path | str | None = None,
) -> Network:
    """The network of a spec (or its string). The same seed gives the same weights; None: torch's own state.

    Weights: He et al. 2015 (arXiv:1502.01852), normal with variance 2 / fan-in (of a transposed convolution as torch
    counts it: outputs x kernel), for convolutions, unless a part says otherwise. pretrained, for an encoder
    `efficientnet-lite` or `timm:NAME`: a safetensors file with its weights, as timm names them, or the word "imagenet":
    from an installed package (EfficientNet-Lite0's comes with this one, 1 and 2 with the extra `imagenet`), else what
    timm downloads. SpecError where the spec cannot be read or built, or the weights cannot be had or do not fit.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    make: type[Network] = UNet if spec.network.name == "unet" else Whole
    if seed is None:
        net = make(spec, in_channels, classes)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # no GPU's: their state is the caller's
            net = make(spec, in_channels, classes)
    if pretrained is not None:
        load = getattr(getattr(net, "encoder", None), "load_pretrained", None)
        if load is None:
            raise SpecError(
                f"{spec.name}: pretrained={pretrained} needs an encoder that can have been trained: add "
                "encoder=efficientnet-lite or encoder=timm:NAME"
            )
        load(pretrained)
    return net


def _padded(image: Tensor, multiple: int) -> Tensor:
    """The image with its border repeated at the right and bottom, up to sides that `multiple` divides."""
    right, bottom = -image.shape[3] % multiple, -image.shape[2] % multiple
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if right or bottom else image


def parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _part(spec: Spec, axis: str) -> Any:
    """What makes the module on this axis, with the spec's options bound."""
    target, options = lookup(axis, spec.choice(axis).name).load(), _options(spec, axis)
    return partial(target, **options) if options else target


def _options(spec: Spec, axis: str) -> dict[str, Any]:
    choice = spec.choice(axis)
    return {**lookup(axis, choice.name).options, **dict(choice.options)}


def _initialise(module: nn.Module) -> None:
    """He's weights, children first; a part that has `initialise()` does so itself after that."""
    for child in module.children():
        if not getattr(child, "own_initialisation", False):
            _initialise(child)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if callable(own := getattr(module, "initialise", None)):
        own()
