"""A network in one file: safetensors with, in its metadata, all that is needed to use it. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ushape.errors import RunError, SpecError, UshapeError, nearest
from ushape.files import replacing
from ushape.nets.count import count_parameters
from ushape.nets.plugin import hashes
from ushape.nets.spec import Spec, from_dict
from ushape.nets.unet import Network, build

SHIPPED = Path(__file__).parents[1] / "shipped"
"""Trained networks that come with the package, each with its model card."""

PRETRAINING = "pretraining"
"""Key of `about` that only a network without classes has: how it was pretrained."""


@dataclass(frozen=True)
class Weights:
    """A network, and what it was made for: `about` holds grouping, mpp, tta, guided, classes, recipe and provenance."""

    net: Network
    about: dict[str, Any]

    @property
    def tta(self) -> str:
        """The test-time augmentation of its recipe."""
        return str(self.about["tta"])

    @property
    def guided(self) -> int:
        """Radius in px of the guided filter of its recipe; 0 where `about` does not say."""
        return int(self.about.get("guided", 0))


def save_weights(path: Path, net: Network, about: dict[str, Any], half: bool = False) -> None:
    """Write a network and its description; RunError where the file cannot be written.

    half: kernels in float16, half the bytes; norms and biases, which are few and may be small or large, stay float32.
    """
    data = {**about, "spec": net.spec.to_dict(), "in_channels": net.in_channels, "classes": net.classes}
    data["plugins"] = hashes([net.spec])
    tensors = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in net.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() and v.ndim > 1 else v for k, v in tensors.items()}
    save_tensors(path, tensors, {"ushape": json.dumps(data)})


def load_weights(path: Path) -> Weights:
    """Read what `save_weights` wrote, in evaluation mode, on the CPU. path: see `weights_file`.

    RunError where the file is missing, damaged or not ours, a network that was only pretrained, or one whose values are
    not all finite, or of a plugin that is not as it was.
    """
    file = weights_file(path)
    tensors, metadata = load_tensors(file)
    about = _about(file, metadata)
    check_has_classes(path, about)
    try:
        spec = from_dict(about["spec"])
        _check_plugins(file, about, spec)
        if count_parameters(spec, about["in_channels"], about["classes"]) > sum(t.numel() for t in tensors.values()):
            raise ValueError("it has fewer values than its network")  # before so many are made
        net = build(spec, about["in_channels"], about["classes"])
        net.load_state_dict(tensors)
    except RunError:
        raise
    except SpecError as error:
        raise RunError(f"{file}: its network cannot be built here: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, UshapeError) as error:
        said = " ".join(str(error).split())[:300]
        raise RunError(f"{file}: holds no network of ushape ({said}): train it again") from error
    if bad := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        raise RunError(f"{file}: {bad[0]} holds values that are not finite: train it again, at a lower rate, say")
    return Weights(net.eval(), about)


def _check_plugins(file: Path, about: dict[str, Any], spec: Spec) -> None:
    """RunError where a loaded plugin that the network needs is not the one with which it was trained."""
    told, now = about.get("plugins", {}), hashes([spec])
    if now and sorted(told.values()) != sorted(now.values()):
        names = ", ".join(told) or "a plugin"
        raise RunError(
            f"{file}: was made with {names} as it was then, and {', '.join(now)} is another now: give the file of then "
            "with --plugin (a study keeps a copy in its plugins/), or train again"
        )


def check_has_classes(path: Path, about: dict[str, Any]) -> None:
    """RunError where the network of this description was only pretrained."""
    if PRETRAINING in about:
        raise RunError(
            f"{weights_file(path)}: holds a network that was pretrained by {about[PRETRAINING]} and has no classes: "
            f"train one that starts from it (`ushape train SPEC --set pretrained={path}`), then use that"
        )


def check_of_tissue(path: Path, about: dict[str, Any]) -> None:
    """RunError where the network of this description does not label tissue: one of membranes or of CT volumes, say."""
    check_has_classes(path, about)
    if "grouping" not in about:
        raise RunError(f"{weights_file(path)}: holds no network of tissue classes: give one that `ushape train` made")
    if missing := [key for key in ("mpp", "normalise", "tta") if key not in about]:
        raise RunError(
            f"{weights_file(path)}: does not say its {', '.join(missing)}: save it again with them in `about`"
        )
    wrong = [key for key, holds in _HOLDS.items() if key in about and not holds(about[key])]
    if wrong:
        raise RunError(
            f"{weights_file(path)}: its {wrong[0]} is {about[wrong[0]]!r}: save it again with one that `ushape train` "
            "could have written"
        )


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


_HOLDS: dict[str, Callable[[Any], bool]] = {
    "mpp": lambda value: _is_number(value, 0.01, 100),
    "grouping": lambda value: isinstance(value, dict) and isinstance(value.get("id"), str),
    "guided": lambda value: _is_number(value, 0, 256),
    "normalise": lambda value: value in ("none", "stain"),
    "trained_on": lambda value: isinstance(value, list),
    "validated_on": lambda value: isinstance(value, list),
}
"""What a description of a network of tissue must hold, where it holds the key."""


def read_about(path: Path) -> dict[str, Any]:
    """The description of a network, without its tensors; RunError where the file is missing, damaged or not ours."""
    file = weights_file(path)
    return _about(file, _metadata(file))


def _about(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The description in a file's metadata; RunError where there is none."""
    try:
        about = json.loads(metadata["ushape"])
    except (KeyError, ValueError) as error:
        raise RunError(f"{file}: holds no network of ushape ({error!r})") from error
    if not isinstance(about, dict):
        raise RunError(f"{file}: holds no network of ushape (its description is {about!r})")
    return about


