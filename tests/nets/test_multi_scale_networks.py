"""Operations of residual and multi-scale networks that the shared tester cannot see: pooling, widths, attention."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ushape.nets.parts.networks.double_unet import means_of_halves
from ushape.nets.parts.networks.multiresunet import block_widths
from ushape.nets.parts.networks.resunet_a import PyramidPooling, maxima
from ushape.nets.parts.networks.resunet_plus_plus import Attention


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_means_of_halves_are_adaptive_means(size: int) -> None:
    x = torch.randn(2, 3, size, 7)
    expected = F.adaptive_avg_pool2d(x, 2)
    torch.testing.assert_close(means_of_halves(means_of_halves(x, 2), 3), expected)


@pytest.mark.parametrize("side", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [1, 3, 8, 13])
def test_maxima_are_adaptive_maxima(size: int, side: int) -> None:
    x = torch.randn(2, 3, size, 9)
    expected = F.adaptive_max_pool2d(x, side)
    assert torch.equal(maxima(maxima(x, side, 2), side, 3), expected)


def test_a_pyramid_sees_its_cell_only() -> None:
    """What a pixel gets from the grid of two cells a side follows the largest pixel of its own quarter."""
    pool = PyramidPooling(4, 4).eval()
    x = torch.zeros(1, 4, 16, 16)
    x[0, :, 3, 12] = 5.0
    with torch.no_grad():
        pool.join[0].weight.zero_()
        pool.join[0].weight[:, 5] = 1.0  # 4 features, 1 of the whole image, then the one of the quarters
        pool.units[1][0].weight.fill_(1.0)
        out = pool(x)[0, 0]
    torch.testing.assert_close(out[:8, 8:], torch.full((8, 8), 20.0), rtol=1e-4, atol=0)
    assert float(out.sum()) == pytest.approx(64 * 20.0, rel=1e-4), "other quarters stay at zero"


def test_widths_of_multiresunet_are_those_of_the_paper() -> None:
    """Table 2 of arXiv:1902.04049."""
    found = [block_widths(u) for u in (32, 64, 128, 256, 512)]
    assert found == [[8, 17, 26], [17, 35, 53], [35, 71, 106], [71, 142, 213], [142, 284, 427]]
    assert block_widths(2) == [1, 1]
    assert block_widths(1) == [1]


def test_attention_of_resunet_plus_plus_scales_each_pixel_of_all_channels_alike() -> None:
    attention = Attention(3, 6).eval()
    coarse = torch.rand(1, 6, 4, 4) + 0.5
    with torch.no_grad():
        ratio = attention(torch.randn(1, 3, 8, 8), coarse) / coarse  # [1, 6, 4, 4]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-5)
    assert float(ratio.std()) > 1e-3, "the map varies over the image"
