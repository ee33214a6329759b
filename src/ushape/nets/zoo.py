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

_SMP = "instantiated from segmentation_models.pytorch"
_MONAI = "instantiated from MONAI, in two dimensions"
_NNUNET = "instantiated from dynamic-network-architectures, nnU-Net's networks"
publish("nnunet", "nnU-Net, plain",
        "unet[widths=32-64-128-256-512-512-512-512,norm=instance,activation=leaky,bias=always]+strided[first=1]"
        "+deep-supervision", "Isensee et al. 2021, 10.1038/s41592-020-01008-z", 46_323_111, _NNUNET,
        parity="dynamic_network_architectures.PlainConvUNet, monai.DynUNet",
        note="its plan for two-dimensional patches of 512x512: eight levels of at most 512 channels, two convolutions "
        "a level; MONAI's has no bias in front of a norm and no scores at coarser levels by default")  # fmt: skip
_RESENC = "Isensee et al. 2024, arXiv:2404.09556"
leave("nnunet-resenc", _RESENC, "resenc:ResidualEncoderUNet", (32, 64, 128, 256, 512, 512, 512, 512),
      blocks=(1, 3, 4, 6, 6, 6, 6, 6))  # fmt: skip
publish("nnunet-resenc", "nnU-Net, residual encoder", "nnunet-resenc", _RESENC, 140_015_591, _NNUNET,
        parity="dynamic_network_architectures.ResidualEncoderUNet",
        note="its plan for two-dimensional patches of 512x512: eight levels of at most 512 channels, 1-3-4-6-6-6-6-6 "
        "residual blocks, one convolution a decoder level")  # fmt: skip
_MEDNEXT = "Roy et al. 2023, arXiv:2303.09975"
_MEDNEXT_NOTE = "kernel 3, two-dimensional (the paper counts in three); ways down expand as MONAI's"
leave("mednext", _MEDNEXT, "mednext:MedNeXt", (32, 64, 128, 256, 512), kernel=3, blocks=(2,) * 9, expansion=(2,) * 9)
publish("mednext", "MedNeXt-S", "mednext", _MEDNEXT, 5_472_033, _MONAI, parity="monai.MedNeXt",
        note=_MEDNEXT_NOTE)  # fmt: skip
publish("mednext-b", "MedNeXt-B", "mednext[expansion=2-3-4-4-4-4-4-3-2]", _MEDNEXT, 10_431_969, _MONAI,
        parity="monai.MedNeXt", note=_MEDNEXT_NOTE)  # fmt: skip
publish("mednext-m", "MedNeXt-M", "mednext[blocks=3-4-4-4-4-4-4-4-3,expansion=2-3-4-4-4-4-4-3-2]", _MEDNEXT,
        17_402_785, _MONAI, parity="monai.MedNeXt", note=_MEDNEXT_NOTE)  # fmt: skip
publish("mednext-l", "MedNeXt-L", "mednext[blocks=3-4-8-8-8-8-8-4-3,expansion=3-4-8-8-8-8-8-4-3]", _MEDNEXT,
        61_503_873, _MONAI, parity="monai.MedNeXt", note=_MEDNEXT_NOTE)  # fmt: skip
publish("resnet34-unet", "U-Net with a ResNet-34 encoder",
        "unet[width=16,levels=6,encoder=timm:resnet34]+nearest[kernel=0]+single[kernel=3]",
        "Iakubovskii 2019, github.com/qubvel-org/segmentation_models.pytorch", 24_436_369, _SMP,
        parity="segmentation_models_pytorch.Unet")  # fmt: skip
publish("resnet34-unetpp", "UNet++ with a ResNet-34 encoder",
        "unet[width=16,levels=6,encoder=timm:resnet34]+nearest[kernel=0]+nested[inner=1]+single[kernel=3]",
        "Iakubovskii 2019, github.com/qubvel-org/segmentation_models.pytorch; Zhou et al. 2018, arXiv:1807.10165",
        26_078_609, _SMP, parity="segmentation_models_pytorch.UnetPlusPlus")  # fmt: skip
publish("linknet", "LinkNet with a ResNet-34 encoder",
        "unet[widths=32-64-64-128-256-512,encoder=timm:resnet34,block=none]+narrow-transposed[kernel=4]+add",
        "Chaurasia and Culurciello 2017, arXiv:1707.03718", 21_771_937, _SMP,
        parity="segmentation_models_pytorch.Linknet",
        note="the paper has a ResNet-18 encoder and, at the end, three layers of other kernels; this is the form of "
        "segmentation_models.pytorch")  # fmt: skip
