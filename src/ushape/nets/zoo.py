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
    `in_channels` and `classes`; pin: where that count stands. None: no count was published, `ours` pins our own.
    size: side in px of the image that FLOPs are given for. ours: our count where it is another one, with the reason
    in `note`, which also states what we assume. parity: the implementation whose outputs equal ours with its weights
    copied in, as `tests/nets/test_parity.py` shows; empty: not checked against one.
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

_BENCHMARK = "instantiated from U-Bench (arXiv:2510.07041)"
publish("unet-2015", "U-Net", "unet[width=64,norm=none,padding=valid]",
        "Ronneberger et al. 2015, arXiv:1505.04597", 31_030_658, "computed from the paper", in_channels=1, classes=2,
        size=572, note="the paper states 23 convolutions and no count; without its dropout at the end of the "
        "way down")  # fmt: skip
publish("unet-bn", "U-Net with batch norm, nearest up-sampling", "unet[width=64,bias=always]+nearest",
        "common re-implementation", 34_527_041, _BENCHMARK)  # fmt: skip
publish("attention-unet", "Attention U-Net", "unet[width=64,bias=always]+nearest+attention-gate",
        "Oktay et al. 2018, arXiv:1804.03999", 34_878_573, _BENCHMARK)  # fmt: skip

# -- specs: residual, dense and multi-scale blocks; the experiments on BCSS -----------------------------------------

_STATED = "stated by public code of this network"
_UNPUBLISHED = "not published"
_UNKNOWN = "none was available to us"
publish("unet-64-plain", "U-Net, same-padded, without norm", "unet[width=64,norm=none]",
        "Ronneberger et al. 2015, arXiv:1505.04597", 31_031_745, "computed from the paper",
        note="the paper's layers with zeros beyond the border and three channels in")  # fmt: skip
publish("unet-64", "U-Net with batch norm, 64 wide", "unet[width=64]", "common re-implementation", 31_037_633,
        _STATED)  # fmt: skip
publish("unet-32", "U-Net, 32 wide, without norm", "unet[norm=none]", "Zhou et al. 2018, arXiv:1807.10165",
        7_759_521, "official code", in_channels=1,
        note="the baseline of UNet++; its count stands for one channel in, three make 7,760,097")  # fmt: skip
publish("unet-32-bn", "U-Net with batch norm, 32 wide", "unet", "common re-implementation", 7_763_041,
        _STATED)  # fmt: skip
publish("unet-plus-plus", "UNet++", "unet[norm=none]+nested", "Zhou et al. 2018, arXiv:1807.10165", 9_041_601,
        "official code", in_channels=1,
        note="the count stands for one channel in and one head; three channels make 9,042,177")  # fmt: skip
publish("unet-plus-plus-bn", "UNet++ with batch norm, bilinear up-sampling",
        "unet[bias=always]+bilinear[kernel=0]+nested", "common re-implementation", 9_163_329, _STATED,
        note="the common code aligns corners when it enlarges, ours pixel centres")  # fmt: skip
publish("unet-3-plus", "UNet 3+", "unet[width=64,bias=always]+full-scale+single[kernel=3]",
        "Huang et al. 2020, arXiv:2004.08790", 26_971_777, _BENCHMARK,
        note="without deep supervision and without the classification-guided module")  # fmt: skip
publish("r2u-net", "R2U-Net", "unet[width=64,bias=always]+recurrent-residual+nearest",
        "Alom et al. 2018, arXiv:1802.06955", 39_091_393, _BENCHMARK)  # fmt: skip
publish("r2-attention-unet", "R2 Attention U-Net",
        "unet[width=64,bias=always]+recurrent-residual+nearest+attention-gate", "common re-implementation", 39_442_925,
        "computed from U-Bench's code",
        note="R2U-Net with the gates of Attention U-Net; no paper of its own")  # fmt: skip
publish("han-2017", "Han 2017, cascaded liver and lesion network", "unet[depth=3,activation=prelu]+residual",
        "Han 2017, arXiv:1704.07239", None, _UNKNOWN, in_channels=5, classes=3, ours=12_043_934,
        note="stated: 32 layers, batch norm, PReLU, long concatenations, short residuals. Assumed: widths 32 to 512; "
             "three convolutions a level, so that these (27), up-sampling (4) and the head make 32")  # fmt: skip
publish("dense-unet", "Dense U-Net", "unet+dense", "Huang et al. 2017, arXiv:1608.06993", None, _UNKNOWN,
        ours=5_603_009,
        note="several networks have this name; this one is the 32-wide U with our dense block")  # fmt: skip
