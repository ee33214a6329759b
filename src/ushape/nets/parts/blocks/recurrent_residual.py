"""Recurrent residual block of R2U-Net (Alom et al. 2018, arXiv:1802.06955, section III and figure 4d).

A recurrent unit applies one and the same convolution again and again: h = f(x), then h = f(x + h), `steps` times
(the paper's t = 2). The block is y = p + F(p): p a 1x1 projection of its input, F `style.depth` recurrent units
(the paper: 2). Every step normalises with the same module, as in the public implementation of 39,091,393
parameters; where the width stays, p is the input itself.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.blocks.common import at_least, project
from ushape.nets.parts.plain import Style


class RecurrentUnit(nn.Module):
    """One 3x3 convolution, unrolled 1 + steps times: [N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style, steps: int) -> None:
        super().__init__()
        self.unit, self.steps = style.unit(channels, channels), steps

    def forward(self, x: Tensor) -> Tensor:
        state: Tensor = self.unit(x)
        for _ in range(self.steps):
            state = self.unit(x + state)
        return state


class RecurrentResidualBlock(nn.Module):
    """[N, cin, H, W] -> [N, cout, H, W]."""

    def __init__(self, cin: int, cout: int, style: Style, steps: int) -> None:
        super().__init__()
        at_least(1, steps=steps)
        self.project = project(cin, cout)
        self.residual = nn.Sequential(*(RecurrentUnit(cout, style, steps) for _ in range(style.depth)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)  # [N, cout, H, W]
        out: Tensor = x + self.residual(x)
        return out
