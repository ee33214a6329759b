"""Published networks: each a spec, or a module of its own where it leaves the U, with a pinned parameter count.

The name does not determine a network in the literature; the pin does. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from ushape.errors import SpecError, nearest
from ushape.nets.registry import NETWORK, Value, register


@dataclass(frozen=True)
class Published:
    """A published network.

    spec: its short string; a network that leaves the U has its own name there. parameters: the published count for
    `in_channels` and `classes`; pin: where that count stands. size: side in px of the image that FLOPs are given for.
    ours: our count where it is another one, with the reason in `note`, which also states what we assume. parity: the
    implementation whose outputs equal ours with its weights copied in, as `tests/nets/test_parity.py` shows; empty:
    not checked against one.
    """

    name: str
    title: str
    spec: str
    source: str
    parameters: int | None
    pin: str
    in_channels: int = 3
    classes: int = 1
    size: int = 256
    ours: int | None = None
    parity: str = ""
    note: str = ""


_ZOO: dict[str, Published] = {}
_WIDTHS: dict[str, tuple[int, ...]] = {}


def publish(
    name: str,
    title: str,
    spec: str,
    source: str,
    parameters: int | None,
    pin: str,
    *,
    in_channels: int = 3,
    classes: int = 1,
    size: int = 256,
    ours: int | None = None,
    parity: str = "",
    note: str = "",
) -> Published:
    """Add a published network; SpecError if its name is taken."""
    if name in _ZOO or name == "unet":
        raise SpecError(f"{name!r} is already a network: choose another name")
    made = Published(name, title, spec, source, parameters, pin, in_channels, classes, size, ours, parity, note)
    _ZOO[name] = made
    return made


def leave(name: str, source: str, target: str, widths: tuple[int, ...], **options: Value) -> None:
    """Add a network that leaves the U: its class in `parts/networks/`, its own widths, its parameters with defaults."""
    register(NETWORK, name, "a module of its own", source, f"networks.{target}", **options)
    _WIDTHS[name] = widths


def published() -> list[Published]:
    """All published networks, in the order of their years and of this file."""
    return list(_ZOO.values())


def find_published(name: str) -> Published:
    """The published network of this name; SpecError with the nearest name where there is none."""
    if name not in _ZOO:
        known = ["unet", *_ZOO]
        raise SpecError(
            f"unknown network {name!r}{nearest(name, known)} (`ushape nets` lists all; `unet` is the plain one)"
        )
    return _ZOO[name]


def own_widths(name: str) -> tuple[int, ...] | None:
    """The widths that a network that leaves the U has unless a spec gives others; None for `unet`."""
    return _WIDTHS.get(name)


register(
    NETWORK, "unet", "the U that modifications change", "Ronneberger et al. 2015, arXiv:1505.04597", "plain:identity"
)

# -- specs of the one U ---------------------------------------------------------------------------------------------

_BENCHMARK = "instantiated from a benchmark of 100 networks"
publish("unet-2015", "U-Net", "unet[width=64,norm=none,padding=valid]",
        "Ronneberger et al. 2015, arXiv:1505.04597", 31_030_658, "computed from the paper", in_channels=1, classes=2,
        size=572, note="the paper states 23 convolutions and no count")  # fmt: skip
publish("unet-bn", "U-Net with batch norm, nearest up-sampling", "unet[width=64,bias=always]+nearest",
        "common re-implementation", 34_527_041, _BENCHMARK)  # fmt: skip
publish("attention-unet", "Attention U-Net", "unet[width=64,bias=always]+nearest+attention-gate",
        "Oktay et al. 2018, arXiv:1804.03999", 34_878_573, _BENCHMARK)  # fmt: skip

# -- specs: residual, dense and multi-scale blocks; the experiments on BCSS -----------------------------------------


# -- networks of peers: nnU-Net, MedNeXt, segmentation_models.pytorch, U2-Net, UNeXt, CMUNeXt, U-KAN ----------------


# -- networks that leave the U: cascades and several decoders -------------------------------------------------------


# -- networks that leave the U: small ones --------------------------------------------------------------------------

leave("dc-unet", "Lou et al. 2020, arXiv:2006.00414", "dc:DCUNet", (32, 64, 128, 256, 512))
publish("dc-unet", "DC-UNet", "dc-unet", "Lou et al. 2020, arXiv:2006.00414", 10_811_071, _BENCHMARK,
        note="the authors' PyTorch code, which has a shortcut that their Keras code lacks; zeros beyond the border and "
        "no tanh behind the scores, unlike that code")  # fmt: skip
leave("kiu-net", "Valanarasu et al. 2020, arXiv:2006.04878", "kiu:KiUNet", (16, 32, 64))
publish("kiu-net", "KiU-Net", "kiu-net", "Valanarasu et al. 2020, arXiv:2006.04878", 291_225, _BENCHMARK, ours=217_113,
        note="two convolutions of the official code with their norms (74,112 parameters), which nothing uses, are left "
        "out; scores are not rectified as they are there")  # fmt: skip
publish("cmu-net", "CMU-Net", "unet[width=64,bias=always]+nearest+multi-scale-gate+conv-mixer",
        "Tang et al. 2022, arXiv:2210.13012", 49_932_353, _BENCHMARK)  # fmt: skip
leave("malunet", "Ruan et al. 2022, arXiv:2211.01784", "malunet:MALUNet", (8, 16, 24, 32, 48, 64))
publish("malunet", "MALUNet", "malunet", "Ruan et al. 2022, arXiv:2211.01784", 177_943, _BENCHMARK)
leave("dcsau-net", "Xu et al. 2022, arXiv:2202.00972", "dcsau:DCSAUNet", (64, 128, 256, 512, 512))
publish("dcsau-net", "DCSAU-Net", "dcsau-net", "Xu et al. 2022, arXiv:2202.00972", 2_598_785, _BENCHMARK)
leave("ege-unet", "Ruan et al. 2023, arXiv:2307.08473", "ege:EGEUNet", (8, 16, 24, 32, 48, 64))
publish("ege-unet", "EGE-UNet", "ege-unet", "Ruan et al. 2023, arXiv:2307.08473", 53_374, _BENCHMARK)
leave("u-lite", "Dinh et al. 2023, arXiv:2306.16103", "lite:ULite", (16, 32, 64, 128, 256, 512))
publish("u-lite", "U-Lite", "u-lite", "Dinh et al. 2023, arXiv:2306.16103", 878_417, _BENCHMARK)
leave("lv-unet", "Jiang et al. 2024, arXiv:2408.16886", "lv:LVUNet", (16, 24, 40, 80, 160, 240, 480))
publish("lv-unet", "LV-UNet", "lv-unet", "Jiang et al. 2024, arXiv:2408.16886", 934_545, _BENCHMARK,
        note="without the paper's ImageNet weights, and without the fading of a rectifier in training")  # fmt: skip
leave("rolling-unet", "Liu et al. 2024, AAAI", "rolling:RollingUNet", (32, 64, 128, 256, 512),
      drop=0.2)  # fmt: skip
publish("rolling-unet", "Rolling-UNet M", "rolling-unet", "Liu et al. 2024, AAAI", 7_098_401,
        _BENCHMARK, ours=7_096_353, note="three layer normalisations of the official code (2,048 parameters), which "
        "nothing uses, are left out; dropout takes whole channels, there single values")  # fmt: skip
leave("tinyu-net", "Chen et al. 2024, MICCAI, pages 626-635", "tinyu:TinyUNet", (64, 128, 256, 512))
publish("tinyu-net", "TinyU-Net", "tinyu-net", "Chen et al. 2024, MICCAI, pages 626-635", 481_105, _BENCHMARK)


# -- networks that leave the U: transformers and state spaces -------------------------------------------------------