publish("inception-unet", "Inception U-Net", "unet+inception", "Szegedy et al. 2015, arXiv:1409.4842", None,
        _UNKNOWN, ours=2_985_343,
        note="several networks have this name; this one is the 32-wide U with two modules a level")  # fmt: skip
publish("multi-inception-unet", "Multi-inception U-Net", "unet+multi-inception",
        "Szegedy et al. 2016, arXiv:1512.00567", None, _UNKNOWN, ours=3_875_103,
        note="named by the BCSS experiments below as a reference; its layers were not available, the block is our "
             "assumption")  # fmt: skip
publish("rms-unet", "RMS-UNet", "unet+rms", "Khan et al. 2022, doi 10.1016/j.artmed.2021.102231", None,
        _UNKNOWN, ours=22_234_881,
        note="residual blocks with dilations 1, 2, 4 are the paper's; how the branches join, and the widths, are our "
             "assumption")  # fmt: skip
publish("drd-unet", "DRD-UNet", "unet[width=64,levels=4]+drd",
        "Ortega-Ruiz et al. 2024, doi 10.1109/ACCESS.2024.3377428", None, _UNKNOWN, classes=5, ours=12_237_666,
        note="dilation, residual and dense connections in each block are the paper's; the layers of the block were not "
             "available: block, batch norm and 64 to 512 channels (those of the authors' earlier experiments) are our "
             "assumption")  # fmt: skip
publish("se-unet", "U-Net with squeeze and excitation", "unet[width=64]+se", "Hu et al. 2018, arXiv:1709.01507",
        None, _UNKNOWN, ours=31_258_873, note="the attention behind each block of the 64-wide U")  # fmt: skip
publish("scse-unet", "U-Net with scSE", "unet[width=64]+scse", "Roy et al. 2018, arXiv:1803.02579", None,
        _UNKNOWN, ours=32_789_889, note="the attention behind each block of the 64-wide U")  # fmt: skip
publish("cbam-unet", "U-Net with CBAM", "unet[width=64]+cbam", "Woo et al. 2018, arXiv:1807.06521", None,
        _UNKNOWN, ours=31_259_755, note="the attention behind each block of the 64-wide U")  # fmt: skip

_EXPERIMENTS = "UNET_modifications, github.com/mauOrtRuiz/UNET_modifications, 2023"
_TOOLBOX = "width=64,levels=4,dropout=0.5"
for _name, _title, _change, _ours, _note in (
    ("unet-depth3", "U-Net", "norm=none]", 7_697_605,
     "the toolbox's U-Net of encoder depth 3: 64 to 512 channels, no norm, dropout of a half at the two coarsest "
     "levels. Ours drops whole channels, and does not rectify behind an up-convolution"),
    ("dpb3-input", "three parallel dilations at the input", "stem=dilated-parallel-3,norm=none]", 7_734_533, ""),
    ("dpb5-input", "five parallel dilations at the input", "stem=dilated-parallel-5,norm=none]", 7_734_533, ""),
    ("dpb3-each-level", "three parallel dilations at each level", "norm=none]+dilated-parallel-3", 7_697_605, ""),
    ("residual-input", "a residual block at the input", "stem=residual,norm=none]", 7_771_717, ""),
    ("series-dilation-input", "dilations in series at the input", "stem=dilated-series,norm=none]", 7_808_389, ""),
    ("sd-residual-unet", "dilations in series at the input, residual blocks",
     "stem=dilated-series,norm=none]+residual", 8_153_797, ""),
    ("atrous4-dense", "four dilations, dense", "norm=none]+atrous-4-dense", 5_545_349, ""),
    ("atrous4-residual", "four dilations, residual", "norm=none]+atrous-4-residual", 8_043_269, ""),
    ("atrous4-semgap", "four dilations at the input, residual paths", "stem=atrous-4,norm=none]+semantic-gap",
     10_317_701, ""),
):  # fmt: skip
    publish(f"seed-{_name}", f"BCSS experiments: {_title}", f"unet[{_TOOLBOX},{_change}", _EXPERIMENTS, None,
            _UNPUBLISHED, classes=5, ours=_ours,
            note=_note or "layers not published: on seed-unet-depth3, with the assumptions of our part")  # fmt: skip


# -- our own: docs/ushape.md says why each part is in it -------------------------------------------------------------

_OURS = "this project, 2026"
publish("ushape", "Ushape", "unet[widths=16-32-64-96-128-256,depth=1,encoder=efficientnet-lite]", _OURS, None,
        _UNPUBLISHED, classes=5, ours=3_668_549,
        note="the base size; its encoder begins with ImageNet's weights")  # fmt: skip
