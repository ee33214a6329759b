"""Down-sampling by a convolution of stride 2 (Springenberg et al. 2015, arXiv:1412.6806, section 2).

The paper replaces pooling by a convolution layer; so does this: convolution, normalisation, activation, and it widens
to the next level. nnU-Net instead strides the first convolution of the next level, one convolution less.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class Strided(nn.Module):
    """[N, cin, 2H, 2W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int) -> None:
        super().__init__()
        conv = style.conv(cin, cout, kernel)
        conv.stride = (2, 2)
        self.unit = nn.Sequential(conv, style.norm(cout), style.activation())
        self.channels = cout

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.unit(x)
        return out
