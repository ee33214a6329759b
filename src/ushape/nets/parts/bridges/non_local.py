"""Non-local block (Wang et al. 2018, arXiv:1711.07971, equations 1 and 6; the embedded Gaussian of equation 3).

z = W y + x, y_i the mean of g(x_j) over all positions j, weighted by softmax(theta(x_i) . phi(x_j)). Inner width: half
the channels, as in the paper. The paper starts W's normalisation at zero; ours starts as all others do.
"""

from __future__ import annotations

from torch import Tensor, nn

from ushape.nets.parts.plain import Style


class NonLocal(nn.Module):
    """[N, C, H, W] -> the same shape."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Sequential(style.conv(inner, channels, kernel=1), style.norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))  # each [N, C / 2, H W]
        weight = (theta.transpose(1, 2) @ phi).softmax(dim=2)  # [N, H W, H W]
        y = (g @ weight.transpose(1, 2)).reshape(x.shape[0], -1, *x.shape[2:])  # [N, C / 2, H, W]
        out: Tensor = x + self.out(y)
        return out
