"""Down-sampling by a convolution of stride 2 (Springenberg et al. 2015, arXiv:1412.6806, section 2).

The paper replaces pooling by a convolution layer; so does this: convolution, normalisation, activation, and it widens
to the next level. `first=1`: it is the first convolution of the next level, which has one less of its own, as in
nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.errors import SpecError
from ushape.nets.parts.plain import Style


class Strided(nn.Module):
    """[N, cin, 2H, 2W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, kernel: int, first: int) -> None:
        super().__init__()
        if first not in (0, 1):
            raise SpecError(f"first={first}: give 1 for a convolution that counts as the next level's first, or 0")
        conv = style.conv(cin, cout, kernel)
        conv.stride = (2, 2)
        self.unit = nn.Sequential(conv, style.norm(cout), style.activation())
        self.channels, self.units = cout, first

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.unit(x)
        return out
