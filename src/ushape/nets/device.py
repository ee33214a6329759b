"""Where and how precisely a network computes: device, autocast and memory layout."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from ushape.errors import RunError

Precision = Literal["auto", "float32", "bf16"]


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: CUDA, else MPS, else CPU; RunError where the device named is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise RunError(f"device {name!r} is none of auto, cpu, cuda and mps: give one of these")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RunError(f"device {name!r} cannot be used here ({str(error).splitlines()[0][:120]}): use cpu") from None
    return torch.device(name)


def pick_precision(wanted: Precision, device: torch.device) -> Literal["float32", "bf16"]:
    """`auto`: bfloat16 where the device computes it faster than float32, else float32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = any(capabilities.get(key, False) for key in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
    else:
        fast = False
    return "bf16" if fast else "float32"


def training_precision(wanted: Precision, device: torch.device) -> Literal["float32", "bf16"]:
    """As `pick_precision`, for what may go on on other machines: written down with it, so that it never changes.

    RunError where bfloat16 is wanted and the device would only imitate it, slowly and with other roundings.
    """
    if wanted == "bf16" and pick_precision("auto", device) != "bf16":
        raise RunError(
            f"precision=bf16: this {device.type} does not compute bfloat16 itself: go on on a machine that does, or "
            "begin anew with --set precision=float32"
        )
    return pick_precision(wanted, device)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where `precision` says so; the state belongs to the calling thread.

    Its cache of cast weights does not: a lane that leaves autocast would empty it under the others.
    """
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if precision == "bf16" else nullcontext()