def patients_seen(about: dict[str, Any]) -> set[str]:
    """Patients that the network of these weights was trained or chosen on: it cannot be judged on them.

    Nobody where it does not say so; `ushape train` has it say `trained_on`.
    """
    return {*about.get("trained_on", ()), *about.get("validated_on", ())}


def start_from(net: Network, path: Path) -> tuple[int, int]:
    """Copy all tensors of a file of weights, or a run's, that fit by name and shape, but for the head's.

    The head is what depends on the number of classes. How many tensors with values to learn fit, and how many there
    are; RunError where no kernel (of two dimensions or more) does, or the file cannot be used.
    """
    file = weights_file(path)
    given, mine = load_tensors(file)[0], net.state_dict()
    with torch.random.fork_rng(devices=[]):
        other = build(net.spec, net.in_channels, net.classes + 1).state_dict()
    body = {name for name, tensor in mine.items() if tensor.shape == other[name].shape and not _is_head(name)}
    fitting = {name for name in body & given.keys() if given[name].shape == mine[name].shape}
    learnt = {name for name, _ in net.named_parameters()} & body
    if not any(given[name].ndim > 1 for name in fitting):
        raise RunError(
            f"{file}: {len(fitting & learnt)} of {len(learnt)} tensors of {net.spec.name} fit, and no kernel: give "
            "weights of a network that shares its encoder or decoder, of the same widths"
        )
    net.load_state_dict({name: given[name] for name in fitting}, strict=False)
    return len(fitting & learnt), len(learnt)


def _is_head(name: str) -> bool:
    return name.startswith("head.")


def weights_file(path: Path) -> Path:
    """The file of weights that is `path`, or in it where it is a run's folder, or in the package under this name.

    RunError on a mere name that is none of them.
    """
    if path.is_dir():
        return path / "weights.safetensors"
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if str(path) not in shipped():
        remedy = f"no run, file or shipped network of this name (shipped: {', '.join(shipped())})"
        raise RunError(f"cannot read weights {path}: {remedy}{nearest(str(path), shipped())}")
    return SHIPPED / f"{path}.safetensors"


def shipped() -> list[str]:
    """Names of the trained networks that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.safetensors"))


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
            temporary.chmod(0o644)  # safetensors writes files that only their owner reads
        except SafetensorError as error:  # what a full disk looks like from here
            raise OSError(28 if "os error 28" in str(error) else 5, str(error)) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; RunError where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    if any((folder / "study.yaml").exists() for folder in (path.parent, path.parent.parent)):
        return RunError(
            f"{path.parent}: is a study, or an arm of one, not a network: name one of its runs (ARM/fold1-seed0, say), "
            "or train the arm's network on all of the data with `ushape train`"
        )
    remedy = "train it first" if not path.exists() else "it is damaged or no safetensors file"
    return RunError(f"cannot read weights {path}: {remedy} ({str(error).splitlines()[0]})")


def as_input(light: Tensor) -> Tensor:
    """Light 0 to 1, [N, H, W, 3] -> what networks here take: [N, 3, H, W], roughly zero mean and unit variance."""
    mean = light.new_tensor(INPUT_MEAN)
    return ((light - mean) / INPUT_SCALE).movedim(-1, 1)  # channels_last in memory


INPUT_MEAN = (0.75, 0.6, 0.75)
INPUT_SCALE = 0.2
"""Constants near the mean and deviation of light through H&E sections; part of every network's definition."""