publish("basic-unet", "MONAI's BasicUNet",
        "unet[widths=32-32-64-128-256,norm=instance,activation=leaky[slope=0.1],bias=always]",
        "Falk et al. 2019, 10.1038/s41592-018-0261-2; MONAI Consortium", 1_979_009, _MONAI,
        parity="monai.BasicUNet")  # fmt: skip
publish("basic-unetpp", "MONAI's BasicUNetPlusPlus",
        "unet[widths=32-32-64-128-256,norm=instance,activation=leaky[slope=0.1],bias=always]+nested",
        "Zhou et al. 2018, arXiv:1807.10165; MONAI Consortium", 2_410_756, _MONAI, ours=2_410_657,
        parity="monai.BasicUNetPlusPlus",
        note="without the three heads that MONAI's has for deep supervision and, by default, does not use")  # fmt: skip
leave("segresnet", "Myronenko 2018, arXiv:1810.11654", "segresnet:SegResNet", (8, 16, 32, 64),
      blocks=(1, 2, 2, 4, 1, 1, 1))  # fmt: skip
publish("segresnet", "SegResNet", "segresnet", "Myronenko 2018, arXiv:1810.11654", 395_121, _MONAI,
        parity="monai.SegResNet", note="without the paper's autoencoder branch; MONAI's default widths")  # fmt: skip
_KERFOOT = "Kerfoot et al. 2019, 10.1007/978-3-030-12029-0_40"
leave("monai-unet", _KERFOOT, "strided_residual:StridedResidualUNet", (16, 32, 64, 128, 256), units=2)
publish("monai-unet", "MONAI's UNet with residual units", "monai-unet", _KERFOOT, 1_625_420, _MONAI,
        parity="monai.UNet", note="the widths of MONAI's examples, two units a level")  # fmt: skip
leave("ternausnet", "Iglovikov and Shvets 2018, arXiv:1801.05746", "ternausnet:TernausNet", (64, 128, 256, 512, 512))
publish("ternausnet", "TernausNet", "ternausnet", "Iglovikov and Shvets 2018, arXiv:1801.05746", 22_927_393,
        _BENCHMARK, note="with random weights; the paper's encoder starts from ImageNet weights")  # fmt: skip
_U2NET = "Qin et al. 2020, arXiv:2005.09007"
_U2NET_NOTE = "trained with the joined map and those of the coarser levels; the paper's loss sees all at full size"
leave("u2net", _U2NET, "u2net:U2Net", (64, 128, 256, 512, 512, 512), inner=(2, 4, 4, 4, 2, 2, 2, 2, 2, 2, 4))
publish("u2net", "U2-Net", "u2net", _U2NET, 44_009_869, "computed from the paper's table 1; its weights: 176.3 MB",
        note=_U2NET_NOTE)  # fmt: skip
publish("u2net-small", "U2-Net, small", "u2net[inner=4-4-4-4-4-4-4-4-4-4-4,widths=64-64-64-64-64-64]", _U2NET,
        1_131_181, "computed from the paper's table 1; its weights: 4.7 MB", note=_U2NET_NOTE)  # fmt: skip
leave("unext", "Valanarasu and Patel 2022, arXiv:2203.04967", "tokenised:UNeXt", (16, 32, 128, 160, 256), shifts=5)
publish("unext", "UNeXt", "unext", "Valanarasu and Patel 2022, arXiv:2203.04967", 1_471_921, _BENCHMARK,
        note="shifted along the width first, as in the paper; its code begins with the height")  # fmt: skip
leave("cmunext", "Tang et al. 2023, arXiv:2308.01239", "cmunext:CMUNeXt", (16, 32, 128, 160, 256),
      blocks=(1, 1, 1, 3, 1), kernels=(3, 3, 7, 7, 7))  # fmt: skip
publish("cmunext", "CMUNeXt", "cmunext", "Tang et al. 2023, arXiv:2308.01239", 3_149_185, _BENCHMARK)
leave("u-kan", "Li et al. 2024, arXiv:2406.02918", "tokenised:UKAN", (32, 64, 256, 320, 512), grid=5, order=3)
publish("u-kan", "U-KAN", "u-kan", "Li et al. 2024, arXiv:2406.02918", 25_359_265, _BENCHMARK)


# -- networks that leave the U: cascades and several decoders -------------------------------------------------------


# -- networks that leave the U: small ones --------------------------------------------------------------------------


# -- networks that leave the U: transformers and state spaces -------------------------------------------------------
