"""The libraries of the extras `openvino` and `onnx`, or an error that says how to get them; none may call home."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ushape.errors import RunError


def installed(name: str) -> bool:
    """Whether a library can be imported, without doing so."""
    return find_spec(name) is not None


def openvino_module() -> Any:
    with without_telemetry():
        try:
            import openvino
        except ImportError:
            raise RunError("engine openvino is not installed: pip install 'ushape[openvino]'") from None
    return openvino


def nncf_module() -> Any:
    """NNCF, which is told to keep its progress to itself."""
    with without_telemetry(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import nncf
        except ImportError:
            raise RunError("int8 needs NNCF, which is not installed: pip install 'ushape[openvino]'") from None
    nncf.set_log_level(logging.ERROR)
    return nncf


def onnxruntime_module() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise RunError("engine onnx is not installed: pip install 'ushape[onnx]'") from None
    return onnxruntime


def check_onnx() -> None:
    """RunError where what writes ONNX is not installed."""
    for name in ("onnx", "onnxscript"):
        if not installed(name):
            raise RunError(f"writing ONNX needs {name}, which is not installed: pip install 'ushape[onnx]'")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """OpenVINO and NNCF, imported meanwhile, find no `openvino_telemetry`: with it they report each import and use."""
    name = "openvino_telemetry"
    there = name in sys.modules
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if there and before is not None:
            sys.modules[name] = before
        else:
            del sys.modules[name]
