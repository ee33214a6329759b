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

_BENCHMARK = "instantiated from a benchmark of 100 networks"
publish("unet-2015", "U-Net", "unet[width=64,norm=none,padding=valid]",
        "Ronneberger et al. 2015, arXiv:1505.04597", 31_030_658, "computed from the paper", in_channels=1, classes=2,
        size=572, note="the paper states 23 convolutions and no count")  # fmt: skip
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
        "computed from the benchmark's code",
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


# -- networks of peers: nnU-Net, MedNeXt, segmentation_models.pytorch, U2-Net, UNeXt, CMUNeXt, U-KAN ----------------


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


# -- networks that leave the U: transformers and state spaces -------------------------------------------------------
