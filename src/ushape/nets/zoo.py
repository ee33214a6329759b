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
    `in_channels` and `classes`, and `pin`, where that count stands. `ours`: our count where it is another one, with
    the reason in `note`; `note` also states what we assume. `parity`: the implementation whose outputs equal ours
    with its weights copied in, as `tests/nets/test_parity.py` shows; empty: not checked against one.
    """

    name: str
    title: str
    spec: str
    source: str
    parameters: int | None
    pin: str
    in_channels: int = 3
    classes: int = 1
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
    ours: int | None = None,
    parity: str = "",
    note: str = "",
) -> Published:
    """Add a published network; SpecError if its name is taken."""
    if name in _ZOO or name == "unet":
        raise SpecError(f"{name!r} is already a network: choose another name")
    made = Published(name, title, spec, source, parameters, pin, in_channels, classes, ours, parity, note)
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
        note="the paper states 23 convolutions and no count")  # fmt: skip
publish("unet-bn", "U-Net with batch norm, nearest up-sampling", "unet[width=64,bias=always]+nearest",
        "common re-implementation", 34_527_041, _BENCHMARK)  # fmt: skip
publish("attention-unet", "Attention U-Net", "unet[width=64,bias=always]+nearest+attention-gate",
        "Oktay et al. 2018, arXiv:1804.03999", 34_878_573, _BENCHMARK)  # fmt: skip

# -- specs: residual, dense and multi-scale blocks; the experiments on BCSS -----------------------------------------


# -- networks of peers: nnU-Net, MedNeXt, segmentation_models.pytorch, U2-Net, UNeXt, CMUNeXt, U-KAN ----------------


# -- networks that leave the U: cascades and several decoders -------------------------------------------------------


# -- networks that leave the U: small ones --------------------------------------------------------------------------


# -- networks that leave the U: transformers and state spaces -------------------------------------------------------

leave("transunet", "Chen et al. 2021, arXiv:2102.04306", "transunet:TransUNet", (64, 256, 512, 1024, 768),
      layers=12, heads=12, grid=16)  # fmt: skip
publish("transunet", "TransUNet, R50-ViT-B/16", "transunet", "Chen et al. 2021, arXiv:2102.04306", 105_322_001,
        _BENCHMARK,
        note="the count is that for images of 256²; for the paper's 224² (grid=14) the table of positions is smaller "
             "and the count 105,275,921; dropout of the paper's code left out")  # fmt: skip
leave("swin-unet", "Cao et al. 2021, arXiv:2105.05537", "swin_unet:SwinUnet", (96, 192, 384, 768),
      depths=(2, 2, 6, 2), window=7, head=32, drop=0.2)  # fmt: skip
publish("swin-unet", "Swin-Unet, deeper at 1/16", "swin-unet", "Cao et al. 2021, arXiv:2105.05537", 41_380_068,
        _BENCHMARK, note="six units at 1/16; the authors' configuration has two: swin-unet-lite")  # fmt: skip
publish("swin-unet-lite", "Swin-Unet", "swin-unet[depths=2-2-2-2]", "Cao et al. 2021, arXiv:2105.05537", 27_168_900,
        "counted on the official code; 27.17M in the literature", classes=9)  # fmt: skip
leave("vm-unet", "Ruan and Xiang 2024, arXiv:2402.02491", "vm_unet:VMUNet", (96, 192, 384, 768),
      depths=(2, 2, 2, 2), decoder=(1, 2, 2, 2), state=16, drop=0.3)  # fmt: skip
publish("vm-unet", "VM-UNet", "vm-unet", "Ruan and Xiang 2024, arXiv:2402.02491", 27_427_561,
        "counted on the official code; 27.43M in the literature",
        note="the configuration for skin lesions; the class's own defaults have nine units at 1/16")  # fmt: skip
leave("conv-unext", "Han et al. 2022, doi 10.1016/j.knosys.2022.109512", "conv_unext:ConvUNeXt", (32, 64, 128, 256))
publish("conv-unext", "ConvUNeXt", "conv-unext", "Han et al. 2022, doi 10.1016/j.knosys.2022.109512", 3_505_697,
        "counted on a public copy of the authors' code")  # fmt: skip
leave("uctransnet", "Wang et al. 2022, arXiv:2109.04335", "uctransnet:UCTransNet", (64, 128, 256, 512, 512),
      layers=4, heads=4, grid=16)  # fmt: skip
publish("uctransnet", "UCTransNet", "uctransnet", "Wang et al. 2022, arXiv:2109.04335", 66_488_257, _BENCHMARK,
        note="the count is that for images of 256²; for the paper's 224² (grid=14) the tables of positions are smaller "
             "and the count 66,430,657; dropout of the paper's code left out")  # fmt: skip
leave("utnet", "Gao et al. 2021, arXiv:2107.00781", "utnet:UTNet", (32, 64, 128, 256, 512),
      blocks=(1, 2, 4), heads=(2, 4, 8), reduce=8)  # fmt: skip
publish("utnet", "UTNet", "utnet", "Gao et al. 2021, arXiv:2107.00781", 14_418_755, _BENCHMARK,
        note="the paper's own configuration attends at 1/2 too, one unit a level: blocks=1-1-1-1, heads=4-4-4-4; its "
             "dropout of .1 left out")  # fmt: skip
leave("missformer", "Huang et al. 2021, arXiv:2109.07162", "missformer:MISSFormer", (64, 128, 320, 512),
      layers=2, bridges=4, head=64)  # fmt: skip
publish("missformer", "MISSFormer", "missformer", "Huang et al. 2021, arXiv:2109.07162", 42_462_017, _BENCHMARK,
        ours=35_452_225,
        note="the published count includes 7,009,792 weights of the code that nothing ever reaches: two norms in "
             "each MLP (114,688), and the bottom's decoder level but for its patch expanding (6,895,104)")  # fmt: skip
leave("medt", "Valanarasu et al. 2021, arXiv:2102.10662", "medt:MedT", (16, 32, 64, 128), length=128)
publish("medt", "Medical Transformer", "medt", "Valanarasu et al. 2021, arXiv:2102.10662", 1_564_202, _BENCHMARK,
        ours=1_528_649,
        note="the published count includes 35,553 weights of the code that nothing ever reaches: a 1x1 convolution in "
             "each block of the patch branch (35,536), and a head (17); it is that for images of 256², for the "
             "paper's 128² (length=64) tables of positions are smaller")  # fmt: skip
