"""DySample (Liu et al. 2023, arXiv:2308.15085, section 3.2): bilinear up-sampling at points that are learned.

The static, linear + pixel-shuffle form: a 1x1 convolution gives an offset for each of the four finer pixels of each
group of channels, scaled by 1/4 so that neighbours do not cross (equation 5); the features are sampled there. It starts
as plain bilinear up-sampling. `groups` is lowered until it divides the width. Channels stay; the next block
changes them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ushape.nets.parts.plain import Style, divisor


class DySample(nn.Module):
    """[N, cin, H, W] -> [N, cin, 2H, 2W]."""

    def __init__(self, cin: int, cout: int, style: Style, groups: int) -> None:
        super().__init__()
        self.groups = divisor(cin, groups)
        self.offset = nn.Conv2d(cin, 2 * 4 * self.groups, 1)
        self.channels = cin

    def initialise(self) -> None:
        """Offsets start near zero, as the paper's code has it."""
        nn.init.normal_(self.offset.weight, std=0.001)
        if self.offset.bias is not None:
            nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        offset = F.pixel_shuffle(self.offset(x).float() / 4, 2)  # [N, 2 groups, 2H, 2W], in coarse pixels
        offset = offset.reshape(n * self.groups, 2, 2 * h, 2 * w).permute(0, 2, 3, 1)  # [N g, 2H, 2W, (x, y)]
        rows, columns = (torch.arange(2 * size, device=x.device, dtype=torch.float32) for size in (h, w))
        grid = torch.stack([(columns + 0.5).expand(2 * h, -1), (rows + 0.5)[:, None].expand(-1, 2 * w)], dim=-1)
        size = torch.tensor([2.0 * w, 2.0 * h], device=x.device)
        last = 1 - 2 / size  # the middle of the outermost pixels: no further, and nothing to pad (MPS pads by 0 alone)
        points = ((grid + 2 * offset) / size * 2 - 1).clamp(-last, last)  # [N g, 2H, 2W, 2], -1 to 1 over the map
        grouped = x.reshape(n * self.groups, c // self.groups, h, w)
        sampled = F.grid_sample(grouped.float(), points, align_corners=False)
        return sampled.to(x.dtype).reshape(n, c, 2 * h, 2 * w)