publish("ushape-small", "Ushape, small", "unet[widths=16-32-64-96-128,depth=1,encoder=efficientnet-lite]", _OURS, None,
        _UNPUBLISHED, classes=5, ours=963_621, note="without the encoder's stages at 1/32")  # fmt: skip


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

leave("resunet", "Zhang et al. 2018, arXiv:1711.10684", "resunet:ResUNet", (64, 128, 256, 512))
publish("resunet", "ResUNet", "resunet", "Zhang et al. 2018, arXiv:1711.10684", 8_214_337, "computed from the paper",
        ours=8_220_737,
        note="8,214,337 are the convolutions with their biases, six 1x1 shortcuts included; ours adds the 6,400 of "
             "batch norm. Without shortcuts it is 7,782,913, the paper's 7.8M, but sums of unequal widths need "
             "them")  # fmt: skip
leave("resunet-plus-plus", "Jha et al. 2019, arXiv:1911.07067", "resunet_plus_plus:ResUNetPlusPlus",
      (32, 64, 128, 256, 512), dilations=(6, 12, 18))  # fmt: skip
publish("resunet-plus-plus", "ResUNet++", "resunet-plus-plus", "Jha et al. 2019, arXiv:1911.07067", 14_482_564,
        _BENCHMARK,
        note="layers of a public PyTorch code, 32 to 512 channels; the often quoted 4.07M is the authors' Keras code: "
             "16 to 256 channels and 1x1 shortcuts make 4,070,385, running means included")  # fmt: skip
leave("multiresunet", "Ibtehaz and Rahman 2020, arXiv:1902.04049", "multiresunet:MultiResUNet",
      (32, 64, 128, 256, 512))  # fmt: skip
publish("multiresunet", "MultiResUNet", "multiresunet", "Ibtehaz and Rahman 2020, arXiv:1902.04049", 7_251_322,
        _BENCHMARK,
        note="as in the authors' PyTorch code, which normalises sums before it rectifies them, and scores too; the "
             "paper counts 7,262,750")  # fmt: skip
leave("double-unet", "Jha et al. 2020, arXiv:2006.04868", "double_unet:DoubleUNet", (64, 128, 256, 512, 512),
      dilations=(6, 12, 18))  # fmt: skip
publish("double-unet", "DoubleU-Net", "double-unet", "Jha et al. 2020, arXiv:2006.04868", 29_288_886, _BENCHMARK,
        note="scores are the second U's; the first U's map is learned through it, not supervised; VGG-19 from "
             "scratch")  # fmt: skip
leave("resunet-a", "Diakogiannis et al. 2020, arXiv:1904.00592", "resunet_a:ResUNetA",
      (32, 64, 128, 256, 512, 1024))  # fmt: skip
publish("resunet-a", "ResUNet-a d6", "resunet-a", "Diakogiannis et al. 2020, arXiv:1904.00592", None, _UNKNOWN,
        ours=57_976_161,
        note="dilations and layers of the authors' code, the paper's single-task head: no boundaries, distances or "
             "colours")  # fmt: skip
leave("ce-net", "Gu et al. 2019, arXiv:1903.02740", "ce_net:CENet", (64, 128, 256, 512))
publish("ce-net", "CE-Net", "ce-net", "Gu et al. 2019, arXiv:1903.02740", 29_003_093, _BENCHMARK,
        note="ResNet-34 from scratch")  # fmt: skip
leave("colonsegnet", "Jha et al. 2021, arXiv:2011.07631", "colonsegnet:ColonSegNet", (64, 256))
publish("colonsegnet", "ColonSegNet", "colonsegnet", "Jha et al. 2021, arXiv:2011.07631", 5_014_049,
        _BENCHMARK)  # fmt: skip
leave("ddanet", "Tomar et al. 2020, arXiv:2012.15245", "ddanet:DDANet", (32, 64, 128, 256))
publish("ddanet", "DDANet", "ddanet", "Tomar et al. 2020, arXiv:2012.15245", 6_835_638, _BENCHMARK, ours=6_835_621,
        note="without the 17 parameters of the head that paints the image, which nothing here would train")  # fmt: skip


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
publish("convnext-unet", "U-Net with a ConvNeXt-T encoder",
        "unet[width=16,levels=6,encoder=timm:convnext_tiny]+nearest[kernel=0]+single[kernel=3]",
        "Liu et al. 2022, arXiv:2201.03545; github.com/qubvel-org/segmentation_models.pytorch", 31_928_753, _SMP,
        parity="segmentation_models_pytorch.Unet")  # fmt: skip
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
