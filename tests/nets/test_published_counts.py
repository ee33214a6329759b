"""Parameter counts of published networks that the axes alone can express; sources stand beside them."""

from __future__ import annotations

import pytest
import torch

from ushape.nets.unet import build, parameters


@pytest.mark.parametrize(
    ("spec", "in_channels", "classes", "count"),
    [
        # U-Net (Ronneberger et al. 2015): 23 convolutions with bias, no normalisation
        ("unet[width=64,norm=none,padding=valid]", 1, 2, 31_030_658),
        ("unet[width=64,norm=none,padding=valid]", 3, 1, 31_031_745),
        ("unet[width=64,norm=none,padding=valid]", 3, 5, 31_032_005),
        # half as wide, one channel in
        ("unet[norm=none]", 1, 1, 7_759_521),
        # the U-Net with batch norm and nearest up-sampling that most comparisons run
        ("unet[width=64,bias=always]+nearest", 3, 1, 34_527_041),
        # the same with attention gates (Oktay et al. 2018)
        ("unet[width=64,bias=always]+nearest+attention-gate", 3, 1, 34_878_573),
        # UNet++ (Zhou et al. 2018), 32 channels at the finest level, one channel in
        ("unet[norm=none]+nested", 1, 1, 9_041_601),
        # UNet 3+ (Huang et al. 2020) without deep supervision
        ("unet[width=64,bias=always,head=single[kernel=3]]+full-scale", 3, 1, 26_971_777),
    ],
)
def test_parameters(spec: str, in_channels: int, classes: int, count: int) -> None:
    with torch.device("meta"):  # shapes without numbers
        assert parameters(build(spec, in_channels, classes)) == count
