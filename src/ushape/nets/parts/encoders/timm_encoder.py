"""A network of the timm library as the contracting half of the U.

    unet[encoder=timm:resnet34,widths=16-32-64-128-256-512]+nearest[kernel=0]

Level i of the U takes the network's features of 1/2^i resolution. Classification networks begin at 1/2 or 1/4:
levels above that get nothing across the U, as in other pretrained U-Nets, or, with `[full=1]`, levels of our own on
the image. The spec's widths are the decoder's; the last of them counts as a level only, as the bottom of the U is
as wide as the network made it. Weights are the network's own random ones: `build(..., pretrained=FILE)`, or
`pretrained="imagenet"`, loads trained ones. timm makes networks under its own licence and weights under theirs.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ushape.errors import SpecError, nearest
from ushape.nets.parts.encoders.given import GivenEncoder
from ushape.nets.parts.encoders.imagenet import imagenet_weights, read_file
from ushape.nets.parts.encoders.own import Level, Make


class TimmEncoder(GivenEncoder):
    """image [N, cin, H, W] -> features, finest first: [N, c_i, H / 2^i, W / 2^i], or None where there are none."""

    def __init__(
        self,
        network: str,
        in_channels: int,
        widths: tuple[int, ...],
        stem: Make,
        down: Make,
        level: Level,
        dropout: float,
        full: int,
    ) -> None:
        levels = len(widths)
        given = _levels_of(network, in_channels)
        if levels - 1 not in given:
            known = ", ".join(str(i + 1) for i in sorted(given) if i)
            raise SpecError(f"timm:{network} cannot be the encoder of a U of {levels} levels: give levels={known}")
        wanted = {i: given[i] for i in sorted(given) if i < levels}
        indices = [index for index, _ in wanted.values()]
        try:
            made = _timm().create_model(network, features_only=True, in_chans=in_channels, out_indices=indices)
        except Exception as error:  # as many classes as timm has authors
            _check_computed(error)
            raise SpecError(f"timm:{network} cannot be an encoder ({_line(error)}): choose another network") from error
        _without_chance(made)
        _check_features(made, network, in_channels, [(i, count) for i, (_, count) in wanted.items()])
        if levels - 1 < max(given):
            _drop_unused(made, in_channels)
        made.own_initialisation = True
        channels = {i: count for i, (_, count) in wanted.items()}
        super().__init__(made, channels, in_channels, widths, stem, down, level, dropout, full)
        self.name = network

    def load_pretrained(self, source: Path | str) -> None:
        """Weights of the network: from a safetensors file, or `imagenet`; a classifier is left out; SpecError."""
        given = imagenet_weights(self.name, _timm()) if source == "imagenet" else read_file(Path(source))
        found = {_plain(key): value for key, value in given.items()}
        mine = self.network.state_dict()
        bad = [k for k, v in mine.items() if _plain(k) not in found or found[_plain(k)].shape != v.shape]
        if bad:
            raise SpecError(
                f"pretrained={source} holds no weights that fit this encoder: {len(bad)} of {len(mine)} tensors, "
                f"{bad[0]} first, are missing or have another shape: give a file of the same timm network (and, "
                "for its first convolution, three image channels)"
            )
        self.network.load_state_dict({k: found[_plain(k)] for k in mine})


def _without_chance(network: nn.Module) -> None:
    """No stochastic depth and no dropout of timm's: they draw from torch's own generator, which no run's seed sets."""
    for module in network.modules():
        if isinstance(getattr(module, "drop_prob", None), float):
            module.drop_prob = 0.0  # type: ignore[assignment]
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0


def _check_features(network: nn.Module, name: str, in_channels: int, wanted: list[tuple[int, int]]) -> None:
    """SpecError where an image of 64 px does not give features [1, channels, 64 / 2^level, 64 / 2^level]."""
    image = torch.zeros(1, in_channels, 64, 64, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            shapes = [tuple(each.shape) for each in network.eval()(image)]
    except Exception as error:
        _check_computed(error)
        raise SpecError(
            f"timm:{name} does not take images of any size ({_line(error)}): choose a convolutional network"
        ) from error
    finally:
        network.train()
    if shapes != [(1, channels, 64 >> level, 64 >> level) for level, channels in wanted]:
        raise SpecError(f"timm:{name} gives no maps of 1/2, 1/4, ... the image: choose another network")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _plain(key: str) -> str:
    """timm writes `stages.0` or `stages_0`, depending on how a network is made."""
    return key.replace("_", ".")


def _drop_unused(network: nn.Module, in_channels: int) -> None:
    """Take out what lies behind the coarsest features asked for, which some of timm's networks keep and compute."""
    weights = list(network.parameters())
    image = torch.zeros(1, in_channels, 64, 64, device=weights[0].device)
    reached = torch.autograd.grad(sum(x.sum() for x in network.eval()(image)), weights, allow_unused=True)
    unused = {id(p) for p, gradient in zip(weights, reached, strict=True) if gradient is None}
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            for name, child in list(module.named_children()):
                own = list(child.parameters())
                if own and all(id(p) in unused for p in own):
                    setattr(module, name, nn.Identity())
    for p in network.train().parameters():
        p.requires_grad_(id(p) not in unused)


def _levels_of(network: str, in_channels: int) -> dict[int, tuple[int, int]]:
    """Level -> (timm's index of it, channels); SpecError where timm has no such network, or it is not a pyramid."""
    timm = _timm()
    if network not in timm.list_models() and not timm.is_model(network):
        raise SpecError(f"timm {timm.__version__} has no network {network!r}{nearest(network, timm.list_models())}")
    found: dict[int, tuple[int, int]] = {}
    try:
        features = getattr(timm.create_model(network, in_chans=in_channels), "feature_info", None)
    except Exception as error:
        _check_computed(error)
        raise SpecError(f"timm:{network} cannot be made ({_line(error)}): choose another network") from error
    if not features:
        raise SpecError(f"timm:{network} does not say what features it has: choose another network")
    for index, feature in enumerate(features):
        level = math.log2(feature["reduction"])
        if level.is_integer():
            found[int(level)] = (index, int(feature["num_chs"]))
    return found


def _timm() -> Any:
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of older timm with newer torch
            import timm  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SpecError("encoder=timm:... needs timm: pip install 'ushape[encoders]'") from None
    return timm


def _check_computed(error: Exception) -> None:
    """Raise it again where the meta device is why, on which nothing is computed (see `count.on_meta_or_cpu`)."""
    if isinstance(error, NotImplementedError | RuntimeError) and torch.get_default_device().type == "meta":
        raise error
