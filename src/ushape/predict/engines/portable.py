"""From pixels to classes in one module, as every engine computes it: stain, network, softmax, the likeliest class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ushape.data.stain import to_density
from ushape.nets.weights import as_input


class Stain(nn.Module):
    """An image's stain changed by a matrix in optical density, as `ushape.data.stain.normalise` does it.

    forward: RGB uint8 [N, H, W, 3], float32 [3, 3] -> uint8 [N, H, W, 3], rounded to whole levels, as training's
    pixels are.
    """

    density: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("density", torch.from_numpy(to_density(np.arange(256, dtype=np.uint8))))  # [256]

    def forward(self, image: Tensor, matrix: Tensor) -> Tensor:
        density = self.density[image.int()] @ matrix  # [N, H, W, 3]; a table is faster than logarithms, and exact
        light = torch.exp(density * float(np.float32(-np.log(10.0)))) * 256.0 - 1.0
        return (light + 0.5).clamp(0, 255).to(torch.uint8)


class Classes(nn.Module):
    """A network between the constants of its input and the softmax.

    forward: RGB uint8 [N, H, W, 3] -> probabilities float32 [N, classes, H, W], labels uint8 [N, H, W].
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def scores(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> scores [N, classes, H, W] in the network's own precision."""
        x = as_input(image.float() / 255)  # [N, 3, H, W]
        made: Tensor = self.net(x.to(next(self.net.parameters()).dtype))
        return made

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scores(image).float()
        return scores.softmax(1), scores.argmax(1).to(torch.uint8)


class Portable(nn.Module):
    """`Stain`, then `Classes`.

    forward: RGB uint8 [N, H, W, 3], matrix float32 [3, 3] -> probabilities float32 [N, classes, H, W], labels uint8
    [N, H, W].
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.stain, self.classes = Stain(), Classes(net)

    def forward(self, image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        made: tuple[Tensor, Tensor] = self.classes(self.stain(image, matrix))
        return made
