"""Engines that compute a trained network: PyTorch, OpenVINO, ONNX Runtime. `open_engine` makes one."""

from __future__ import annotations

from ushape.predict.engines.base import NO_STAIN, Engine
from ushape.predict.engines.choose import ENGINES, PRECISIONS, open_engine

__all__ = ["ENGINES", "NO_STAIN", "PRECISIONS", "Engine", "open_engine"]
