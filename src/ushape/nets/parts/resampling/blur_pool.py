"""Anti-aliased max-pooling (Zhang 2019, arXiv:1904.11486, section 3.2): maximum everywhere, blur, every second pixel.

The blur is a fixed binomial filter of `size` taps each way (4, as in the paper's best trade-off). Borders are
repeated, not reflected as in the paper, so that a feature map of two pixels can pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.errors import SpecError
from ushape.nets.parts.plain import Style


class BlurPool(nn.Module):
    """[N, cin, 2H, 2W] -> [N, cin, H, W]; the next level's block changes the width."""

    blur: Tensor

    def __init__(self, cin: int, cout: int, style: Style, size: int) -> None:
        super().__init__()
        if not 2 <= size <= 7:
            raise SpecError(f"size={size}: the blur of blur-pool has 2 to 7 taps")
        taps = torch.tensor([math.comb(size - 1, k) for k in range(size)], dtype=torch.float32)
        self.register_buffer("blur", torch.outer(taps, taps)[None, None] / taps.sum() ** 2, persistent=False)
        self.before, self.after = (size - 1) // 2, size // 2
        self.channels = cin

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(x, 2, stride=1)  # [N, cin, 2H - 1, 2W - 1]
        x = F.pad(x, (self.before, self.after, self.before, self.after), mode="replicate")
        return F.conv2d(x, self.blur.to(x.dtype).expand(self.channels, -1, -1, -1), stride=2, groups=self.channels)
