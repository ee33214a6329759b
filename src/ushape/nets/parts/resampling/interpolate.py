"""Up-sampling by interpolation and a convolution (Odena et al. 2016, "Deconvolution and checkerboard artifacts").

nearest: each pixel becomes 2x2, as in the U-Net of 34.5M parameters in use; bilinear: linear, pixel centres aligned
(align_corners=False). `kernel` is the convolution's; kernel=0 only resizes and leaves the channels to the next block.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.plain import Style


class Nearest(nn.Module):
    """[N, cin, H, W] -> [N, cout, 2H, 2W]; with kernel=0 [N, cin, 2H, 2W]."""

    mode = "nearest"

    def __init__(self, cin: int, cout: int, style: Style, kernel: int) -> None:
        super().__init__()
        self.unit = style.unit(cin, cout, kernel) if kernel else nn.Identity()
        self.channels = cout if kernel else cin

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.unit(F.interpolate(x, scale_factor=2.0, mode=self.mode))
        return out


class Bilinear(Nearest):
    """[N, cin, H, W] -> [N, cout, 2H, 2W]; with kernel=0 [N, cin, 2H, 2W]."""

    mode = "bilinear"
