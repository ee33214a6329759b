"""A laboratory for U-Net modifications on tissue images.

    import ushape
    net = ushape.build("unet+residual", in_channels=3, classes=5)

Importing this package imports no torch; the names below do, on first use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "build": "ushape.nets.unet",
    "load_plugin": "ushape.nets.plugin",
    "modification": "ushape.nets.registry",
    "parse": "ushape.nets.spec",
    "Spec": "ushape.nets.spec",
    "UshapeError": "ushape.errors",
}

__all__ = ["Spec", "UshapeError", "__version__", "build", "load_plugin", "modification", "parse"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'ushape' has no attribute {name!r}")
