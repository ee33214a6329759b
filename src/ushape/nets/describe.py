"""What a module is, in words: for the key of a diagram."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from itertools import groupby

from torch import nn


@dataclass(frozen=True)
class Kind:
    """title: what stages of this kind are called; text: what they do, in words of their own class, or nothing."""

    title: str
    text: str = ""


def describe(module: nn.Module) -> tuple[Kind, int]:
    """What a module is, and how many of that in a row. Modules of one kind do alike, whatever their widths."""
    if isinstance(module, nn.Sequential | nn.ModuleList):
        inner = [describe(child)[0] for child in module]
        if inner and len(set(inner)) == 1:
            return inner[0], len(inner)
        return Kind(_joined([kind.title for kind in inner])), 1
    if type(module).__module__.startswith("torch.nn."):
        return Kind(_layer(module)), 1
    return Kind(readable(type(module).__name__), _prose(module)), 1


def readable(name: str) -> str:
    """A class's name as words: `HadamardAttention` -> `Hadamard attention`; what is written in capitals stays."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W_]+", name)
    if any(len(word) < 3 and not word.isdigit() and (len(word) == 1 or not word.isupper()) for word in words[:-1]):
        return name  # `UNet`, `ReLU`
    merged = [words[0]] if words else [name]
    for word in words[1:]:
        if word.isdigit() or (merged[-1][-1].isdigit() and len(word) == 1):  # `Conv2d`, `RSU4`
            merged[-1] += word
        else:
            merged.append(word if word.isupper() else word.lower())
    return " ".join(merged)


def _joined(titles: list[str]) -> str:
    """What follows what, repetitions counted; six at most."""
    titles = [t[:1].lower() + t[1:] if t.split(" ")[0][1:].islower() else t for t in titles]
    for period in range(2, len(titles) // 2 + 1):
        if titles == titles[:period] * (len(titles) // period):
            return f"{len(titles) // period} × ({_joined(titles[:period])})"
    steps = [(title, len(list(group))) for title, group in groupby(titles)]
    shown = [f"{count} × {title}" if count > 1 else title for title, count in steps[:6]]
    return ", ".join([*shown, "…"] if len(steps) > 6 else shown)


def _layer(module: nn.Module) -> str:
    """A layer of torch."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
        sequence = isinstance(module, nn.Conv1d)
        words = ["1-D" if sequence else "×".join(map(str, module.kernel_size))]
        if 1 < module.groups == module.in_channels:
            words.append("depthwise")
        if isinstance(module, nn.ConvTranspose2d):
            words.append("transposed")
        words.append(f"convolution of width {module.kernel_size[0]}" if sequence else "convolution")
        if max(module.dilation) > 1:
            words.append(f"of dilation {max(module.dilation)}")
        if max(module.stride) > 1:
            words.append(f"of stride {max(module.stride)}")
        return " ".join(words)
    name = readable(re.sub(r"[123]d$", "", type(module).__name__))
    return "linear layer" if name == "Linear" else name


def _prose(module: nn.Module) -> str:
    """The first sentence of a class's own docstring, without the shapes that it begins with."""
    own = type(module).__dict__.get("__doc__")
    if not own:
        return ""
    text = inspect.cleandoc(own).split("\n\n")[0].replace("\n", " ")
    text = re.split(r"(?<=[a-z)\]])\.(?:\s|$)", text)[0].rpartition("->")[2].strip()
    text = re.sub(r"^(?:\[[^\]]*\]|the same(?: shape)?|[,.:;]|\s)+", "", text).strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    return text.replace("`", "") if re.search(r"[a-z]{3}", text) and "[" not in text else ""
